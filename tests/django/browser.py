"""A headless Chromium that talks to this host only."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

LIMIT = 60.0
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--window-size=1280,1000",
)


class Browser:
    """What a test does with a page.

    Args:
        driver: Selenium's.
        base: The site's address.
    """

    def __init__(self, driver: webdriver.Chrome, base: str) -> None:
        """Keep both."""
        self.driver = driver
        self.base = base

    def open(self, path: str) -> None:
        """Load a page."""
        self.driver.get(self.base + path)

    def find(self, selector: str) -> WebElement:
        """Return the first element that a CSS selector names."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Return all of them."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return an element's text in one step: a live page replaces elements all the time."""
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return str(self.driver.execute_script(script, selector))

    def attribute(self, selector: str, name: str) -> str:
        """Return an element's attribute in one step."""
        script = "return document.querySelector(arguments[0])?.getAttribute(arguments[1]) ?? ''"
        return str(self.driver.execute_script(script, selector, name))

    def run(self, script: str) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script)

    def wait(self, condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
        """Wait until a condition holds."""
        WebDriverWait(self.driver, limit, 0.1).until(lambda _: condition(), what)

    def sign_in(self, name: str, password: str) -> None:
        """Fill in the admin's login form."""
        self.find("[name=username]").send_keys(name)
        self.find("[name=password]").send_keys(password)
        self.find("[type=submit]").click()

    def look(self, *, dark: bool = False, width: int = 1280, height: int = 1000) -> None:
        """Pretend to be another screen."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def complaints(self) -> list[str]:
        """Return what the browser's console says of errors, refused content included."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        lines = [str(entry["message"]) for entry in entries]
        return [line for line in lines if "favicon.ico" not in line]


@contextmanager
def browse(driver_path: Path, base: str, profile: Path) -> Iterator[Browser]:
    """Run a browser with a profile of its own for the block."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(driver_path)))
    try:
        driver.set_page_load_timeout(LIMIT)
        yield Browser(driver, base)
    finally:
        driver.quit()

"""The example project as somebody sees it: orders over rotations, and credentials running down.

With MQAUTH_SCREENSHOTS=<folder> in the environment the pictures of the documentation are taken.
"""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.tools import find_tool
from tests.celery.processes import Process
from tests.django.browser import Browser, browse

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

METER = "#mq-identities .mq-bar"
ROTATIONS = "#mq-identities .mq-facts dd"
# An announcement stands there until the next one, which may come at any moment.
KEEP_WHAT_IS_SAID = """
window.announced = [];
new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach(
    (node) => window.announced.push(node.textContent))
)).observe(document.getElementById("mq-said"), { childList: true });
"""
SIZES = {
    "status-light": {"dark": False, "width": 1200, "height": 1200},
    "status-dark": {"dark": True, "width": 1200, "height": 1200},
    "status-phone": {"dark": False, "width": 390, "height": 1750},
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """`make demo DJANGO=1`, as a new user starts it, on any port."""
    foreign = ("MQAUTH_", "CELERY_", "DJANGO_", "AWS_")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) or name.startswith("MQAUTH_SANDBOX_")
    }
    arguments = ["-m", "workloads.demo_django", "--port", "0", "--ttl", "15"]
    process = Process("demo", arguments, environment, tmp_path_factory.mktemp("demo"))
    try:
        process.wait_for_line("sign in as", timeout=150)
        yield process
        process.send(signal.SIGINT)
        assert process.wait() == 0, process.tail()
        assert "demo: ended" in process.output
    finally:
        process.close()


@pytest.fixture(scope="module")
def browser(demo: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser at the address that the demonstration printed."""
    try:
        driver = find_tool("chromium")
    except NotInstalledError as error:
        pytest.skip(str(error))
    (base,) = re.findall(r"the site: +(http://localhost:\d+)/", demo.output)
    with browse(driver, base, tmp_path_factory.mktemp("profile")) as running:
        yield running


def sign_in(browser: Browser, demo: Process) -> None:
    """Open the status page, by the printed login."""
    browser.open("/admin/mqauth/")
    if browser.all("[name=username]"):
        ((user, password),) = re.findall(r"sign in as (\S+) with (\S+);", demo.output)
        browser.sign_in(user, password)
    browser.wait(lambda: browser.text(METER + " + *") or browser.all(METER), "the status page")
    browser.run(KEEP_WHAT_IS_SAID)


def announced(browser: Browser, words: str) -> bool:
    """Return whether the status page has said this since it was opened."""
    return bool(browser.run(f"return window.announced.some((each) => each.includes('{words}'))"))


def rotations(browser: Browser) -> int:
    """Return the rotations that the status page shows of its own process."""
    return int(browser.text(ROTATIONS) or 0)


def test_orders_over_three_rotations(browser: Browser) -> None:
    """Tasks queued from the page while three rotations pass all come back with a result."""
    browser.open("/")
    browser.run("window.neverReloaded = true")
    before = rotations_of_the_server(browser.base)
    while rotations_of_the_server(browser.base) < before + 3:
        number = order(browser)
        done = f"tbody tr[data-number='{number}'][data-state=done] td:last-child"
        browser.wait(lambda cell=done: browser.text(cell), f"order {number} is done")  # type: ignore[misc]
        assert "packed by process" in browser.text(done)
    assert browser.run("return window.neverReloaded") is True
    assert browser.complaints() == []
    screenshot(browser, "orders", dark=False, width=1000, height=620)


def order(browser: Browser) -> int:
    """Order something on the page; return the order's number."""
    browser.run("document.querySelector('output').textContent = ''")
    browser.find("button").click()
    browser.wait(lambda: "is queued" in browser.text("output"), "the order is queued")
    found = re.search(r"Order (\d+) is queued", browser.text("output"))
    assert found
    return int(found[1])


def rotations_of_the_server(base: str) -> int:
    """Return how often the web server's credential has been renewed so far."""
    address = f"{base}/health/dev/node/?format=openmetrics"
    with urllib.request.urlopen(address, timeout=20) as answer:  # noqa: S310 - the demo's
        found = re.search(r"mqauth_credential_rotations_total{.*} (\d+)", answer.read().decode())
    assert found
    return int(found[1])


def test_time_runs_down_and_a_rotation_arrives(browser: Browser, demo: Process) -> None:
    """On the open page time runs down and a rotation arrives, without a reload."""
    sign_in(browser, demo)
    browser.run("window.neverReloaded = true")
    browser.wait(lambda: int(browser.attribute(METER, "aria-valuenow") or 0) > 2, "some time left")
    first = int(browser.attribute(METER, "aria-valuenow"))
    browser.wait(lambda: int(browser.attribute(METER, "aria-valuenow")) < first, "time runs down")
    before = rotations(browser)
    browser.wait(lambda: rotations(browser) > before, "a rotation arrives")
    assert browser.all("#mq-identities .mq-strip li[data-kind=renewed]")
    browser.wait(lambda: announced(browser, "renewed"), "an announcement")
    assert browser.run("return window.neverReloaded") is True
    assert browser.complaints() == []


def test_workers_are_shown_and_filtered(browser: Browser, demo: Process) -> None:
    """Both workers show with their time left, and the filter finds one by its name."""
    sign_in(browser, demo)
    rows = "#mq-workers tbody tr[data-worker]"
    # One that a busy machine keeps from answering is shown as silent meanwhile.
    browser.wait(lambda: len(browser.all(f"{rows}[data-state=ok]")) == 2, "both workers")
    browser.wait(lambda: browser.text(f"{rows} .mq-number").endswith(" s"), "a time left")
    browser.find("#mq-filter [name=search]").send_keys("packer")
    browser.wait(lambda: len(browser.all(rows)) == 1, "one worker")
    assert browser.attribute(rows, "data-worker") == "packer@shop"
    browser.find("#mq-filter [name=search]").clear()
    browser.find("#mq-filter [name=search]").send_keys("p")
    browser.wait(lambda: len(browser.all(rows)) == 2, "both workers again")


def test_a_screen_reader_finds_its_way(browser: Browser, demo: Process) -> None:
    """Sections, table and meters have names, and only news is announced."""
    sign_in(browser, demo)
    expected = {
        ("region", "This process"),
        ("region", "This host"),
        ("region", "Workers"),
        ("table", "Every worker's credential"),
        ("meter", "Time left of default"),
        ("meter", "Time left of packer@shop"),
        ("searchbox", "Name"),
    }
    browser.wait(lambda: expected <= named_parts(browser), "all of them have names")
    assert len([role for role, _ in named_parts(browser) if role == "status"]) == 1


def named_parts(browser: Browser) -> set[tuple[str, str]]:
    """Return role and name of each part of the page, as a screen reader gets them."""
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored")
    }


def test_a_frozen_worker_shows(browser: Browser, demo: Process) -> None:
    """A worker that is stopped shows as silent, first of all, with what to do; then it recovers."""
    sign_in(browser, demo)
    row = "#mq-workers tbody tr[data-worker]"
    browser.wait(lambda: len(browser.all(f"{row}[data-state=ok]")) == 2, "both workers")
    (helper,) = children_of(demo.pid, "--hostname helper@shop")
    os.kill(helper, signal.SIGSTOP)
    try:
        silent = "#mq-workers tbody tr[data-state=silent]"
        browser.wait(lambda: browser.attribute(silent, "data-worker") == "helper@shop", "silence")
        browser.wait(lambda: browser.attribute(row, "data-worker") == "helper@shop", "it is first")
        assert "What to do: look at that process" in browser.text(f"{row} .mq-why")
        browser.wait(lambda: announced(browser, "1 workers in trouble"), "an announcement")
        browser.run("document.querySelector('#mq-identities summary').click()")
        browser.wait(lambda: browser.all("#mq-identities details[open] li"), "permissions in words")
        screenshot(browser, "status-trouble", dark=False, width=1200, height=1460)
    finally:
        os.kill(helper, signal.SIGCONT)
    browser.wait(lambda: not browser.all(silent), "the worker answers again")


def children_of(parent: int, words: str) -> list[int]:
    """Return the ids of a process' children whose command line holds `words`."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            facts = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            line = status.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        if facts["PPid"].strip() == str(parent) and words in line:
            found.append(int(status.parent.name))
    return found


@pytest.mark.parametrize("name", SIZES)
def test_every_screen_shows_all(browser: Browser, demo: Process, name: str) -> None:
    """Light, dark and on a phone nothing is cut off, and text stands out from its background."""
    sign_in(browser, demo)
    size = SIZES[name]
    browser.look(**size)  # type: ignore[arg-type]
    browser.wait(lambda: browser.all("#mq-workers tbody .mq-bar"), "the workers")
    screenshot(browser, name, **size)
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    colours = browser.run(
        "const s = getComputedStyle(document.querySelector('.mq-left b'));"
        "const c = getComputedStyle(document.querySelector('.mq-card'));"
        "return [s.color, c.backgroundColor]"
    )
    text, ground = (luminance(colour) for colour in colours)
    assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) > 7
    assert (ground < text) == size["dark"]


def luminance(colour: str) -> float:
    """Return the relative luminance of a CSS colour (WCAG 2.2)."""
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def screenshot(browser: Browser, name: str, **size: int | bool) -> None:
    """Take a picture for the documentation, if somebody asked for pictures."""
    folder = os.environ.get("MQAUTH_SCREENSHOTS")
    if not folder:
        return
    browser.look(**size)  # type: ignore[arg-type]
    browser.run("window.scrollTo(0, 0)")
    browser.wait(lambda: browser.run("return document.readyState") == "complete", "the page")
    Path(folder).mkdir(parents=True, exist_ok=True)
    browser.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

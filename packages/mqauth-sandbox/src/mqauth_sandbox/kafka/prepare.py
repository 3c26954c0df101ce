"""Finds Java and Apache Kafka's jars, and has Maven fetch these where they are missing.

Two sets of jars, each with a list of its own: the broker's, and those of Kafka's command-line tools
with AWS's `aws-msk-iam-auth`, which sign in to Amazon MSK as Java programs do.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import filelock

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.rabbitmq.prepare import cache_directory
from mqauth_sandbox.rabbitmq.system import Progress, install_package, run

OLDEST_JAVA = 17
"""Apache Kafka 4 runs its brokers on no older one."""

_POM = Path(__file__).with_name("pom.xml")
_CLIENT_POM = Path(__file__).with_name("java_client.xml")
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_OTHERWISE = "install Java 17 and Maven by the system's means"
_PREPARE = "run `mqauth-sandbox prepare kafka`"
_PREPARE_CLIENT = "run `mqauth-sandbox prepare kafka-java`"
_LOCK_LIMIT = 900.0
_FETCH_LIMIT = 600.0
_PROBE_LIMIT = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaInstallation:
    """What a broker is run from.

    Args:
        java: The executable.
        jars: The folder of Kafka's jars and all that these need.
        version: Kafka's version.
    """

    java: Path
    jars: Path
    version: str


def find_kafka() -> KafkaInstallation:
    """Return Java and Kafka's jars; install nothing.

    Raises:
        NotInstalledError: Something is missing; the text says how to get it.
    """
    return _find(_POM, "Apache Kafka", _PREPARE)


def find_kafka_java() -> KafkaInstallation:
    """Return Java and the jars of Kafka's command-line tools; install nothing.

    Raises:
        NotInstalledError: Something is missing; the text says how to get it.
    """
    return _find(_CLIENT_POM, "Kafka's client for Java", _PREPARE_CLIENT)


def prepare_kafka(progress: Progress = lambda _: None) -> KafkaInstallation:
    """Return Java and Kafka's jars, installing first what is missing.

    Processes that prepare at the same time wait for each other.

    Args:
        progress: Called with one line for each thing done.

    Raises:
        NotInstalledError: It could not be installed; the text says what to do.
    """
    _install(_POM, f"Apache Kafka {_kafka_version()}", 43, progress)
    return find_kafka()


def prepare_kafka_java(progress: Progress = lambda _: None) -> KafkaInstallation:
    """Return Java and the jars of Kafka's command-line tools, installing first what is missing.

    Args:
        progress: Called with one line for each thing done.

    Raises:
        NotInstalledError: It could not be installed; the text says what to do.
    """
    _install(_CLIENT_POM, f"Kafka's client {_kafka_version()} for Java", 52, progress)
    return find_kafka_java()


def _find(pom: Path, what: str, remedy: str) -> KafkaInstallation:
    java = _java()
    if java is None:
        raise NotInstalledError("Java is not installed, which Kafka needs", remedy=remedy)
    version = _java_version(java)
    if version < OLDEST_JAVA:
        raise NotInstalledError(
            f"Java {version or 'of an unknown version'} in {java} is too old for Kafka 4",
            remedy=f"install Java {OLDEST_JAVA} or newer, or have JAVA_HOME name one",
        )
    home = _home(pom)
    if not home.is_dir():
        raise NotInstalledError(f"{what} is not installed", remedy=remedy)
    return KafkaInstallation(java=java, jars=home, version=_kafka_version())


def _install(pom: Path, what: str, megabytes: int, progress: Progress) -> None:
    if _java() is None:
        install_package("default-jre-headless", progress, otherwise=_OTHERWISE)
    home = _home(pom)
    if home.is_dir():
        return
    if shutil.which("mvn") is None:
        install_package("maven", progress, otherwise=_OTHERWISE)
    home.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        with filelock.FileLock(home.parent / "kafka.lock", timeout=_LOCK_LIMIT):
            if not home.is_dir():
                progress(f"fetching the jars of {what} with Maven (about {megabytes} MB)")
                _fetch(pom, home, progress)
                progress(f"{what} is ready in {home}")
    except filelock.Timeout:
        raise NotInstalledError(
            f"another process has been fetching Kafka for over {_LOCK_LIMIT / 60:g} minutes",
            remedy="end it, then try again",
        ) from None


def _fetch(pom: Path, home: Path, progress: Progress) -> None:
    draft = home.with_name(f"{home.name}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        listed = shutil.copyfile(pom, draft / "pom.xml")
        command = ["mvn", "--batch-mode", "--quiet", "--file", str(listed), _COPY]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={draft}"]
        run(command, progress, _FETCH_LIMIT)
        draft.rename(home)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _home(pom: Path) -> Path:
    """Return the jars' directory; another one for each state of the list."""
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()
    kind = "kafka" if pom == _POM else "kafka-java"
    return cache_directory() / f"{kind}-{_kafka_version()}-{digest[:8]}"


def _kafka_version() -> str:
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.+?)<", _POM.read_text())
    return found[1] if found else "?"


def _java() -> Path | None:
    named = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{named}/bin") if named else None
    found = found or shutil.which("java")
    return Path(found) if found else None


def _java_version(java: Path) -> int:
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=_PROBE_LIMIT, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0

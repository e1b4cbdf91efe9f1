"""The system's Chromium, without a window."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.support.waiting import WITHIN_S

WAIT_MS = 15_000
"""For an action or a state of the page, on a busy machine."""
POLL_MS = 20
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"


def needed(*names: str) -> str:
    """Return the path of the first of these programs. Skip the test if none is installed, but never in CI."""
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        assert not os.environ.get("CI"), f"CI must have {names[0]}: .ci/run installs it"
        pytest.skip(f"{names[0]} is not installed on this machine")
    return program


@contextmanager
def chromium(*flags: str, home: Path | None = None, is_whole: bool = False) -> Iterator[Browser]:
    """Start the browser; ``home`` is the folder with its settings and the certificates that it trusts.

    The headless shell takes a third of the time; what a page needs of the system (to keep the screen on, to trust a
    certificate) only the whole browser has.
    """
    shell = () if is_whole or home else ("chromium-headless-shell",)
    program = needed(*shell, "chromium", "chromium-browser", "google-chrome")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    sandbox = ["--no-sandbox"] if is_root else []  # Chromium's sandbox does not start for root
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        env: dict[str, str | float | bool] | None = None if home is None else {**os.environ, "HOME": str(home)}
        browser = playwright.chromium.launch(executable_path=program, args=[*sandbox, *flags], env=env)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def fresh_chromium(home: Path, *hosts: str, trusted: Path | None = None) -> Iterator[Browser]:
    """Start Chromium with a new home, which trusts an authority as /trust says for Linux.

    ``hosts`` are found on this machine, whatever address they have.
    """
    store = home / ".pki/nssdb"
    store.mkdir(parents=True)
    certutil = [needed("certutil"), "-d", f"sql:{store}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    if trusted is not None:
        subprocess.run([*certutil, "-A", "-n", "NeuroOne", "-t", "C,,", "-i", str(trusted)], check=True)
    rules = ", ".join(f"MAP {host} 127.0.0.1" for host in hosts)
    with chromium(f"--host-resolver-rules={rules}", home=home) as browser:
        yield browser


@contextmanager
def opened(browser: Browser, url: str, script: str = "", **context: Any) -> Iterator[Page]:
    """Open a page with an empty storage. An error in it fails the test, and so does a request to another server.

    ``script`` runs before those of the page, at each load.
    """
    faults: list[str] = []
    home = "/".join(url.split("/", 3)[:3]) + "/"
    with_words = {"locale": "pt-BR", "viewport": {"width": 1280, "height": 800}} | context
    tab = browser.new_context(**with_words)
    try:
        page = tab.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: faults.append(f"{error}\n{error.stack}"))
        page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda asked: None if asked.url.startswith((home, "blob:")) else faults.append(asked.url))
        page.add_init_script(script)
        _go(page, url)
        yield page
    finally:
        tab.close()
    assert not faults, faults


def _go(page: Page, url: str) -> None:
    """Open an address, until the network stays as it is meanwhile: containers beside us bring and take interfaces."""
    given_up: list[str] = []
    page.on("requestfailed", lambda asked: given_up.append(asked.failure or ""))
    while True:
        given_up.clear()
        try:
            page.goto(url)
        except PlaywrightError as error:
            given_up.append(error.message)
            if NETWORK_CHANGED not in error.message:
                raise
        if not any(NETWORK_CHANGED in why for why in given_up):
            return


def wait_on(page: Page, condition: Callable[[], object]) -> None:
    """Wait for a condition, while what the page says is answered."""
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s
        page.wait_for_timeout(POLL_MS)

"""The system's Chromium, without a window."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

WAIT_MS = 15_000
"""For an action or a state of the page, on a busy machine."""


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Start the browser. Skip the test if it is not installed, but never in CI."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        assert not os.environ.get("CI"), "CI must have Chromium: .ci/run installs it"
        pytest.skip("Chromium is not installed on this machine")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    sandbox = ["--no-sandbox"] if is_root else []  # Chromium's sandbox does not start for root
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*sandbox, *flags])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, script: str = "", **context: Any) -> Iterator[Page]:
    """Open a page with an empty storage. An error in it fails the test, and so does a request to another server.

    ``script`` runs before those of the page, at each load.
    """
    faults: list[str] = []
    home = url[: url.index("/", len("http://"))] + "/"
    with_words = {"locale": "pt-BR", "viewport": {"width": 1280, "height": 800}} | context
    tab = browser.new_context(**with_words)
    try:
        page = tab.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: faults.append(f"{error}\n{error.stack}"))
        page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda asked: None if asked.url.startswith((home, "blob:")) else faults.append(asked.url))
        page.add_init_script(script)
        page.goto(url)
        yield page
    finally:
        tab.close()
    assert not faults, faults

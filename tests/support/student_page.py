"""The student's page in Chromium, with a headset in the place of the browser's own that plays a capture."""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, Page, expect

from tests.support.browser import opened
from tests.support.fake_headsets import FAKES

WAYS: Final = ("bluetooth", "serial")


@contextmanager
def student_page(
    browser: Browser,
    url: str,
    ways: Sequence[str] = WAYS,
    line: bytes = b"",
    bytes_per_s: float = 1e9,
    **context: Any,
) -> Iterator[Page]:
    """Open the page on a phone whose browser has these ways to a headset, which sends the bytes of ``line``."""
    viewport = {"width": 360, "height": 640}
    given = json.dumps([base64.b64encode(line).decode(), bytes_per_s, ways])
    script = f"""{{
      {FAKES}
      const [bytes, bytesPerS, ways] = {given};
      globalThis.capture = new Capture(bytesOf(bytes), bytesPerS);
      giveHeadset(capture, ways);
    }}"""
    with opened(browser, url, script, **({"viewport": viewport} | context)) as page:
        expect(page.locator("main")).to_be_visible()
        yield page


def enter(page: Page, name: str, code: str = "") -> None:
    """Say who it is."""
    page.fill("[name=name]", name)
    page.fill("[name=code]", code)
    page.click("#next")

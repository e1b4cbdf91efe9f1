"""The student's page in Chromium, with a headset in the place of the browser's own that plays a capture."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, expect

from tests.support.browser import opened
from tests.support.captures import content
from tests.support.fake_headsets import FAKES, readings_of

WAYS: Final = ("bluetooth", "serial")
SPEED: Final = 10
"""So much faster than real time a headset sends in `record_with_losses`; `bench/student_page.py` takes real time."""
LINE_BYTES_PER_S: Final = 4132
"""Of a headset that sends 512 raw samples a second."""
LINE_S: Final = 40
ALL_RECORDED: Final = "Todas as suas leituras foram gravadas. Pode fechar esta página."


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


def record_with_losses(
    browser: Browser,
    url: str,
    name: str,
    capture: Path,
    kill: Callable[[], object],
    start: Callable[[], object],
) -> list[dict[str, Any]]:
    """Record what a headset sends with everything lost once; return the readings that must be in the files.

    Over Bluetooth, where the link is lost; then at a port, while the gateway is killed and the page loaded anew.
    """
    line = (content(capture) * LINE_S)[: LINE_S * LINE_BYTES_PER_S]
    with student_page(browser, url, line=line, bytes_per_s=SPEED * LINE_BYTES_PER_S) as page:
        assert page.evaluate("isSecureContext")
        page.evaluate("capture.limit = capture.bytes.length / 6")
        enter(page, name)
        page.click("[data-way=bluetooth]")
        expect(page.locator("#recorded")).to_contain_text(":")
        page.evaluate("Object.assign(capture, { isCut: true, limit: capture.limit * 2 })")
        page.wait_for_function("() => capture.cuts.length > 1 && capture.at >= capture.limit")
        page.click("#end")
        expect(page.locator("#left")).to_have_text(ALL_RECORDED)
        page.click("#anew")
        page.evaluate("capture.limit *= 2")
        page.click("[data-way=serial]")
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        kill()
        expect(page.locator("#notices")).to_contain_text("Ainda sem conexão")
        page.reload()
        expect(page.locator("#notices")).to_contain_text("esperam neste aparelho")
        start()
        page.evaluate("capture.limit = Infinity")
        page.wait_for_function("() => capture.length === 0")
        expect(page.locator("#notices")).to_be_empty()
        page.click("#end")
        expect(page.locator("#left")).to_have_text(ALL_RECORDED)
        cuts = page.evaluate("capture.cuts")
    expected = readings_of(*(line[begin:end] for begin, end in pairwise([*cuts, len(line)])))
    assert len(expected) > LINE_S - 2 * len(cuts)
    return expected

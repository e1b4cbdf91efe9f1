"""Takes the pictures of the student page, and of the invitation to it on the teacher's page.

    python3 run.py exec python -m docs.pictures.page.take_students

Starts a broker, a recorder and a gateway; the headsets are played in the browser. Takes a minute.
"""

import contextlib
import signal
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from docs.pictures.page.take import LOOKS, SIZES, take
from neuroone.up import brokers
from serial_bridge.ports.simulated import TYPICAL_BANDS, second_frame
from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium, opened
from tests.support.gateways import GatewayProgram, Peer
from tests.support.recorder_process import RecorderProcess
from tests.support.student_page import enter, student_page
from tests.support.waiting import wait_for

PUBLIC_URL = "https://escola.example"
"""In the place of this computer's own address, which is in the QR code otherwise."""
STUDENTS = (("Ana Souza", "pt-BR", "light"), ("Bia Lima", "en", "dark"))
GOOD_S, POOR_S, LAST_S = 15, 20, 600
"""Seconds of good contact, of poor contact, and of good contact while the server is gone."""
POOR = 51
FRAME_BYTES = 36


def main() -> None:
    """Start everything, take the pictures, end everything."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = Broker(next(kind for kind in brokers.KINDS if brokers.find(kind)), folder)
        broker.start()
        stack.callback(broker.stop)
        stack.enter_context(RecorderProcess(broker.url, folder / "data"))
        peer, gateway = Peer(broker), GatewayProgram(broker, "--public-url", PUBLIC_URL)
        stack.callback(peer.bus.close)
        wait_for(lambda: peer.bus.is_connected, "connection")
        gateway.start(peer)
        browser = stack.enter_context(chromium())
        pages = []
        qualities = [0] * GOOD_S + [POOR] * POOR_S + [0] * LAST_S
        line = b"".join(second_frame(quality, bands_of(at), 62, 48) for at, quality in enumerate(qualities))
        site = f"http://{LOOPBACK}:{gateway.port}/"
        for name, language, theme in STUDENTS:
            look: dict[str, Any] = {"locale": language, "color_scheme": theme, "service_workers": "block"}
            played = student_page(browser, f"{site}student", line=line, bytes_per_s=FRAME_BYTES, **look)
            page = stack.enter_context(played)
            pages.append((f"phone-{language}-{theme}", page))
            enter(page, name, "7B")
            page.click("[data-way=bluetooth]")
            expect(page.locator("#recorded")).to_contain_text(":")
            expect(page.locator("#values:not([data-doubtful])")).to_be_visible()
            take(page, f"connected-phone-{language}-{theme}")
            expect(page.locator("#doubt")).not_to_be_empty(timeout=1000 * (GOOD_S + POOR_S))
            take(page, f"doubtful-phone-{language}-{theme}")
        for size, language, theme in LOOKS:
            width, height = SIZES[size]
            teacher: dict[str, Any] = {"locale": language, "color_scheme": theme}
            with opened(browser, site, viewport={"width": width, "height": height}, **teacher) as page:
                expect(page.locator(".card")).to_have_count(len(STUDENTS))
                page.keyboard.press("i")
                expect(page.locator("#invite-code svg")).to_be_visible()
                take(page, f"invite-{size}-{language}-{theme}")
        gateway.end(signal.SIGTERM)
        for look_name, page in pages:
            expect(page.locator("#notices li")).to_have_count(2)
            take(page, f"waiting-{look_name}")


def bands_of(second: int) -> tuple[int, ...]:
    """Return band powers that differ from second to second: equal ones would be taken for a frozen headset."""
    return tuple(power + 37 * second for power in TYPICAL_BANDS)


if __name__ == "__main__":
    main()

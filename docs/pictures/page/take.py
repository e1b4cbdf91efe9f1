"""Takes the pictures of the teacher's page: every view in both languages, both themes and four sizes.

    python3 run.py exec python -m docs.pictures.page.take

Starts a broker, a recorder, two gateways, a simulated headset and 29 students, most of them with the production phone
app; takes three minutes, most of it waiting for the charts to fill.
"""

import contextlib
import math
import random
import socket
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from neuroone.contract.messages import BANDS
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.browser import chromium
from tests.support.classroom import SimulatedClass, SimulatedStudent
from tests.support.waiting import wait_for

HERE = Path(__file__).parent
SIZES = {"phone": (390, 844), "tablet": (1024, 768), "laptop": (1366, 768), "projector": (1920, 1080)}
LOOKS = (
    ("phone", "pt-BR", "light"),
    ("phone", "en", "dark"),
    ("tablet", "en", "light"),
    ("laptop", "pt-BR", "light"),
    ("projector", "pt-BR", "dark"),
)
"""Every view is seen in every size, language and theme, not in every combination of them."""
FILL_S = 75
"""A card's chart shows 60 s."""
COLOURS = 256
NAMES = (
    "Ana Souza, Bento Cruz, Bia Lima, Caio Rocha, Clara Nery, Davi Alves, Diego Sales, Eva Martins, Fábio Nunes, "
    "Gabi Costa, Heitor Dias, Íris Prado, João Pedro de Albuquerque Cavalcanti, Karina Melo, Lia Torres, Miguel Reis, "
    "Nina Barros, Otávio Luz, Pedro Gomes, Quésia Ramos, Rafa Teles, Sofia Pires, Téo Castro, Úrsula Vaz, Vitor Maia, "
    "Wagner Sá, Maria Eduarda, Maria Eduarda, Zeca Moraes"
).split(", ")


class WanderingStudent(SimulatedStudent):
    """A student whose values rise and fall; an app may never have decoded a band."""

    is_without_bands = False

    def reading(self) -> dict[str, object]:
        """Return the next reading."""
        phase = sum(map(ord, str(self.name)))
        if self.poor_signal != 200:
            self.attention = round(58 + 25 * math.sin(time.time() / 19 + phase) + random.uniform(-4, 4))
            self.meditation = round(52 + 22 * math.cos(time.time() / 27 + phase) + random.uniform(-4, 4))
        for place, band in enumerate(("delta", "theta", "low_alpha", "high_alpha", "low_beta", "high_beta")):
            self.values[band] = round(600_000 / (place + 1) ** 1.5 * random.uniform(0.6, 1.6))
        self.values |= {"low_gamma": random.randint(4000, 9000), "mid_gamma": random.randint(2000, 5000)}
        if self.is_without_bands:
            self.values = dict.fromkeys(BANDS, 0)
        return super().reading()


def main() -> None:
    """Start everything, take the pictures, end everything."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = Broker(next(kind for kind in brokers.KINDS if brokers.find(kind)), folder)
        broker.start()
        stack.callback(broker.stop)
        port, closed_port = free_port(), free_port()
        gateway = ["ws_gateway", "--host", LOOPBACK, "--recordings", str(folder / "data")]
        start(stack, "csv_recorder", "run", "--dir", str(folder / "data"), "--broker", broker.url)
        start(
            stack,
            *gateway,
            "--ws-port",
            str(closed_port),
            "--token",
            "x",
            "--no-open-here",
            "--broker",
            broker.url,
            "--instance",
            "b",
        )
        open_gateway = start(stack, *gateway, "--ws-port", str(port), "--broker", broker.url, "--instance", "a")
        headset = ["--port", "sim", "--name", "Alice Porto", "--code", "TURMA-1", "--seed", "3"]
        start(stack, "serial_bridge", "run", *headset, "--broker", broker.url)
        wait_for(lambda: listens(port) and listens(closed_port), "gateways")
        codes = ["5" + "".join(random.choices(string.ascii_uppercase, k=5)) for _ in NAMES]
        named = zip(NAMES, codes, strict=True)
        students = [WanderingStudent(name, code, poor_signal=None, is_old=True) for name, code in named]
        stack.enter_context(SimulatedClass(f"ws://{LOOPBACK}:{port}", list(students), period_s=1.0))
        browser = stack.enter_context(chromium())
        pages = []
        for size, language, theme in LOOKS:
            width, height = SIZES[size]
            context = browser.new_context(viewport={"width": width, "height": height}, locale=language)
            page = context.new_page()
            page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            page.goto(f"http://{LOOPBACK}:{port}/")
            pages.append((f"{size}-{language}-{theme}", page))
        _, first = pages[0]
        expect(first.locator(".card")).to_have_count(len(NAMES) + 1)
        mark(first, "start", "Ciências: o cérebro")
        students[5].is_gone, students[5].is_old, students[5].poor_signal = True, False, 26
        time.sleep(FILL_S - 15)
        mark(first, "mark", "olhos fechados")
        students[3].is_without_bands = True
        students[12].is_silent = True
        students[5].is_gone = False
        time.sleep(15)
        for name, page in pages:
            take(page, f"class-{name}")
            page.click("#alarms summary")
            take(page, f"alerts-{name}")
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Alice Porto", exact=True).click()
            expect(page.locator("#raw-chart canvas")).to_be_visible()
        time.sleep(2)
        for name, page in pages:
            take(page, f"student-{name}", full=True)
            page.keyboard.press("2")
            expect(page.locator("#lessons tbody tr")).to_have_count(1)
            page.locator("#lessons tbody tr").get_by_role("button").last.click()
            expect(page.locator("#students tbody tr")).to_have_count(len(NAMES) + 1)
            take(page, f"recordings-{name}")
            page.keyboard.press("1")
            page.keyboard.press("?")
            take(page, f"keys-{name}")
            page.keyboard.press("Escape")
            page.keyboard.press("p")
            expect(page.locator("#leave")).to_have_css("opacity", "0")
            take(page, f"projection-{name}")
            page.keyboard.press("p")
        open_gateway.terminate()
        open_gateway.wait()
        time.sleep(4)
        for name, page in pages:
            take(page, f"disconnected-{name}")
            page.goto(f"http://{LOOPBACK}:{closed_port}/")
            expect(page.locator("#token-dialog")).to_be_visible()
            take(page, f"token-{name}")
            page.goto(f"http://{LOOPBACK}:{closed_port}/student?test")
            page.fill("[name=name]", "Técnica")
            page.fill("[name=code]", "TESTE")
            page.click("#connect")
            time.sleep(4)
            take(page, f"test-{name}", full=True)


def start(stack: contextlib.ExitStack, *words: str) -> subprocess.Popen[bytes]:
    """Start one of the services; it ends with the pictures."""
    process = subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def listens(port: int) -> bool:
    """Whether something takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def mark(page: Page, dialog: str, text: str) -> None:
    """Start a session or mark a moment."""
    page.click(f"#{dialog}")
    page.fill(f"#{dialog}-dialog [name=text]", text)
    page.keyboard.press("Enter")


def take(page: Page, name: str, *, full: bool = False) -> None:
    """Take one picture, with few colours: it is a tenth of the size."""
    expect(page.locator("#toast:visible")).to_have_count(0, timeout=20_000)
    file = HERE / f"{name}.png"
    page.screenshot(path=file, full_page=full)
    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, optimize=True)  # every colour is near its own, also that of a small red dot


if __name__ == "__main__":
    main()

"""The student's page in headless Chromium, with a headset that sends 512 raw samples a second in real time.

``python -m bench.student_page --seconds 600`` prints what ``bench.page`` does: JS heap after garbage collection,
resident memory of the renderer, share of time that the main thread is busy (with what the fake radio takes). A lesson
wants raw samples. Then it compares every reading with the bridge's, and prints how fast the decoder is in
Chromium and in Node. ``NEUROONE_CAPTURES`` names real captures; without them a simulated headset plays.
"""

import argparse
import contextlib
import csv
import json
import subprocess
import time
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Page, expect
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from bench.page import measure, start_programs
from serial_bridge.ports.simulated import SimulatedHeadset
from tests.support.bad_network import CLIENTS, node
from tests.support.brokers import LOOPBACK
from tests.support.browser import chromium
from tests.support.captures import BASELINE, content
from tests.support.fake_headsets import KEYS, readings_of
from tests.support.student_page import ALL_RECORDED, LINE_BYTES_PER_S, enter, student_page

MARGIN_S = 60
"""Of bytes beyond those that are measured."""
DECODE = """async (decoder, bytes) => {
  const { ThinkGearDecoder } = await import(decoder);
  const rounds = [];
  for (let round = 0; round < 5; round += 1) {
    const began = performance.now();
    const made = new ThinkGearDecoder();
    for (let at = 0; at < bytes.length; at += 4096) made.push(bytes.subarray(at, at + 4096));
    rounds.push(bytes.length / 1000 / (performance.now() - began));
  }
  return Math.max(...rounds);
}"""


def run(stack: contextlib.ExitStack, way: str, seconds: int) -> None:
    """Start everything, measure, compare."""
    data, port = start_programs(stack)
    line_bytes = (seconds + MARGIN_S) * LINE_BYTES_PER_S
    real = content(BASELINE) if BASELINE.exists() else SimulatedHeadset(1).advance(300)
    line = (real * (1 + line_bytes // len(real)))[:line_bytes]
    want_raw(f"ws://{LOOPBACK}:{port}")
    browser = stack.enter_context(chromium(is_whole=True))
    url = f"http://{LOOPBACK}:{port}/student"
    with student_page(browser, url, [way], line, LINE_BYTES_PER_S) as page:
        enter(page, "Ana")
        page.click(f"[data-way={way}]")
        began_s = time.monotonic()
        expect(page.locator("#recorded")).to_contain_text(":")
        measure(way, page, seconds)
        page.click("#end")
        played_s = time.monotonic() - began_s
        expect(page.locator("#left")).to_have_text(ALL_RECORDED)
        cuts, end = page.evaluate("[capture.cuts, capture.at]")
        compare(data, readings_of(*(line[one:two] for one, two in pairwise([*cuts, end]))))
        raw = sum(len(file.read_text().splitlines()) - 1 for file in data.glob("sessions/*/*/raw.csv"))
        print(f"{end} bytes in {played_s:.0f} s, {raw} rows of raw samples recorded, links: {len(cuts)}")
        decoder_speed(page, line[: 8 * 1024 * 1024], data.parent)


def want_raw(url: str) -> None:
    """Begin a lesson that wants raw samples; it goes on without its teacher."""
    with connect(url, subprotocols=[Subprotocol("neuroone.v1")]) as teacher:
        for message in (
            {"type": "hello", "role": "dashboard"},
            {"type": "marker", "id": "bench", "event": "session_start", "text": "bench"},
        ):
            teacher.send(json.dumps(message))
        while (said := json.loads(teacher.recv(10))).get("raw") is not True:
            if said["type"] == "lesson" and said["began"]:
                teacher.send(json.dumps({"type": "raw_wanted", "wanted": True}))


def compare(data: Path, expected: list[dict[str, int]]) -> None:
    """Say how many of the readings are recorded, and that they are those of the bridge."""
    found = []
    for file in sorted(data.glob("sessions/*/*/readings.csv")):
        with file.open(encoding="utf-8", newline="") as opened_file:
            found += [{key: int(row[key]) for key in KEYS} for row in csv.DictReader(opened_file)]
    assert found == expected, f"{len(found)} readings are recorded, {len(expected)} expected"
    print(f"{len(found)} readings, each recorded once and equal to the bridge's")


def decoder_speed(page: Page, line: bytes, folder: Path) -> None:
    """Print how many MB the decoder takes in a second."""
    script = f"(async () => ({DECODE})('/page/thinkgear.js', capture.bytes.slice(0, {len(line)})))()"
    print(f"decoder in Chromium: {page.evaluate(script):.0f} MB/s")
    file = folder / "line"
    file.write_bytes(line)
    decoder = (CLIENTS / "thinkgear.js").as_uri()
    words = f"({DECODE})('{decoder}', require('fs').readFileSync('{file}')).then(console.log)"
    done = subprocess.run([*node(), "-e", words], capture_output=True, text=True, encoding="utf-8", check=True)
    print(f"decoder in Node: {float(done.stdout):.0f} MB/s")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--way", choices=("bluetooth", "serial"), default="bluetooth")
    given = options.parse_args()
    with contextlib.ExitStack() as stack:
        run(stack, given.way, given.seconds)


if __name__ == "__main__":
    main()

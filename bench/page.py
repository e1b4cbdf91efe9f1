"""The teacher's page with a school's readings in headless Chromium, beside the same with a chart object per student.

``python -m bench.page --students 300 --seconds 600`` prints for each, after the warm-up: JS heap after garbage
collection, resident memory of the renderer, share of time that the main thread is busy, the longest task and frame.
"""

import argparse
import asyncio
import contextlib
import json
import math
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from playwright.sync_api import Browser, CDPSession, Page, expect
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from neuroone.contract.messages import BANDS
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.browser import chromium
from tests.support.waiting import wait_for

WARM_UP_S = 20
SAMPLE_S = 10
WATCH = """() => {
  globalThis.bench = { task: 0, tasks: 0, frame: 0, over: 0 };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      bench.task = Math.max(bench.task, duration);
      bench.tasks += 1;
    }
  }).observe({ type: "longtask" });
  let last = performance.now();
  const frame = (now) => {
    bench.frame = Math.max(bench.frame, now - last);
    if (now - last > 100) bench.over += 1;
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""
RESET = "() => Object.assign(bench, { task: 0, tasks: 0, frame: 0, over: 0 })"
NAIVE = """async (url) => {
  document.body.replaceChildren();
  const { NeuroOneDashboard } = await import("/page/neuroone.js");
  await new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = "/page/uplot/uPlot.iife.min.js";
    script.onload = resolve;
    document.head.append(script);
  });
  const cards = new Map();
  const dashboard = new NeuroOneDashboard(url);
  dashboard.addEventListener("reading", ({ detail }) => {
    let card = cards.get(detail.source);
    if (card === undefined) {
      const root = document.createElement("div");
      root.className = "card";
      const words = document.createElement("p");
      root.append(words);
      document.body.append(root);
      const series = [{}, { stroke: "red" }, { stroke: "blue" }];
      const chart = new uPlot({ width: 240, height: 80, series, legend: { show: false } }, [[], [], []], root);
      card = { words, chart, rows: [] };
      cards.set(detail.source, card);
    }
    card.rows.push([Date.parse(detail.time) / 1000, detail.attention, detail.meditation]);
    if (card.rows.length > 60) card.rows.shift();
    card.words.textContent = `${detail.name} ${detail.attention} ${detail.meditation}`;
    card.chart.setData([0, 1, 2].map((column) => card.rows.map((row) => row[column])));
  });
  dashboard.start();
}"""


class Pupils:
    """Students at 1 Hz each, spread over the second, in a thread of their own."""

    def __init__(self, url: str, count: int) -> None:
        self._url = url
        self._count = count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.ready = threading.Event()
        self.sent = 0

    def __enter__(self) -> "Pupils":
        self._thread.start()
        assert self.ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            connections, hearing = [], []
            for number in range(self._count):
                dial = connect(self._url, subprotocols=[Subprotocol("neuroone.v1")], proxy=None)
                connection = await stack.enter_async_context(dial)
                hello = {"type": "hello", "role": "student", "name": f"Student {number:03}", "code": "BENCH"}
                await connection.send(json.dumps(hello))
                connections.append(connection)
                hearing.append(asyncio.create_task(_ignore(connection)))
            self.ready.set()
            clock = asyncio.get_running_loop().time
            began_s = clock()
            while not self._stop.is_set():
                due = int((clock() - began_s) * self._count)
                while self.sent < due:
                    seq, number = divmod(self.sent, self._count)
                    wave = 30 * math.sin(seq / 17 + number)
                    reading = {"type": "reading", "seq": seq, "poor_signal": 26 if (seq // 30 + number) % 9 == 0 else 0}
                    reading |= {"attention": round(55 + wave), "meditation": round(50 - wave)}
                    reading |= {band: 1000 * (place + 1) + seq for place, band in enumerate(BANDS)}
                    await connections[number].send(json.dumps(reading))
                    self.sent += 1
                await asyncio.sleep(0.005)
            for task in hearing:
                task.cancel()
            await asyncio.gather(*hearing, return_exceptions=True)


async def _ignore(connection: object) -> None:
    async for _ in connection:  # type: ignore[attr-defined]
        pass


def metrics(session: CDPSession) -> dict[str, float]:
    """Chromium's counters of the page."""
    return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}


def heap_mb(session: CDPSession) -> float:
    """JS heap after a garbage collection."""
    session.send("HeapProfiler.collectGarbage")
    return metrics(session)["JSHeapUsedSize"] / 1e6


def renderer_mb() -> float:
    """Resident memory of the largest renderer that this program started."""
    renderers = [
        each.memory_info().rss
        for each in psutil.Process().children(recursive=True)
        if "--type=renderer" in " ".join(each.cmdline())
    ]
    return max(renderers, default=0) / 1e6


def measure(name: str, page: Page, seconds: int) -> None:
    """Watch a page that is loaded and say what it cost."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.evaluate(WATCH)
    time.sleep(WARM_UP_S)
    heaps, resident = [heap_mb(session)], renderer_mb()
    busy_s, wall_s = 0.0, 0.0
    longest_task = longest_frame = 0.0
    over = 0
    for _ in range(max(1, seconds // SAMPLE_S)):
        page.evaluate(RESET)
        before, began_s = metrics(session), time.monotonic()
        time.sleep(SAMPLE_S)
        busy_s += metrics(session)["TaskDuration"] - before["TaskDuration"]
        wall_s += time.monotonic() - began_s
        seen = page.evaluate("bench")
        longest_task, longest_frame = max(longest_task, seen["task"]), max(longest_frame, seen["frame"])
        over += seen["over"]
        heaps.append(heap_mb(session))  # the collection is not counted as a task of the page
    print(
        f"{name:6} {seconds:4} s: heap {heaps[0]:.1f} -> {heaps[-1]:.1f} MB (highest {max(heaps):.1f}), "
        f"renderer {resident:.0f} -> {renderer_mb():.0f} MB, main thread busy {busy_s / wall_s:.1%}, "
        f"longest task {longest_task:.0f} ms (0: none over 50), longest frame {longest_frame:.0f} ms, "
        f"{over} over 100 ms",
        flush=True,
    )


def run(browser: Browser, url: str, given: argparse.Namespace) -> None:
    for name in given.only:
        context = browser.new_context(viewport={"width": 1920, "height": 1080})
        page = context.new_page()
        if name == "page":
            page.goto(url)
        else:
            page.goto(url + "student?test")
            page.evaluate(NAIVE, url.replace("http", "ws"))
        expect(page.locator(".card")).to_have_count(given.students, timeout=60_000)
        measure(name, page, given.seconds)
        context.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--students", type=int, default=300)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--only", nargs="+", choices=("page", "charts"), default=["page", "charts"])
    given = options.parse_args()
    with contextlib.ExitStack() as stack:
        _, port = start_programs(stack)
        stack.enter_context(Pupils(f"ws://{LOOPBACK}:{port}", given.students))
        run(stack.enter_context(chromium()), f"http://{LOOPBACK}:{port}/", given)


def start_programs(stack: contextlib.ExitStack) -> tuple[Path, int]:
    """Start broker, recorder and gateway until the stack ends; return the recordings' folder and the gateway's port."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    broker = Broker(next(kind for kind in brokers.KINDS if brokers.find(kind)), folder)
    broker.start()
    stack.callback(broker.stop)
    data, port = folder / "data", free_port()
    for words in (
        ["csv_recorder", "run", "--dir", str(data)],
        ["ws_gateway", "--host", LOOPBACK, "--ws-port", str(port)],
    ):
        program = subprocess.Popen([sys.executable, "-m", *words, "--broker", broker.url], stderr=subprocess.DEVNULL)
        stack.callback(program.wait)
        stack.callback(program.terminate)
    wait_for(lambda: listens(port), "gateway")
    return data, port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


if __name__ == "__main__":
    main()

"""What a frame of the monitor costs, beside matplotlib the way the old window drew.

    QT_QPA_PLATFORM=offscreen python3 run.py exec python bench/monitor_frames.py [MINUTES]

Ten lines of 50 points and one raw trace of 5120 noisy points, painted offscreen at 1200 x 800; about 60 s.
A `full` frame draws everything anew (once a second in the window), an `ordinary` one only the raw trace (30 a second).
Then the window's start, and for MINUTES (3) the whole window with two simulated headsets and everything on: a minute
of filtered raw, spectrum and spectrogram. On a busy machine, start it with `chrt -r 5`.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from monitor_hour import watch
from PySide6.QtWidgets import QApplication

from monitor_gui.feed import Feed, StreamId
from monitor_gui.panel import StreamPanel
from monitor_gui.view import View
from neuroone.contract.messages import BANDS, Kind, RawBlock, Reading

FRAMES = 120
POINTS = 50
SAMPLES = 5120
SIZE = (1200, 800)
STREAM = StreamId("bench", "headset")
MEDIAN_MAX_MS = 10.0
P99_MAX_MS = 16.0
LONGEST_MAX_MS = 100.0
START_MAX_S = 1.5
STARTS = 3
MINUTES = 3.0
SOURCES = ("one", "three")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
RNG = np.random.default_rng(1)


def main() -> None:
    app = QApplication([])
    rows = [
        ("monitor, ordinary frame", *monitor_frames(app, is_full=False)),
        ("monitor, full frame", *monitor_frames(app, is_full=True)),
        ("matplotlib, set_data and draw", *matplotlib_frames(app, is_clean=True)),
        ("matplotlib, the old way: plot without clearing", *matplotlib_frames(app, is_clean=False)),
    ]
    print(f"{'milliseconds a frame':48}{'median':>9}{'95 %':>9}{'first':>9}{'last':>9}")
    for name, *figures in rows:
        print(f"{name:48}" + "".join(f"{figure:9.1f}" for figure in figures))
    print(f"ratio, old way to full frame: {rows[3][1] / rows[1][1]:.0f}")
    assert rows[1][1] <= MEDIAN_MAX_MS, "a full frame is too slow"
    start_s = statistics.median(start() for _ in range(STARTS))
    print(f"start to the first picture and the end: {start_s:.2f} s")
    everything_on(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES)
    assert start_s <= START_MAX_S, "the window starts too slowly"


def start() -> float:
    """Start the monitor, let it draw and end; return the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "monitor_gui", "--screenshot", f"{folder}/picture.png", "--after", "0.01"]
        began_s = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "XDG_CONFIG_HOME": folder}, capture_output=True)
        return time.perf_counter() - began_s


def everything_on(minutes: float) -> None:
    """Two headsets beside each other, and all that a window can show of them."""
    headsets = [["run", "--port", "sim", "--source", source, "--seed", str(len(source))] for source in SOURCES]
    streams = [StreamId("no-group", source) for source in SOURCES]
    choice = {"hidden": frozenset(), "raw_window_s": 60, "mains_hz": 60, "passband_hz": (1.0, 40.0)}
    spent = sorted(watch(minutes, streams, headsets, **choice))
    assert spent[int(len(spent) * 0.99)] <= P99_MAX_MS, "frames take too long"
    assert spent[-1] <= LONGEST_MAX_MS, "a frame took much too long"


def timed(draw: Callable[[], object], frames: int = FRAMES) -> tuple[float, float, float, float]:
    """Median, 95th percentile, first and last of the frames, in ms."""
    spent = []
    for _ in range(frames):
        start_s = time.perf_counter()
        draw()
        spent.append((time.perf_counter() - start_s) * 1000)
    ordered = sorted(spent)
    return statistics.median(spent), ordered[int(frames * 0.95)], spent[0], spent[-1]


def monitor_frames(app: QApplication, *, is_full: bool) -> tuple[float, float, float, float]:
    """The window's own panel over a filled feed, its clock going on a frame at a time."""
    now = itertools.count()
    feed = Feed(no_broker, "local", lambda: 0.0)
    feed.watch(STREAM)
    with feed.watched(STREAM) as watched:
        for second in range(POINTS + 1):
            bands = {band: int(10 ** RNG.uniform(3, 6)) for band in BANDS}
            watched.history.add_reading(reading(second, bands), float(second))
        for number in range(SAMPLES // 64 + 8):
            at_s = POINTS - SAMPLES / 512 + (number + 1) / 8
            watched.history.add_raw(block(number, at_s), at_s)
    panel = StreamPanel(feed, STREAM)
    panel.resize(*SIZE)
    panel.show()
    views = (
        itertools.cycle((View(window_s=50), View(window_s=50, back_s=1e-9))) if is_full else itertools.repeat(View())
    )

    def draw() -> None:
        panel.draw(next(views), POINTS + next(now) / 1000)
        app.processEvents()

    timed(draw, 10)
    return timed(draw)


def matplotlib_frames(app: QApplication, *, is_clean: bool) -> tuple[float, float, float, float]:
    """Two axes with the ten lines, and a third with the raw trace."""
    canvas = FigureCanvasQTAgg(Figure())
    canvas.resize(*SIZE)
    canvas.show()
    axes = canvas.figure.subplots(3)
    x = np.arange(POINTS)
    lines = RNG.uniform(3, 6, (10, POINTS))
    raw = RNG.normal(0, 100, SAMPLES)
    drawn = [axes[0 if n < 8 else 1].plot(x, line)[0] for n, line in enumerate(lines)] + axes[2].plot(raw)

    def draw() -> None:
        if is_clean:
            for line, values in zip(drawn, [*lines, raw], strict=True):
                line.set_ydata(values)
        else:
            for n, line in enumerate(lines):
                axes[0 if n < 8 else 1].plot(x, line)
            axes[2].plot(raw)
        canvas.draw()
        app.processEvents()

    return timed(draw, FRAMES if is_clean else 20)


def reading(seq: int, bands: dict[str, int]) -> Reading:
    """A reading of second ``seq``."""
    return Reading(
        session="bench",
        seq=seq,
        time=NOON + timedelta(seconds=seq),
        kind=Kind.HEADSET,
        name=None,
        code=None,
        poor_signal=0,
        attention=int(RNG.integers(1, 101)),
        meditation=int(RNG.integers(1, 101)),
        **bands,
    )


def block(number: int, at_s: float) -> RawBlock:
    """Noise."""
    samples = tuple(int(value) for value in RNG.normal(0, 100, 64))
    at = NOON + timedelta(seconds=at_s)
    return RawBlock(session="bench", seq=number, time=at, first_sample=64 * number, rate_hz=512, samples=samples)


def no_broker(*_: object, **__: object) -> None:
    raise AssertionError("the bench connects to nothing")


if __name__ == "__main__":
    main()

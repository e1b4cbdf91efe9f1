"""An hour of input in six minutes: the monitor's memory stays flat, and no frame takes long.

    QT_QPA_PLATFORM=offscreen python3 run.py exec python bench/monitor_hour.py [MINUTES]

A real broker, `serial-bridge replay` at ten times the speed, and the monitor's window in this program, which draws 30
frames a second. The capture that is shipped is played in a loop; takes 6 minutes and 30 s.
"""

import contextlib
import gc
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

from monitor_gui.feed import Feed, StreamId
from monitor_gui.local_bridge import LocalBridge
from monitor_gui.main_window import FRAME_PERIOD_MS, MonitorWindow
from monitor_gui.preferences import Preferences
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up import brokers

SPEED = 10
WARM_UP_S = 30.0
"""Until Qt, numpy and the fonts have allocated what they keep."""
GROWTH_MAX_MB = 10.0
FRAME_MAX_MS = 100.0
"""Of computing: what a busy machine gives to other programs in between is printed, and is not the window's."""


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 60 / SPEED
    headset = ["replay", "example", "--speed", str(SPEED), "--loop", "--source", "bench"]
    watch(minutes, [StreamId("no-group", "bench")], [headset])


def watch(minutes: float, streams: list[StreamId], headsets: list[list[str]], **view: Any) -> list[float]:
    """Draw headsets of serial-bridge for so long; print and check the figures, and return the frames in ms."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        program = brokers.find()
        assert program is not None
        port = free_port()
        url = f"mqtt://127.0.0.1:{port}"
        bridge = [sys.executable, "-m", "serial_bridge"]
        commands = [program.command(Path(folder), "127.0.0.1", port)]
        commands += [[*bridge, *headset, "--broker", url, "--log-level", "error"] for headset in headsets]
        for command in commands:
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        return draw(url, Path(folder), minutes, streams, **view)


def draw(url: str, folder: Path, minutes: float, streams: list[StreamId], **view: Any) -> list[float]:
    """Draw what the broker sends."""
    app = QApplication.instance() or QApplication([])
    preferences = Preferences(QSettings(str(folder / "monitor.ini"), QSettings.Format.IniFormat))
    identity = Identity("local", "monitor_gui", "bench", "0", int(time.time() * 1000), "bench")

    def new_client(broker: BrokerAddress, **options: Any) -> ThreadedClient:
        return ThreadedClient([broker], identity, **options)

    feed = Feed(new_client, "local", time.monotonic)
    window = MonitorWindow(feed, LocalBridge(), preferences, streams)
    window.connect_to(BrokerAddress.parse(url))
    gc.freeze()  # as monitor-gui does
    window.start("monitor")
    window.show_view(replace(window.view, **view))
    window.timers[0].stop()
    window.show()
    own = psutil.Process()
    most = int((minutes * 60 + 1) * 1000 / FRAME_PERIOD_MS)
    spent, own_cost = np.ones(most), np.ones(most)  # written now: a list of an hour's frames would grow by 7 MB
    frames = 0
    sizes: list[float] = []
    began_s = time.monotonic()
    until_s = began_s + WARM_UP_S + minutes * 60
    while (now_s := time.monotonic()) < until_s:
        own_s = time.thread_time()
        window.draw()
        app.processEvents()
        frame_ms = (time.monotonic() - now_s) * 1000
        if now_s - began_s > WARM_UP_S:
            spent[frames], own_cost[frames] = frame_ms, (time.thread_time() - own_s) * 1000
            frames += 1
            if frames % 300 == 1:
                sizes.append(own.memory_info().rss / 1e6)
        time.sleep(max(0.0, FRAME_PERIOD_MS - frame_ms) / 1000)
    for stream in streams:
        with feed.watched(stream) as watched:
            counters = dict(watched.history.counters)
        print(f"{stream}: {counters['readings']} readings in {minutes + WARM_UP_S / 60:.1f} minutes, {counters}")
    window.close()
    feed.close()
    ordered = sorted(spent[:frames].tolist())
    print(f"frames: {frames}, median {ordered[frames // 2]:.1f} ms, ", end="")
    print(f"99 % {ordered[int(frames * 0.99)]:.1f} ms, longest {ordered[-1]:.1f} ms, ", end="")
    print(f"of which this program computed {own_cost[:frames].max():.1f} ms at most")
    print("memory in MB, each tenth:", *(f"{each:.1f}" for each in sizes[:: max(1, len(sizes) // 10)]))
    print(f"memory: {sizes[0]:.1f} MB at first, {sizes[-1]:.1f} MB at last, {max(sizes):.1f} MB at most")
    assert max(sizes) - sizes[0] <= GROWTH_MAX_MB, "memory grows"
    assert own_cost[:frames].max() <= FRAME_MAX_MS, "a frame took too long"
    return ordered


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()

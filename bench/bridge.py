"""What one bridge costs: CPU and serial-to-topic latency with many headsets, and a day of replay.

    python -m bench.bridge load [HEADSETS] [SECONDS] [mosquitto|nats]
    python -m bench.bridge soak [HOURS]

``load`` plugs headsets of 513 packets a second into pseudo-terminals, from a process of their own, and measures a
bridge process: its share of a core, and the time from the write of a block's last sample to the block's arrival at a
subscriber. ``soak`` plays that many simulated hours through decoder, stream and publisher as fast as they go, counts
every frame, and watches the memory.
"""

import json
import os
import pty
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psutil

from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import RAW_RATE_HZ, Message, RawBlock, Reading
from neuroone.contract.topics import Topic
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service.process_memory import resident_bytes
from neuroone.service.wearers import Owner
from serial_bridge.headset import Headset
from serial_bridge.headsets.thinkgear import Decoder, encode_raw
from serial_bridge.ports.simulated import SimulatedHeadset, second_frame
from serial_bridge.ports.sources import PacedSource
from serial_bridge.publisher import StreamPublisher
from tests.support.brokers import Broker
from tests.support.waiting import wait_for

TICK_S = 0.008
WARM_S = 8.0
PERIOD = 4096
"""Samples count from -2048 to 2047 and over again: a sample's value says which one it is."""


def feed(folder: Path, headsets: int, seconds: float) -> None:
    """The process that is the headsets: writes, and notes when it wrote each 64th sample of a period."""
    second = second_frame(0, (1000,) * 8, 50, 50)
    frames = [encode_raw(n - PERIOD // 2) for n in range(PERIOD)]
    masters = []
    for _ in range(headsets):
        master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        masters.append((master, slave))
    (folder / "ports").write_text("\n".join(os.ttyname(slave) for _, slave in masters), encoding="ascii")
    began_s = time.monotonic()
    sent = [n * 7 for n in range(headsets)]  # each headset is elsewhere in its block
    base = list(sent)
    written: list[dict[int, float]] = [{} for _ in range(headsets)]
    turn, lost = 0, 0
    while (now_s := time.monotonic()) < began_s + seconds:
        for n, (master, _) in enumerate(masters):
            until = base[n] + int((now_s - began_s) * RAW_RATE_HZ)
            stream = b"".join(frames[k % PERIOD] + second * (k % RAW_RATE_HZ == 0) for k in range(sent[n], until))
            wrote_s = time.monotonic()
            try:
                os.write(master, stream)
            except BlockingIOError:
                lost += 1
            for k in range(sent[n], until):
                written[n][k] = wrote_s
            sent[n] = until
        turn += 1
        time.sleep(max(0.0, began_s + turn * TICK_S - time.monotonic()))
    (folder / "written").write_text(json.dumps([[base[n], list(times.values())] for n, times in enumerate(written)]))
    print(f"headsets: {lost} writes found the line full", file=sys.stderr)


def load(headsets: int, seconds: float, kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker(kind, folder)
        broker.start()
        arrived: list[tuple[float, Delivery]] = []
        ear = ThreadedClient(
            BrokerAddresses.parse(broker.url),
            Identity("local", "bench", "bench", "0", 0, "bench"),
            subscriptions={topics.every(topics.RAW, "local"): 0},
            on_delivery=lambda delivery: arrived.append((time.monotonic(), delivery)),
        )
        ear.start()
        wait_for(lambda: ear.is_connected, "connection", 10)
        python = [sys.executable, "-m"]
        feeder = subprocess.Popen([*python, "bench.bridge", "feed", name, str(headsets), str(seconds + WARM_S)])
        while not (folder / "ports").exists() or not (folder / "ports").read_text():
            time.sleep(0.05)
        ports = (folder / "ports").read_text(encoding="ascii").split()
        options = [part for n, port in enumerate(ports) for part in ("--port", port, "--source", f"h{n}")]
        bridge = subprocess.Popen(
            [*python, "serial_bridge", *options, "--broker", broker.url, "--log-level", "warning"]
        )
        time.sleep(WARM_S)
        measured = psutil.Process(bridge.pid)
        before, began_s = measured.cpu_times(), time.monotonic()
        time.sleep(seconds - 1)
        after, took_s = measured.cpu_times(), time.monotonic() - began_s
        memory, threads = measured.memory_info().rss, measured.num_threads()
        feeder.wait()
        bridge.terminate()
        bridge.wait()
        ear.close()
        broker.stop()
        share = (after.user + after.system - before.user - before.system) / took_s
        latencies_s = list(latencies(folder, arrived, began_s, began_s + took_s))
        latencies_s.sort()
        p50, p99 = (latencies_s[int(len(latencies_s) * share_of)] * 1000 for share_of in (0.5, 0.99))
        print(
            f"{headsets} headsets, {took_s:.0f} s, {kind}: {share:.0%} of a core, {threads} threads, {memory >> 20} MB"
        )
        print(f"  {len(latencies_s)} blocks, {len(latencies_s) / took_s:.0f}/s of {headsets * 8}/s that were due")
        print(f"  serial to topic: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {latencies_s[-1] * 1000:.1f} ms")
        print(f"  bars: share {share / 0.5:.2f} of 50 % of a core, p99 {p99 / 20:.2f} of 20 ms")


def latencies(folder: Path, arrived: list[tuple[float, Delivery]], from_s: float, to_s: float) -> Iterator[float]:
    written = json.loads((folder / "written").read_text(encoding="ascii"))
    for at_s, delivery in arrived:
        if not from_s <= at_s < to_s:
            continue
        topic, block = delivery.open()
        if not isinstance(block, RawBlock):
            continue
        base, times = written[int(topic["source"][1:])]
        # The newest sample of this value that was written before the block arrived.
        k = (block.samples[-1] + PERIOD // 2 - base) % PERIOD
        while k + PERIOD < len(times) and times[k + PERIOD] <= at_s:
            k += PERIOD
        if k < len(times) and times[k] <= at_s:
            yield at_s - times[k]


class Counting:
    """Stands for the broker: encodes every message as the bus does, and checks that no number is missing or doubled."""

    is_connected = True
    waiting = 0

    def __init__(self) -> None:
        self.identity = Identity("local", "bench", "bench", "0", 0, "bench")
        self.readings = self.samples = 0

    def publish(self, topic: Topic, message: Message, on_ack: object = None) -> bool:
        encode(message)
        if isinstance(message, Reading):
            assert message.seq == self.readings
            self.readings += 1
        elif isinstance(message, RawBlock):
            assert message.first_sample == self.samples
            self.samples += len(message.samples)
        return True


def soak(hours: float) -> None:
    hour = SimulatedHeadset(1).advance(60)
    rounds = int(hours * 60)
    parts = ((0.0, hour[at : at + 4096]) for _ in range(rounds) for at in range(0, len(hour), 4096))
    bus, clock = Counting(), count()
    memory: list[int] = []

    def now_s() -> float:
        turn = next(clock)
        if turn % 20_000 == 0:
            memory.append(resident_bytes() or 0)
        return turn * 1e-3

    source = PacedSource("soak", "soak", lambda: parts, can_wait=True)
    headset = Headset(source, StreamPublisher(bus, "bench", "soak"), Owner(), Decoder, now_s)
    began_s = time.perf_counter()
    while not headset.has_ended:
        headset.step()
    took_s = time.perf_counter() - began_s
    expected = rounds * 60 * RAW_RATE_HZ, rounds * 60
    late = memory[len(memory) // 4 :]
    print(f"{hours:g} h in {took_s:.0f} s, {hours * 3600 / took_s:.0f} times real time")
    print(f"  samples {bus.samples} of {expected[0]}, readings {bus.readings} of {expected[1]}")
    print(f"  checksum failures {headset.counters['checksum_failures']}, skipped {headset.counters['skipped_bytes']}")
    print(f"  memory after a quarter {late[0] >> 10} kB, at the end {late[-1] >> 10} kB")
    assert (bus.samples, bus.readings) == expected


def main() -> None:
    what, *rest = sys.argv[1:] or ["load"]
    if what == "feed":
        feed(Path(rest[0]), int(rest[1]), float(rest[2]))
    elif what == "soak":
        soak(float(rest[0]) if rest else 24)
    else:
        given = [*rest, *("50", "30", "mosquitto")[len(rest) :]]
        load(int(given[0]), float(given[1]), given[2])


if __name__ == "__main__":
    main()

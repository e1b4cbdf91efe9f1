"""Students to a dashboard through gateway, broker and recorder, beside the old server, in the same minutes.

The broker has the configuration that `neuroone up` gives it.

``python -m bench.gateway --students 1000 4000 --rounds 3`` prints for each number of students at 1 Hz: latency from a
student's send to the dashboard, readings lost or doubled at the dashboard, rows lost or doubled in the CSV files, and
the CPU of broker, recorder and gateway. Latency and CPU are those of the steady state, without the first two seconds,
in which all sessions begin; the CPU of the whole time stands beside it.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import uvloop

from neuroone.contract import messages
from neuroone.up import brokers

HOST = "127.0.0.1"
HANDSHAKE = (
    f"GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
)
TICK_S = 0.002
START_S = 2
"""Seconds in which all sessions begin: not part of the steady state."""
CLASS = 30
"""Students of a class."""
BANDS = {"Delta": 123456, "Theta": 234567, "LowAlpha": 345678, "HighAlpha": 456789}
BANDS |= {"LowBeta": 567890, "HighBeta": 678901, "LowGamma": 789012, "MiddleGamma": 890123}
OLD = [{"Att": esense, "Med": 50, **BANDS} for esense in range(101)]
NEW = [
    {"poor_signal": 0, "attention": esense, "meditation": 50, **dict(zip(messages.BANDS, BANDS.values(), strict=True))}
    for esense in range(101)
]
"""What students send in each dialect, by their attention."""


def text_frame(text: str) -> bytes:
    """A masked text frame whose mask is zero: costs the generator nothing, and the server what every frame costs."""
    payload = text.encode()
    if len(payload) < 126:
        return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload
    return bytes((0x81, 0x80 | 126)) + len(payload).to_bytes(2, "big") + bytes(4) + payload


def class_of(number):
    return f"C{number // CLASS}"


class Client(asyncio.Protocol):
    """A WebSocket client that is cheap enough to be run by the thousand."""

    def __init__(self, on_text=None, subprotocol=None, path="/"):
        self.open = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.rest = b""
        self.on_text = on_text
        protocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        self.handshake = f"{HANDSHAKE.replace(' / ', f' {path} ', 1)}{protocol}\r\n"

    @property
    def lost(self):
        return self.ended.is_set()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.handshake.encode())

    def data_received(self, received):
        buffer = self.rest + received
        if not self.open.done():
            head, end, buffer = buffer.partition(b"\r\n\r\n")
            if not end:
                self.rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.transport.close()
                return
            self.open.set_result(None)
        at = 0
        while len(buffer) >= at + 2:
            length, start = buffer[at + 1], at + 2
            if length == 126:
                if len(buffer) < at + 4:
                    break
                length, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            if len(buffer) < start + length:
                break
            if buffer[at] == 0x81 and self.on_text is not None:
                self.on_text(buffer[start : start + length])
            elif buffer[at] == 0x89:
                self.transport.write(bytes((0x8A, 0x80 | length)) + bytes(4) + buffer[start : start + length])
            elif buffer[at] == 0x88:
                self.transport.close()
            at = start + length
        self.rest = buffer[at:]

    def connection_lost(self, exc):
        self.ended.set()
        if not self.open.done():
            self.open.set_exception(ConnectionError("not let in"))


async def connect(port, on_text=None, subprotocol=None, path="/", **options):
    """Raises OSError when there is nobody, or nobody is let in."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(on_text, subprotocol, path), HOST, port, **options)
    await client.open
    return client


class Students:
    """Students on connections of their own, who send one after the other, and dashboards that see all of them.

    ``ports`` are those of the gateways, which have the students in turn; the first dashboard, at the first one, counts
    what comes. With
    ``in_both_dialects`` every second student of a gateway speaks neuroone.v1. ``latencies_ms`` has a list for each
    gateway, of what was sent while it was measured.
    """

    def __init__(self, count, ports, period_s=1.0, *, in_both_dialects=False, dashboards=1):
        self.count, self.ports, self.period_s = count, ports, period_s
        self.in_both_dialects = in_both_dialects
        self.dashboards = dashboards
        self.sent = self.arrived = self.strange = 0
        self.latencies_ms = [[] for _ in ports]
        self.measured_s = math.inf, math.inf
        self._sent_at = [deque() for _ in range(count)]
        self._clients, self._watching = [], []

    @property
    def lost(self):
        return sum(client.lost for client in (*self._clients, *self._watching))

    def _is_new(self, number):
        return self.in_both_dialects and number // len(self.ports) % 2

    async def connect(self):
        for number in range(self.dashboards):
            dashboard = await connect(self.ports[number % len(self.ports)], None if number else self._hear)
            dashboard.transport.write(text_frame("dash"))
            self._watching.append(dashboard)
        for start in range(0, self.count, 100):
            numbers = range(start, min(start + 100, self.count))
            self._clients += await asyncio.gather(*map(self._connect, numbers))
        names = ({"Codigo": class_of(number), "Nome": f"s{number}"} for number in range(self.count))
        self._old = [text_frame(json.dumps({**name, **OLD[n % 101]})) for n, name in enumerate(names)]
        self._new = [json.dumps(NEW[n % 101])[1:] for n in range(101)]

    async def _connect(self, number):
        port = self.ports[number % len(self.ports)]
        if not self._is_new(number):
            return await connect(port)
        client = await connect(port, subprotocol="neuroone.v1")
        hello = {"type": "hello", "role": "student", "name": f"s{number}", "code": class_of(number)}
        client.transport.write(text_frame(json.dumps(hello)))
        return client

    def _hear(self, text):
        now_s = time.perf_counter()
        number = int(json.loads(text)["Nome"][1:])
        if self._sent_at[number]:
            self.arrived += 1
            at_s = self._sent_at[number].popleft()
            begin_s, end_s = self.measured_s
            if begin_s <= at_s < end_s:
                self.latencies_ms[number % len(self.ports)].append((now_s - at_s) * 1000)
        else:
            self.strange += 1

    def begin_measuring(self):
        self.measured_s = time.perf_counter(), math.inf

    def end_measuring(self):
        self.measured_s = self.measured_s[0], time.perf_counter()

    async def send(self, until=lambda: False, most=math.inf):
        """Let each student send once in a period, until a condition holds, or so many readings are sent."""
        began_s, before = time.perf_counter(), self.sent
        while self.sent < most and not until():
            due = before + int((time.perf_counter() - began_s) * self.count / self.period_s) + 1
            for number in range(self.sent, min(due, most)):
                self._send(number % self.count, number // self.count)
            self.sent = min(due, most)
            await asyncio.sleep(TICK_S)

    def _send(self, student, seq):
        frame = self._old[student]
        if self._is_new(student):
            frame = text_frame(f'{{"type": "reading", "seq": {seq}, {self._new[student % 101]}')
        self._sent_at[student].append(time.perf_counter())
        if not self._clients[student].lost:
            self._clients[student].transport.write(frame)

    async def drain(self):
        """Wait until the dashboard has everything, at most 20 s."""
        deadline_s = time.perf_counter() + 20
        while self.arrived < self.sent and time.perf_counter() < deadline_s:  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0.1)

    def close(self):
        for client in (*self._clients, *self._watching):
            client.transport.abort()


async def load(port, students, seconds, on_begin, on_steady):
    """Latencies of the steady state in ms, readings sent, missed, doubled at the dashboard, connections lost."""
    crowd = Students(students, [port])
    await crowd.connect()
    await asyncio.sleep(2)

    def steady():
        crowd.begin_measuring()
        on_steady()

    on_begin()
    asyncio.get_running_loop().call_later(START_S, steady)
    await crowd.send(most=students * seconds)
    await crowd.drain()
    await asyncio.sleep(2)
    lost = crowd.lost
    crowd.close()
    return crowd.latencies_ms[0], crowd.sent, crowd.sent - crowd.arrived, crowd.strange, lost


def rows_in(folder, students, seconds):
    """Rows in the CSV files, and files that do not have exactly one row a second."""
    rows = wrong = 0
    for number in range(students):
        file = folder / f"s{number}.csv"
        count = len(file.read_text(encoding="utf-8").splitlines()) - 1 if file.exists() else 0
        rows += count
        wrong += count != seconds
    return rows, wrong


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_until_open(port):
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.1)


def cpu_s(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(name, commands, port, folder, students, seconds):
    programs = []
    try:
        for command in commands:
            programs.append(subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
            time.sleep(1.0)
        wait_until_open(port)
        measured = []
        measure = lambda: measured.append([cpu_s(program) for program in programs])  # noqa: E731
        latencies, sent, missed, strange, lost = uvloop.run(load(port, students, seconds, measure, measure))
        measure()
        time.sleep(3)
    finally:
        for program in reversed(programs):
            program.send_signal(signal.SIGTERM)
            try:
                program.wait(20)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
    rows, wrong = rows_in(folder, students, seconds)
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    began, steady, ended = measured
    whole, used = (
        [(end - begin) / (students * over_s) * 1e6 for begin, end in zip(since, ended, strict=True)]
        for since, over_s in ((began, seconds), (steady, seconds - START_S))
    )
    steady_cpu, whole_cpu = (" ".join(f"{each:.0f}" for each in figures) for figures in (used, whole))
    print(
        f"{name:8} {students:6} students {sent:7} sent, dashboard missed {missed} and doubled {strange}, "
        f"rows missing {sent - rows} in {wrong} files, connections lost {lost}; "
        f"p50 {p50:8.2f} ms  p99 {p99:8.2f} ms  "
        f"CPU us a reading {steady_cpu} (from the start {whole_cpu})",
        flush=True,
    )
    return p50, p99, sum(used)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--students", type=int, nargs="+", default=[1000])
    options.add_argument("--seconds", type=int, default=15)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--no-recorder", action="store_true")
    options.add_argument("--only", choices=("gateway", "seed"))
    given = options.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # One folder for all runs: ext4 searches long for an inode beside thousands that were freed a moment ago.
    with tempfile.TemporaryDirectory() as name:
        for number in range(given.rounds):
            for students in given.students:
                compare(given, students, Path(name, f"{number}-{students}"))


def compare(given, students, folder):
    found = {}
    if given.only != "seed":
        port, mqtt = free_port(), free_port()
        broker = brokers.find()
        assert broker is not None
        url = f"mqtt://{HOST}:{mqtt}"
        python = [sys.executable, "-m"]
        mine = folder / "gateway"
        mine.mkdir(parents=True)
        commands = [
            broker.command(folder / "broker", HOST, mqtt),
            [*python, "csv_recorder", "run", "--dir", str(mine), "--broker", url],
            [*python, "ws_gateway", "--host", HOST, "--ws-port", str(port), "--broker", url],
        ]
        if given.no_recorder:
            del commands[1]
        found["gateway"] = run("gateway", commands, port, mine, students, given.seconds)
    if given.only != "gateway":
        port = free_port()
        its = folder / "seed"
        its.mkdir(parents=True)
        command = [sys.executable, str(Path(__file__).with_name("seed_server.py").resolve()), str(port)]
        found["seed"] = run("seed", [command], port, its, students, given.seconds)
    if len(found) == 2:
        ratios = [mine / its for mine, its in zip(found["gateway"], found["seed"], strict=True)]
        print(
            f"ratio    {students:6} students p50 {ratios[0]:.2f}  p99 {ratios[1]:.2f}  CPU {ratios[2]:.2f}", flush=True
        )


if __name__ == "__main__":
    main()

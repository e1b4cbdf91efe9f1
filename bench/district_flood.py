"""What a flood of one school costs another school of the same gateway.

    python -m bench.district_flood [KIND ...] [--seconds 10] [--rounds 2] [--files 4000]

Runs a broker with the logins of two schools and the gateway of both. At one school 20 students of both dialects send
once a second, and a dashboard hears them; each second another one comes. At the other school clients of each kind do as
much as they can. Rounds with and without the flood alternate. A line for each round says how many readings were lost
and doubled, the latency from a student to the dashboard, and how long the slowest new dashboard took to get in. The
exit code says whether nothing was lost or doubled, each dashboard got in within a second, and p99 was within 100 ms.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import uvloop

from bench.gateway import HOST, NEW, OLD, connect, cpu_s, free_port, text_frame, wait_until_open
from bench.gateway_limits import hostile_frames, resident_kib
from neuroone.up import brokers
from tests.support.recordings import NOON, reading_rows, write_session
from tests.support.site_broker import OURS, THEIRS, site_broker

STUDENTS = 20
P99_MAX_MS = 100
JOIN_MAX_S = 1.0
FLOODS_ADDRESS = "127.0.0.2", 0
"""A school of its own has an address of its own."""
LESSONS = 300
"""Recorded sessions of the school that floods."""
V1 = "neuroone.v1"


def old(name, number=0):
    return text_frame(json.dumps({"Nome": name, "Codigo": "6B", **OLD[50], "Delta": number}))


def new(seq, number=0):
    return text_frame(json.dumps({"type": "reading", "seq": seq, **NEW[50], "delta": number}))


def said(kind, **more):
    return text_frame(json.dumps({"type": kind, **more}))


# --- the school that is measured ---------------------------------------------------------------------


class School:
    """Students of a school, a dashboard that hears them, and what it has heard."""

    def __init__(self, port, token):
        self.port, self.token = port, token
        self.sent_s, self.heard = {}, {}
        self.joined_s, self.lost_connections = [], 0

    def _on_frame(self, text):
        frame = json.loads(text)
        if frame["type"] == "reading":
            self.heard.setdefault((frame["source"], frame["delta"]), []).append(time.perf_counter())

    async def _watch(self, on_text):
        viewer = await connect(self.port, on_text, V1, f"/{THEIRS}/")
        viewer.transport.write(said("hello", role="dashboard", token=self.token))
        return viewer

    async def _join(self):
        """Time a new dashboard, from its first byte to its welcome."""
        began_s, welcomed = time.perf_counter(), asyncio.Event()
        place = len(self.joined_s)
        self.joined_s.append(10.0)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(10):
                viewer = await self._watch(lambda _: welcomed.set())
                await welcomed.wait()
            self.joined_s[place] = time.perf_counter() - began_s
            viewer.transport.abort()

    async def _student(self, number, name, seconds):
        is_new = number % 2
        await asyncio.sleep(number / STUDENTS)
        student = await connect(self.port, None, V1 if is_new else None, f"/{THEIRS}/")
        if is_new:
            student.transport.write(said("hello", role="student", name=name, code="6B"))
        begin_s = time.perf_counter()
        for seq in range(seconds):
            self.sent_s[name, seq] = time.perf_counter()
            student.transport.write(new(seq, seq) if is_new else old(name, seq))
            await asyncio.sleep(max(0, begin_s + seq + 1 - time.perf_counter()))
        self.lost_connections += student.lost
        student.transport.abort()

    async def measure(self, seconds):
        """Return what came of it: lost, doubled, connections lost, p50, p99 and the longest in ms, the longest join."""
        names = [f"b{random.randrange(10**9)}" for _ in range(STUDENTS)]
        viewer = await self._watch(self._on_frame)
        students = asyncio.gather(*(self._student(*each, seconds) for each in enumerate(names)), return_exceptions=True)
        joining = []
        while not students.done():
            joining.append(asyncio.create_task(self._join()))
            await asyncio.wait([students], timeout=1)
        self.lost_connections += sum(isinstance(each, Exception) for each in await students)
        await asyncio.wait(joining, timeout=10)
        self.lost_connections += viewer.lost
        viewer.transport.abort()
        wanted = seconds * STUDENTS
        took = sorted((self.heard[each][0] - at_s) * 1000 for each, at_s in self.sent_s.items() if each in self.heard)
        at = lambda part: took[min(len(took) - 1, int(len(took) * part))] if took else float("inf")  # noqa: E731
        doubled = sum(len(each) - 1 for each in self.heard.values())
        return wanted - len(took), doubled, self.lost_connections, at(0.5), at(0.99), at(1), max(self.joined_s)


# --- the school that floods --------------------------------------------------------------------------


class Flood:
    """Clients of the other school, or a part of them. A method of each kind floods for ever."""

    def __init__(self, port, token, part=1.0):
        self.port, self.token, self.part = port, token, part

    async def client(self, subprotocol=None, on_text=None):
        while True:
            with contextlib.suppress(OSError):
                return await connect(self.port, on_text, subprotocol, f"/{OURS}/", local_addr=FLOODS_ADDRESS)
            await asyncio.sleep(0.05)

    async def student(self, name):
        client = await self.client(V1)
        client.transport.write(said("hello", role="student", name=name, code="6B"))
        return client

    async def viewer(self, on_text=None):
        client = await self.client(V1, on_text)
        client.transport.write(said("hello", role="dashboard", token=self.token))
        return client

    async def many(self, count, one):
        await asyncio.gather(*(one(number) for number in range(int(count * self.part))))

    async def pour(self, client, frames, pause_s=0.005):
        """Send as fast as the gateway takes it, until the connection is lost."""
        while not client.lost:
            while client.transport.get_write_buffer_size() < 64 * 1024:
                client.transport.write(b"".join(itertools.islice(frames, 100)))
            await asyncio.sleep(pause_s)

    async def old_frames(self):
        async def one(number):
            frame = old(f"a{number}")
            while True:
                await self.pour(await self.client(), itertools.repeat(frame))

        await self.many(50, one)

    async def new_frames(self):
        async def one(number):
            while True:
                name = f"a{number}-{random.randrange(10**9)}"
                await self.pour(await self.student(name), map(new, itertools.count()))

        await self.many(50, one)

    async def measure(self, period_s, number):
        """Be an old student who sends at this period, as long as the connection lasts."""
        client, frame = await self.client(), old(f"a{number}")
        while not client.lost:
            client.transport.write(frame)
            await asyncio.sleep(period_s)

    async def polite(self):
        """Students who each stay below every limit, but are far too many for the machine."""

        await self.many(3000, partial(self.measure, 0.2))

    async def bad_frames(self):
        async def one(number):
            while True:
                await self.pour(await self.client(V1 if number % 2 else None), hostile_frames(random.Random(number)))

        await self.many(50, one)

    async def names(self):
        async def one(number):
            while True:
                client = await self.client()
                await self.pour(client, (old(f"a{random.randrange(10**9)}") for _ in itertools.count()))

        await self.many(200, one)

    async def markers(self):
        async def one(number):
            ids = itertools.count()
            client = await (self.viewer() if number % 2 else self.student(f"a{number}"))
            await self.pour(client, (said("marker", id=f"{number}-{n}", event="marker", text="x" * 200) for n in ids))

        await self.many(50, one)

    async def raw(self):
        teacher = await self.viewer()
        teacher.transport.write(said("marker", id="l", event="session_start", text="x"))
        await asyncio.sleep(1)
        teacher.transport.write(said("raw_wanted", wanted=True))
        samples = [random.randrange(-2048, 2048) for _ in range(512)]

        async def one(number):
            blocks = (said("raw", seq=n, first_sample=n * 512, rate_hz=512, samples=samples) for n in itertools.count())
            while True:
                await self.pour(await self.student(f"a{number}"), blocks)

        await self.many(50, one)

    async def deaf_dashboards(self):
        """Dashboards that take nothing, while students send as much as they may."""

        async def deaf(number):
            while True:
                viewer = await self.viewer()
                await asyncio.sleep(0.5)
                viewer.transport.pause_reading()
                await viewer.ended.wait()

        await asyncio.gather(self.many(100, deaf), self.many(100, partial(self.measure, 0.2)))

    async def new_dashboards(self):
        """Dashboards that come and go, each of which is told of 2000 students."""

        async def watch(number):
            await asyncio.sleep(4)
            while True:
                viewer = await self.viewer()
                await asyncio.sleep(0.2)
                viewer.transport.abort()

        await asyncio.gather(self.many(2000, partial(self.measure, 2)), self.many(20, watch))

    async def slow_requests(self):
        """Requests that never end, as many as there may be."""

        async def one(number):
            while True:
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection(HOST, self.port, local_addr=FLOODS_ADDRESS)
                    writer.write(f"GET /{OURS}/ HTTP/1.1\r\nHost: ".encode())
                    await reader.read()
                    writer.close()
                await asyncio.sleep(0.01)

        await self.many(6000, one)

    async def connections(self):
        """Students, more than there may be connections."""

        async def one(number):
            while True:
                await asyncio.sleep(random.random())
                client = await self.client()
                while not client.lost:
                    client.transport.write(old(f"a{number}"))
                    await asyncio.sleep(10)

        await self.many(6000, one)

    async def tries(self):
        async def one(number):
            while True:
                client = await self.client()
                client.transport.abort()

        await self.many(200, one)

    async def get(self, path, take=1 << 20):
        """Ask for a page and take so many bytes of it."""
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(HOST, self.port, local_addr=FLOODS_ADDRESS)
            request = f"GET /{OURS}/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n"
            writer.write(request.encode())
            while take > 0 and (piece := await reader.read(1 << 16)):
                take -= len(piece)
            if not take:
                await asyncio.sleep(20)
            writer.close()

    async def searches(self):
        async def one(number):
            while True:
                await self.get(f"recordings?by=student&q=a{number % 10}" if number % 2 else "recordings")

        await self.many(64, one)

    async def workbooks(self):
        async def one(number):
            while True:
                await self.get(f"recordings/lessons/2026-11-22?format={'xlsx' if number % 2 else 'report'}")
                await asyncio.sleep(0.05)

        await self.many(32, one)

    async def deaf_downloads(self):
        async def one(number):
            while True:
                await self.get("recordings", take=0)

        await self.many(64, one)


KINDS = [each for each in vars(Flood) if not each.startswith("_")]
KINDS = [each for each in KINDS if each not in ("client", "student", "viewer", "many", "pour", "get", "measure")]


# --- both --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(folder, files):
    """The gateway of a district with two schools: its process and port."""
    port = free_port()
    sites = {}
    for site in (OURS, THEIRS):
        for number in range(LESSONS if site == OURS else 3):
            rows = reading_rows(600, NOON) if number < 60 else reading_rows(5, NOON)
            write_session(
                folder / site / "data", f"a{number}", "6B", f"a{number}", NOON + timedelta(seconds=number), rows
            )
        sites[site] = {
            "broker": f"file:{folder}/logins/site-{site}.url",
            "token_file": f"{folder}/{site}/token",
            "recordings": str(folder / site / "data"),
        }
    (folder / "sites.json").write_text(json.dumps(sites), encoding="utf-8")
    with site_broker(next(kind for kind in brokers.KINDS if brokers.find(kind)), folder):
        words = ["--sites", f"{folder}/sites.json", "--host", HOST, "--ws-port", str(port), "--no-open-here"]
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # noqa: E731
        gateway = subprocess.Popen([sys.executable, "-m", "ws_gateway", *words], preexec_fn=limit)
        try:
            wait_until_open(port)
            time.sleep(2)
            yield gateway, port
        finally:
            gateway.terminate()
            gateway.wait(30)


def token_of(folder, site):
    return (folder / site / "token").read_text(encoding="ascii").strip()


def start_flood(kind, port, token, part=1.0, before=None):
    """Start a flood in a process of its own, in which ``before`` is called first."""
    words = [sys.executable, "-m", "bench.district_flood", f"--pour={kind}/{port}/{token}/{part}"]
    return subprocess.Popen(words, preexec_fn=before)


def give_way():
    """Let the flood have what the others leave: elsewhere it would have a processor of its own."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(5)


def judge(kind, gateway, port, folder, seconds):
    """Measure the school for so long; return True if it noticed little."""
    flood = None
    if kind != "nothing":
        flood = start_flood(kind, port, token_of(folder, OURS), before=give_way)
        time.sleep(6)
    before_s, began_s = cpu_s(gateway), time.monotonic()
    try:
        found = uvloop.run(School(port, token_of(folder, THEIRS)).measure(seconds))
        cpu = (cpu_s(gateway) - before_s) / (time.monotonic() - began_s)
    finally:
        if flood is not None:
            flood.kill()
            flood.wait()
            time.sleep(3)
    lost, doubled, connections, p50, p99, longest, joined_s = found
    print(
        f"{kind:16} lost {lost}, doubled {doubled}, connections lost {connections}; "
        f"p50 {p50:6.1f}, p99 {p99:7.1f}, longest {longest:7.1f} ms; a new dashboard in {joined_s:5.2f} s; "
        f"CPU {cpu:4.2f}, memory {resident_kib(gateway) // 1024} MiB",
        flush=True,
    )
    return not (lost or doubled or connections) and p99 <= P99_MAX_MS and joined_s <= JOIN_MAX_S


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("kinds", nargs="*", metavar="KIND", help=f"Some of {', '.join(KINDS)}. Default: all.")
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--files", type=int, default=4000, help="Open files that the gateway may have.")
    options.add_argument("--pour", help=argparse.SUPPRESS)
    given = options.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.pour is not None:
        kind, port, token, part = given.pour.split("/")
        uvloop.run(getattr(Flood(int(port), token, float(part)), kind)())
    held = True
    with tempfile.TemporaryDirectory() as name, running(Path(name), given.files) as (gateway, port):
        for kind, number in itertools.product(given.kinds or KINDS, range(2 * given.rounds)):
            held &= judge(kind if number % 2 else "nothing", gateway, port, Path(name), given.seconds)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()

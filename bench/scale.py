"""How cost grows with students, gateways, recorders and brokers, and whether a model of it holds.

    python3 run.py exec python -m bench.scale [--quick] [--out docs/scale.json]

Each point runs real programs on this machine: brokers (one Mosquitto, or three NATS servers that keep each message
three times), gateways, recorders with `--shard`, and students of both dialects who connect over loopback. Measured in
the steady state, over 30 s, in which each recorder syncs its files once and Mosquitto writes its state once:

- CPU of each part in us a reading, its memory, and the bytes that it writes to the disk;
- latency from a student's send to a dashboard of the first gateway;
- bytes a reading over the sockets of gateways and brokers, as `ss` of iproute2 counts them, and in the files.

A point counts if every reading came once to the dashboard and once to a recorder, no connection was lost and p99 is
below 1 s. bench/scale_model.py is fitted to the points; those that are held out must be within 25 % of it. All points
take 14 minutes, with --quick four of them two minutes, without a model. To be run on a quiet machine.
"""

import argparse
import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import uvloop

from bench.gateway import HOST, Students
from bench.scale_model import WITHIN, Point, Setup, Use, errors, fit
from neuroone import cluster
from neuroone.contract.files import INBOX_FILE
from neuroone.service.open_files import allow_many_files
from neuroone.up import brokers
from neuroone.up.brokers import MOSQUITTO, NATS
from tests.support.brokers import free_port
from tests.support.cluster import Cluster
from tests.support.waiting import wait_for

POINTS = [
    Setup(broker=MOSQUITTO, students=1000),
    Setup(broker=MOSQUITTO, students=3000),
    Setup(broker=MOSQUITTO, students=6000),
    Setup(broker=MOSQUITTO, students=8000),
    Setup(broker=MOSQUITTO, students=12_000, period_s=2.0),
    Setup(broker=MOSQUITTO, students=2000, gateways=4),
    Setup(broker=MOSQUITTO, students=2000, recorders=4),
    Setup(broker=MOSQUITTO, students=1500, gateways=2, recorders=2, dashboards=4),
    Setup(broker=MOSQUITTO, students=4000, gateways=2, use=Use.HELD_OUT),
    Setup(broker=MOSQUITTO, students=2500, gateways=3, recorders=2, use=Use.HELD_OUT),
    Setup(broker=MOSQUITTO, students=10_000, use=Use.LIMIT),
    Setup(broker=MOSQUITTO, students=12_000, use=Use.LIMIT),
    Setup(broker=MOSQUITTO, students=19_000, period_s=2.5, use=Use.LIMIT),
    Setup(broker=NATS, students=500),
    Setup(broker=NATS, students=2500),
    Setup(broker=NATS, students=1000, replicas=1),
    Setup(broker=NATS, students=1000, gateways=4),
    Setup(broker=NATS, students=1000, recorders=4),
    Setup(broker=NATS, students=1500, gateways=2, recorders=2, use=Use.HELD_OUT),
    Setup(broker=NATS, students=4000, use=Use.LIMIT),
]
QUICK = [
    Setup(broker=MOSQUITTO, students=500),
    Setup(broker=MOSQUITTO, students=1000, gateways=2),
    Setup(broker=NATS, students=500),
    Setup(broker=NATS, students=500, gateways=2),
]
SECONDS = 30
QUICK_SECONDS = 10
WARM_UP_S = 6.0
"""A recorder of many students writes its files every 5 s; by then all of them exist."""
LATE_S = 1.0
"""So far behind may the recorders be when a measurement begins."""
WARM_UP_MAX_S = 40.0
LATE_MAX_S = START_MAX_S = 60.0
P99_MAX_MS = 1000
WAYS = {"bytes_received": "in", "bytes_acked": "out"}


class System:
    """The programs of one point: brokers, recorders and gateways."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self.setup, self.folder = setup, folder
        self.cluster = Cluster(folder / "broker") if setup.broker == NATS else None
        if self.cluster is None:
            self.broker_places, self.route_places = [f"{HOST}:{free_port()}"], []
        else:
            nodes = [node.address for node in self.cluster.nodes]
            self.broker_places = [f"{node}:{cluster.MQTT_PORT}" for node in nodes]
            self.route_places = [f"{node}:{cluster.ROUTE_PORT}" for node in nodes]
        self.gateway_ports = [free_port() for _ in range(setup.gateways)]
        self.recorder_ports = [free_port() for _ in range(setup.recorders)]
        self.programs: dict[str, list[psutil.Popen]] = {}

    @contextmanager
    def running(self):
        try:
            if self.cluster is None:
                self._start("brokers", [self._mosquitto()])
            else:
                self._start_cluster(self.cluster)
            wait_for(lambda: is_open(self.broker_places[0]), "broker", START_MAX_S)
            self._start("recorders", map(self._recorder, range(self.setup.recorders)))
            wait_for(lambda: all(map(is_well, self.recorder_ports)), "recorder", START_MAX_S)
            self._start("gateways", map(self._gateway, range(self.setup.gateways)))
            wait_for(lambda: all(map(is_ready, self.gateway_ports)), "gateway with broker and recorders", START_MAX_S)
            yield
        finally:
            for program in (program for part in self.programs.values() for program in part):
                program.kill()  # everything that is measured is over; what is safe is counted by then
                program.wait()

    def _start(self, part: str, commands) -> None:
        log = subprocess.DEVNULL
        self.programs[part] = [psutil.Popen(each, cwd=self.folder, stdout=log, stderr=log) for each in commands]

    def _mosquitto(self) -> list[str]:
        program = brokers.find(MOSQUITTO)
        assert program, "Mosquitto is not installed"
        host, port = self.broker_places[0].split(":")
        return program.command(self.folder / "broker", host, int(port))

    def _start_cluster(self, nodes: Cluster) -> None:
        """Start what `neuroone cluster` makes, with logins and TLS, and with as many copies as this point has."""
        copies = f"stream_replicas: {len(nodes.nodes)}\n"
        for node in nodes.nodes:
            conf = nodes.folder / "nodes" / node.address / cluster.CONF
            before, _, after = conf.read_text(encoding="utf-8").partition(copies)
            conf.write_text(f"{before}stream_replicas: {self.setup.replicas}\n{after}", encoding="utf-8")
            node.start()
        self.programs["brokers"] = [psutil.Process(node.process.pid) for node in nodes.nodes]
        nodes.wait_until_healthy()

    def _recorder(self, number: int) -> list[str]:
        count = self.setup.recorders
        shard = [] if count == 1 else ["--shard", f"{number + 1}/{count}"]
        words = ["run", "--dir", str(self.folder / f"recordings-{number}"), *shard]
        words += ["--metrics-port", str(self.recorder_ports[number]), *self._broker("csv_recorder", number + 1)]
        return [sys.executable, "-m", "csv_recorder", *words]

    def _gateway(self, number: int) -> list[str]:
        words = ["--host", HOST, "--ws-port", str(self.gateway_ports[number]), "--instance", f"g{number}"]
        return [sys.executable, "-m", "ws_gateway", *words, *self._broker("ws_gateway", number)]

    def _broker(self, service: str, number: int) -> list[str]:
        """How a program reaches the brokers: each begins with another node."""
        if self.cluster is None:
            return ["--broker", f"mqtt://{self.broker_places[0]}"]
        made = self.cluster.folder
        urls = (made / f"{service}.url").read_text(encoding="utf-8").strip().split(",")
        first = number % len(urls)
        own = made / f"{service}-{number}.url"
        own.write_text(",".join(urls[first:] + urls[:first]), encoding="utf-8")
        return ["--broker", f"file:{own}", "--broker-ca", str(made / cluster.AUTHORITY)]

    def usage(self) -> dict[str, dict[str, Any]]:
        """CPU in us, memory in MB and bytes written to the disk by each part so far."""
        found = {}
        for part, programs in {**self.programs, "generator": [psutil.Process()]}.items():
            cpu_us = [sum(each.cpu_times()[:2]) * 1e6 for each in programs]
            written = sum(each.io_counters().write_bytes for each in programs)
            memory_mb = sum(each.memory_info().rss for each in programs) / 1e6
            found[part] = {"cpu": sum(cpu_us), "written": written, "memory": memory_mb, "each cpu": cpu_us}
        return found

    def traffic(self) -> dict[str, int]:
        """Bytes so far that went over the sockets of gateways (with students) and brokers, and between brokers."""
        found = dict.fromkeys(("gateways in", "gateways out", "brokers in", "brokers out", "nodes"), 0)
        of = dict.fromkeys((f"{HOST}:{port}" for port in self.gateway_ports), "gateways")
        of |= dict.fromkeys(self.broker_places, "brokers") | dict.fromkeys(self.route_places, "nodes")
        chosen = " or ".join(f"src {place}" for place in of)
        lines = subprocess.run(["ss", "-tinHO", f"( {chosen} )"], capture_output=True, text=True, check=True).stdout
        for line in lines.splitlines():
            place = of[line.split()[3]]
            for name, _, count in (word.partition(":") for word in line.split()):
                if name in WAYS:
                    found[place if place == "nodes" else f"{place} {WAYS[name]}"] += int(count)
        return found

    def recorded(self) -> float:
        """Readings that the recorders have, each counted once."""
        return sum(metric(port, "rows_total") for port in self.recorder_ports)


def is_open(place: str) -> bool:
    host, port = place.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def is_well(port: int) -> bool:
    return answer(port, "/healthz") is not None


def is_ready(port: int) -> bool:
    text = answer(port, "/readyz")
    return text is not None and "degraded" not in text


def answer(port: int, path: str) -> str | None:
    try:
        with urlopen(f"http://{HOST}:{port}{path}", timeout=20) as page:
            return page.read().decode()
    except OSError:
        return None


def metric(port: int, name: str) -> float:
    lines = (answer(port, "/metrics") or "").splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(f"neuroone_recorder_{name} ")), 0.0)


@dataclass(frozen=True)
class Mark:
    """Where everything stands at a moment; ``usage`` is of each part, ``busy_s`` of all cores."""

    at_s: float
    sent: int
    usage: dict[str, dict[str, Any]]
    busy_s: float

    @classmethod
    def now(cls, system: System, crowd: Students) -> "Mark":
        times = psutil.cpu_times()
        return cls(time.perf_counter(), crowd.sent, system.usage(), sum(times) - times.idle - times.iowait)


async def measure(system: System, seconds: int) -> Point:
    """Measure the steady state of a system that runs."""
    setup = system.setup
    crowd = Students(
        setup.students, system.gateway_ports, setup.period_s, in_both_dialects=True, dashboards=setup.dashboards
    )
    await crowd.connect()
    stop = asyncio.Event()
    sending = asyncio.create_task(crowd.send(stop.is_set))
    is_warm = await warm_up(system, crowd)
    before = crowd.sent, await asyncio.to_thread(system.traffic)
    first = Mark.now(system, crowd)
    crowd.begin_measuring()
    await asyncio.sleep(seconds)
    crowd.end_measuring()
    last = Mark.now(system, crowd)
    after = await asyncio.to_thread(system.traffic), crowd.sent
    stop.set()
    await sending
    await crowd.drain()
    deadline_s = time.perf_counter() + LATE_MAX_S
    while system.recorded() < crowd.sent and time.perf_counter() < deadline_s:  # noqa: ASYNC110 (no event to wait for)
        await asyncio.sleep(0.5)
    traffic = {place: (count - before[1][place]) / (after[1] - before[0]) for place, count in after[0].items()}
    values = used(first, last) | traffic | kept(system, crowd.sent)
    everybody, others = ([*chain(*each)] for each in (crowd.latencies_ms, crowd.latencies_ms[1:]))
    latency_ms = {
        "p50": quantile(everybody, 0.5),
        "p99": quantile(everybody, 0.99),
        "p99 of others": quantile(others, 0.99),
    }
    faults = {
        "readings came late to the recorders": not is_warm,
        f"dashboard missed {crowd.sent - crowd.arrived}": crowd.arrived != crowd.sent,
        f"dashboard had {crowd.strange} twice": crowd.strange,
        f"{crowd.sent - system.recorded():.0f} not recorded": system.recorded() != crowd.sent,
        f"{crowd.lost} connections lost": crowd.lost,
        f"p99 is above {P99_MAX_MS} ms": latency_ms["p99"] > P99_MAX_MS,
    }
    crowd.close()
    return Point(setup=setup, values=values, latency_ms=latency_ms, faults=[k for k, v in faults.items() if v])


async def warm_up(system: System, crowd: Students) -> bool:
    """Wait until all students have sent some readings and the recorders are up to date; whether they are in time."""
    began_s, setup = time.perf_counter(), system.setup
    while (passed_s := time.perf_counter() - began_s) < WARM_UP_MAX_S:
        sent = crowd.sent
        recorded = await asyncio.to_thread(system.recorded)
        if passed_s >= WARM_UP_S * setup.period_s and sent - recorded <= setup.rate * LATE_S:
            return True
        await asyncio.sleep(0.5)
    return False


def used(first: Mark, last: Mark) -> dict[str, float]:
    """What each part used between two moments, a reading; memory as it is."""
    sent, took_s = last.sent - first.sent, last.at_s - first.at_s
    values = {"cores busy": (last.busy_s - first.busy_s) / took_s, "rate": sent / took_s}
    for part, now in last.usage.items():
        before = first.usage[part]
        values[f"{part} cpu"] = (now["cpu"] - before["cpu"]) / sent
        values[f"{part} memory"] = now["memory"]
        values[f"{part} written"] = (now["written"] - before["written"]) / sent
    each = zip(first.usage["brokers"]["each cpu"], last.usage["brokers"]["each cpu"], strict=True)
    values["busiest broker cpu"] = max(end - begin for begin, end in each) / sent
    return values


def quantile(values: Sequence[float], part: float) -> float | None:
    return sorted(values)[int(len(values) * part)] if values else None


def kept(system: System, sent: int) -> dict[str, float]:
    """Bytes a reading on the disk, in the end: of rows in files without their headers, and of folders as a whole."""
    rows = {"readings.csv": [0, 0], "{Nome}.csv": [0, 0]}
    for folder in system.folder.glob("recordings-*"):
        for kind, pattern in {"readings.csv": "sessions/*/*/readings.csv", "{Nome}.csv": "s*.csv"}.items():
            for file in folder.glob(pattern):
                lines = file.read_bytes().splitlines(keepends=True)[1:]
                rows[kind][0] += sum(map(len, lines))
                rows[kind][1] += len(lines)
    found = {kind: size / max(1, count) for kind, (size, count) in rows.items()}
    found["inbox"] = sum(file.stat().st_size for file in system.folder.glob(f"recordings-*/{INBOX_FILE}*")) / sent
    found["brokers"] = sum(each.stat().st_size for each in system.folder.glob("broker/**/*") if each.is_file()) / sent
    return found


def run(setup: Setup, folder: Path, seconds: int) -> Point:
    folder.mkdir()
    system = System(setup, folder)
    with system.running():
        point = uvloop.run(measure(system, seconds))
    print_point(point)
    return point


def print_point(point: Point) -> None:
    values, latency_ms = point.values, point.latency_ms
    cpu = " ".join(f"{values[f'{part} cpu']:.0f}" for part in ("brokers", "recorders", "gateways", "generator"))
    memory = " ".join(f"{values[f'{part} memory']:.0f}" for part in ("brokers", "recorders", "gateways"))
    latency = " ".join("-" if each is None else f"{each:.1f}" for each in latency_ms.values())
    faults = f"  DOES NOT COUNT: {', '.join(point.faults)}" if point.faults else ""
    print(
        f"{point.setup.words():70} us a reading {cpu}, MB {memory}, ms {latency}, "
        f"{values['cores busy']:.2f} cores busy{faults}",
        flush=True,
    )


def parsed(text: str) -> Setup:
    given = dict(each.split("=") for each in text.split(","))
    types = {"broker": str, "period_s": float, "use": Use}
    return Setup(**{name: types.get(name, int)(value) for name, value in given.items()})


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="four points in two minutes, without a model")
    options.add_argument("--out", type=Path, help="write the points into this JSON file")
    options.add_argument("--point", action="append", default=[], help="measure this point: broker=nats,students=500")
    options.add_argument("--seconds", type=int)
    given = options.parse_args()
    setups = [parsed(text) for text in given.point] or (QUICK if given.quick else POINTS)
    seconds = given.seconds or (QUICK_SECONDS if given.quick else SECONDS)
    allow_many_files()
    logging.getLogger("neuroone").setLevel(logging.ERROR)
    # One folder for all runs: ext4 searches long for an inode beside thousands that were freed a moment ago.
    with tempfile.TemporaryDirectory() as name:
        points = [
            run(setup, Path(name, str(number)), seconds // 2 if setup.use is Use.LIMIT else seconds)
            for number, setup in enumerate(setups)
        ]
    if given.out:
        machine = {"cores": os.cpu_count(), "seconds": seconds}
        given.out.write_text(json.dumps({"machine": machine, "points": [p.as_json() for p in points]}, indent=1) + "\n")
    if not any(point.setup.use is Use.HELD_OUT for point in points):
        return int(any(point.faults for point in points))
    found = [*errors(fit(points), points)]
    for point, quantity, measured, predicted in found:
        compared = f"{measured:10.4g} {predicted:10.4g} {predicted / measured - 1:+.0%}"
        print(f"{point.setup.words():70} {quantity:20} {compared}")
    is_off = any(abs(predicted / measured - 1) > WITHIN for *_, measured, predicted in found)
    return int(is_off or any(point.faults for point in points if point.setup.use is Use.HELD_OUT))


if __name__ == "__main__":
    sys.exit(main())

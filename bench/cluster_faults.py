"""Nothing lost and nothing doubled between phone and file, while parts of a cluster are killed or away.

    python -m bench.cluster_faults [--students 600] [--only node gateway recorder disk cut update] [--times 3]

Three NATS nodes, each in a network namespace of its own, with the configuration of `neuroone cluster` (TLS, logins);
two gateways; two recorders. Half of the students speak the first dialect, and each sends one reading a second to one
of the gateways, as a proxy would choose it; a dashboard at each gateway measures when it hears each reading. Then

- ``node``, ``gateway``, ``recorder``: kill -9 of each one, so many times, and a new start;
- ``disk``: one node's disk is full for 30 s;
- ``cut``: the network of a node is away for 60 s, of one node after the other, so many times in all;
- ``update``: everything is ended in good order and started again, one after the other.

Needs root on Linux (namespaces, a small file system in memory), about 15 minutes. Exit code 1 if a reading of the new
dialect is missing or doubled in the files, or one of the old dialect that was not on its way when its own connection
broke.
"""

import argparse
import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import uvloop

from bench.gateway import HOST, connect, free_port, text_frame
from bench.gateway_faults import NewPhone, OldPhone, Program, recorded
from neuroone import cluster as product
from tests.support.cluster import Cluster
from tests.support.small_disk import small_disk

CALM_S = 12
"""Between two faults: also the time over which figures without faults are taken."""
AWAY_S = 5
"""From the death of a node to its new start: systemd takes 2 s."""
RESTART_S = 2
"""As long as systemd waits before it starts what has ended."""
FULL_S = 30
CUT_S = 60
DISK_MB = 400
SETTLE_S = 120
BROKEN_S = 1.0
"""A reading of the first dialect was on its way if its own connection broke within this time after it was sent."""
NET = "10.91.17"
HUB, BRIDGE = "nchub", "ncbr"


@dataclass
class Fault:
    """What was done, and from when until when it was felt; ``address`` is that of the node which is away."""

    name: str
    began_s: float
    address: str | None = None
    ended_s: float = float("inf")


@dataclass
class Figures:
    """When each reading was sent, and when each dashboard heard it first."""

    sent_s: dict[tuple[int, int], float] = field(default_factory=dict)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class Balanced:
    """A phone that a proxy leads to one of the gateways, and to another one if that does not answer."""

    ports: tuple[int, ...] = ()
    tries = 0
    broke_s = 0.0

    @property
    def port(self):
        self.tries += 1
        return self.ports[(self.number + self.tries) % len(self.ports)]

    @port.setter
    def port(self, port):
        pass


class Old(Balanced, OldPhone):
    """Remembers on which connection each reading went."""

    def __init__(self, number):
        super().__init__(0, number)
        self.went = {}

    def send(self, seq):
        super().send(seq)
        if self.sent and self.sent[-1] == seq:
            self.went[seq] = (self.client, time.monotonic())


class New(Balanced, NewPhone):
    def __init__(self, number):
        super().__init__(0, number)


async def watch(port, figures, end):
    """Be a dashboard at one gateway, and come back when it does."""
    heard = set()

    def hear(text):
        said = json.loads(text)
        if said["type"] != "reading":
            return
        key = int(said["name"][1:]), said["delta"]
        if key not in heard and key in figures.sent_s:
            heard.add(key)
            sent_s = figures.sent_s[key]
            figures.latencies.append((sent_s, time.monotonic() - sent_s))

    while not end.is_set():
        with contextlib.suppress(OSError):
            client = await connect(port, hear, "neuroone.v1")
            client.transport.write(text_frame(json.dumps({"type": "hello", "role": "dashboard"})))
            await client.ended.wait()
        await asyncio.sleep(0.5)


async def note_ends(phone, ends):
    """Write down when each connection of an old phone ended."""
    known = None
    while True:
        client = phone.client
        if client is None or client is known:
            await asyncio.sleep(0.05)
            continue
        known = client
        await client.ended.wait()
        ends[client] = time.monotonic()


async def load(phones, ports, figures, scenario):
    """Send until the scenario is over, and go on until every phone has its acks."""
    end = asyncio.Event()
    ends = {}
    tasks = [asyncio.create_task(phone.stay()) for phone in phones]
    tasks += [asyncio.create_task(watch(port, figures, end)) for port in ports]
    tasks += [asyncio.create_task(note_ends(phone, ends)) for phone in phones if isinstance(phone, Old)]
    while not all(phone.client for phone in phones):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    playing = asyncio.create_task(asyncio.to_thread(scenario))
    began_s, count = time.monotonic(), 0
    while not playing.done():
        due = int((time.monotonic() - began_s) * len(phones)) + 1
        for number in range(count, due):
            phone, seq = phones[number % len(phones)], number // len(phones)
            if phone.client is not None or isinstance(phone, New):
                figures.sent_s[phone.number, seq] = time.monotonic()
            phone.send(seq)
        count = due
        await asyncio.sleep(0.005)
    await playing
    deadline_s = time.monotonic() + SETTLE_S
    while not all(phone.is_done for phone in phones) and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for phone in phones:
        if phone.client is not None:
            phone.client.transport.abort()
    return ends


def ip(*words, check=True):
    subprocess.run(["ip", *words], check=check, stderr=None if check else subprocess.DEVNULL)


@contextlib.contextmanager
def network(count):
    """Make a namespace for each node, and one with a bridge for all; give the nodes' addresses.

    The bridge has a namespace of its own, because Docker lets this machine forward nothing that it does not know.
    """
    undo_network(count)
    ip("netns", "add", HUB)
    ip("-n", HUB, "link", "add", BRIDGE, "type", "bridge")
    ip("-n", HUB, "link", "set", BRIDGE, "up")
    ip("link", "add", "nchere", "type", "veth", "peer", "name", "ncv0", "netns", HUB)
    ip("addr", "add", f"{NET}.254/24", "dev", "nchere")
    ip("link", "set", "nchere", "up")
    ip("-n", HUB, "link", "set", "ncv0", "master", BRIDGE, "up")
    for number in range(1, count + 1):
        name = f"ncnode{number}"
        ip("netns", "add", name)
        ip("-n", HUB, "link", "add", f"ncv{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", HUB, "link", "set", f"ncv{number}", "master", BRIDGE, "up")
        ip("-n", name, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
    try:
        yield [f"{NET}.{number}" for number in range(1, count + 1)]
    finally:
        undo_network(count)


def undo_network(count):
    for number in range(1, count + 1):
        ip("netns", "del", f"ncnode{number}", check=False)
    ip("netns", "del", HUB, check=False)
    ip("link", "del", "nchere", check=False)


class Scene:
    """The faults, one after the other."""

    def __init__(self, given, cluster, disk, gateways, recorders, figures):
        self.given = given
        self.cluster = cluster
        self.small_disk = disk
        self.gateways = gateways
        self.recorders = recorders
        self.figures = figures

    @contextlib.contextmanager
    def fault(self, name, node=None):
        fault = Fault(name, time.monotonic(), node and node.address)
        self.figures.faults.append(fault)
        yield
        self.cluster.wait_until_healthy()
        healthy_s = time.monotonic()
        self.cluster.wait_until_led()
        fault.ended_s = time.monotonic()
        took = f"{healthy_s - fault.began_s:.1f} s until all nodes are healthy, {fault.ended_s - fault.began_s:.1f} s"
        print(f"  {name}: {took} until each leader is at its node", flush=True)
        time.sleep(CALM_S)

    def play(self):
        with self.fault("start"):
            pass
        for name in self.given.only:
            getattr(self, name)()

    def node(self):
        for turn in range(self.given.times):
            for number, node in enumerate(self.cluster.nodes, 1):
                with self.fault(f"node {number} killed, {turn + 1}", node):
                    node.end(signal.SIGKILL)
                    time.sleep(AWAY_S)
                    node.start()

    def gateway(self):
        self._kill("gateway", self.gateways)

    def recorder(self):
        self._kill("recorder", self.recorders)

    def _kill(self, what, programs):
        for turn in range(self.given.times):
            for number, program in enumerate(programs, 1):
                with self.fault(f"{what} {number} killed, {turn + 1}"):
                    program.end(signal.SIGKILL)
                    time.sleep(2)
                    program.start()

    def disk(self):
        node = self.cluster.nodes[1]
        with self.fault("full disk of node 2"):
            self.small_disk.fill()
            time.sleep(FULL_S)
            print(f"  full: {node.ask('/healthz')!r}, process {node.process.poll()}", flush=True)
            self.small_disk.free()
            time.sleep(2)
            if node.process.poll() is not None or not node.is_healthy:
                print("  it is restarted, now that there is room", flush=True)
                node.end(signal.SIGTERM)
                node.start()

    def cut(self):
        for turn in range(self.given.times):
            number = turn % len(self.cluster.nodes) + 1
            node = self.cluster.nodes[number - 1]
            with self.fault(f"cut of node {number}, {turn + 1}", node):
                ip("-n", HUB, "link", "set", f"ncv{number}", "down")
                node.process.wait(CUT_S / 2)
                began_s = self.figures.faults[-1].began_s
                print(f"  its watch has ended it after {time.monotonic() - began_s:.1f} s", flush=True)
                time.sleep(RESTART_S)
                node.start()
                time.sleep(began_s + CUT_S - time.monotonic())
                ip("-n", HUB, "link", "set", f"ncv{number}", "up")

    def update(self):
        for number, node in enumerate(self.cluster.nodes, 1):
            with self.fault(f"update of node {number}"):
                node.end(signal.SIGTERM)
                node.start()
        for what, programs in (("gateway", self.gateways), ("recorder", self.recorders)):
            for number, program in enumerate(programs, 1):
                with self.fault(f"update of {what} {number}"):
                    program.end(signal.SIGTERM)
                    program.start()


def percentile(values, part):
    values = sorted(values)
    return values[min(int(len(values) * part), len(values) - 1)] if values else float("nan")


def outages(log, fault):
    """Seconds from each loss of the broker during a fault to the next connection, by a service's log.

    If it was connected to a node that is away, the first one began with the fault.
    """
    to_wall_s = time.time() - time.monotonic()
    began_s, ended_s = fault.began_s + to_wall_s, fault.ended_s + CALM_S + to_wall_s
    lost_s, found, at = None, [], None
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if not (stamp := re.match(r"(\d{4}-\S+Z) ", line)):
            continue
        now_s = datetime.fromisoformat(stamp[1]).timestamp()
        if now_s > ended_s:
            break
        if "no broker at" in line and lost_s is None:
            lost_s = began_s if not found and at and at == fault.address and now_s >= began_s else now_s
        elif connected := re.search(r"connected to the broker at mqtts://([\d.]+):", line):
            if lost_s is not None and now_s >= began_s:
                found.append(now_s - lost_s)
            lost_s, at = None, connected[1]
    return found


def run(given, folder):
    data = [folder / "data" / str(number) for number in range(given.recorders)]
    ports = [free_port() for _ in range(2)]
    figures = Figures()
    with contextlib.ExitStack() as stack:
        addresses = stack.enter_context(network(3))
        disk = stack.enter_context(small_disk(folder / "disk", DISK_MB))

        def store_of(address):
            return disk.folder / "store" if address == addresses[1] else folder / f"store-{address}"

        cluster = Cluster(
            folder / "cluster",
            addresses,
            prefix_of=lambda address: ["ip", "netns", "exec", f"ncnode{address[-1]}"],
            store_of=store_of,
            is_watched=True,
        )
        stack.enter_context(cluster)
        python = [sys.executable, "-m"]
        programs = []

        def program(name, words):
            place = folder / name
            place.mkdir()
            made = Program([*python, *words], place)
            programs.append(made)
            stack.callback(made.end, signal.SIGTERM)
            return made

        recorders = [
            program(
                f"recorder-{number}",
                ["csv_recorder", "run", "--dir", str(place)]
                + cluster.broker("csv_recorder")
                + (["--shard", f"{number + 1}/{given.recorders}"] if given.recorders > 1 else []),
            )
            for number, place in enumerate(data)
        ]
        gateways = [
            program(
                f"gateway-{number}",
                f"ws_gateway --host {HOST} --ws-port {port} --instance bench-{number}".split()
                + cluster.broker("ws_gateway"),
            )
            for number, port in enumerate(ports)
        ]
        Balanced.ports = tuple(ports)
        phones = [(Old, New)[number % 2](number) for number in range(given.students)]
        scene = Scene(given, cluster, disk, gateways, recorders, figures)
        ends = uvloop.run(load(phones, ports, figures, scene.play))
        deadline_s = time.monotonic() + SETTLE_S
        while count(data, phones, ends)[0] and time.monotonic() < deadline_s:
            time.sleep(2)
        logs = [each.folder / "log" for each in programs]
        if given.log:
            for each in (*logs, *(node.log_file for node in cluster.nodes)):
                (given.log / f"{each.parent.name}.log").write_bytes(each.read_bytes())
        took = {(fault.name, each.parent.name): outages(each, fault) for fault in figures.faults for each in logs}
    explain(phones, figures, data, ends)
    return report(phones, figures, count(data, phones, ends), took)


def explain(phones, figures, data, ends):
    """Print when the missing readings of the first dialect were sent, and how long before their connection broke."""
    found = {}
    for phone in phones:
        if isinstance(phone, Old):
            for seq in set(phone.sent) - {seq for place in data for seq in recorded(place, phone.number)}:
                client, at_s = phone.went[seq]
                during = [each.name for each in figures.faults if each.began_s - 1 <= at_s <= each.ended_s + CALM_S]
                found.setdefault((during or ["no fault"])[0], []).append(ends.get(client, float("inf")) - at_s)
    for name, ages_s in found.items():
        ages = f"{min(ages_s):.2f} to {max(ages_s):.2f} s before its connection broke"
        print(f"  {name}: {len(ages_s)} of the old dialect missing, sent {ages}")


def count(data, phones, ends):
    """Readings of the new dialect that are missing and doubled; of the old one missing, missing in between, doubled."""
    new_missing = new_doubled = old_missing = old_broken = old_doubled = 0
    for phone in phones:
        seqs = [seq for place in data for seq in recorded(place, phone.number)]
        missing, doubled = set(phone.sent) - set(seqs), len(seqs) - len(set(seqs))
        if isinstance(phone, New):
            new_missing += len(missing)
            new_doubled += doubled
            continue
        old_doubled += doubled
        for seq in missing:
            client, at_s = phone.went[seq]
            if ends.get(client, float("inf")) - at_s < BROKEN_S:
                old_broken += 1
            else:
                old_missing += 1
    return new_missing, new_doubled, old_missing, old_broken, old_doubled


def report(phones, figures, counts, took):
    new_missing, new_doubled, old_missing, old_broken, old_doubled = counts
    sent = {kind: sum(len(phone.sent) for phone in phones if isinstance(phone, kind)) for kind in (Old, New)}
    unacked = sum(not phone.is_done for phone in phones)

    def of(*names, until_s=0.0):
        spans = [(each.began_s - 1, each.ended_s + until_s) for each in figures.faults if each.name.startswith(names)]
        return [took_s for at_s, took_s in figures.latencies if any(a <= at_s <= b for a, b in spans)]

    outside = [
        took_s
        for at_s, took_s in figures.latencies
        if not any(each.began_s - 1 <= at_s <= each.ended_s + 4 for each in figures.faults)
    ]
    print(f"new dialect: {sent[New]} sent, {new_missing} missing, {new_doubled} doubled, {unacked} without last ack")
    print(
        f"old dialect: {sent[Old]} sent, {old_missing} missing, {old_broken} missing that were on their way when their"
        f" own connection broke, {old_doubled} doubled"
    )
    print(
        f"without faults: p50 {1000 * percentile(outside, 0.5):.1f} ms, p99 {1000 * percentile(outside, 0.99):.1f} ms"
    )
    for kind in dict.fromkeys(re.sub(r" \d.*", "", each.name) for each in figures.faults):
        felt = of(kind, until_s=4.0)
        print(
            f"through {kind}: p50 {percentile(felt, 0.5):.3f} s, p99 {percentile(felt, 0.99):.2f} s, "
            f"longest {max(felt, default=0):.2f} s"
        )
    for (fault, service), times in took.items():
        if times:
            print(f"{fault}: {service} without a broker for {', '.join(f'{each:.1f}' for each in times)} s")
    print(f"longest without a broker: {max((each for times in took.values() for each in times), default=0):.1f} s")
    return 1 if new_missing or new_doubled or old_missing or old_doubled or unacked else 0


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("node", "gateway", "recorder", "disk", "cut", "update")
    options.add_argument("--only", nargs="+", choices=names, default=names)
    options.add_argument("--students", type=int, default=600)
    options.add_argument("--recorders", type=int, default=2)
    options.add_argument("--times", type=int, default=3)
    options.add_argument("--log", type=Path, help="folder for what the programs said")
    options.add_argument("--conf", nargs="*", default=[], metavar="A=>B", help="other settings of NATS, to compare")
    given = options.parse_args()
    for each in given.conf:
        old, _, new = each.partition("=>")
        assert old in product._CONF, old  # noqa: SLF001
        product._CONF = product._CONF.replace(old, new)  # noqa: SLF001
    with tempfile.TemporaryDirectory() as name:
        sys.exit(run(given, Path(name)))


if __name__ == "__main__":
    main()

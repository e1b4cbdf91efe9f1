"""Three real NATS nodes with the files of `neuroone cluster`, two gateways and two recorders on them."""

import asyncio
import contextlib
import importlib.util
import json
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from neuroone import cluster as made
from neuroone.contract import topics
from neuroone.contract.messages import BANDS, Reading
from neuroone.mqtt.address import BrokerAddress, BrokerAddresses
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, free_port
from tests.support.bus_listener import Listener, identity
from tests.support.cluster import Cluster, Node
from tests.support.messages import reading
from tests.support.small_disk import small_disk
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="each node has an address of its own on this machine"),
]
ROOT = Path(__file__).parents[2]
STUDENTS = 4
DISK_MB = 60
PERIOD_S = 0.25
"""The gateway takes up to five readings a second of a student."""
AGAIN_S = 0.3
WITHIN_S = 60.0
"""NATS elects leaders for 4 to 9 s, and again if that fails."""


class Student:
    """A student of the new dialect, who keeps each reading until it is acknowledged, and goes to any gateway."""

    def __init__(self, number: int, ports: list[int]) -> None:
        self.name = f"s{number}"
        self.sent = 0
        self.kept: dict[int, str] = {}
        self._ports = ports

    async def attend(self, end: threading.Event, pause: threading.Event) -> None:
        sending = asyncio.create_task(self._send(end, pause))
        while not end.is_set():
            with contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                url = f"ws://{LOOPBACK}:{random.choice(self._ports)}/"
                async with connect(url, subprotocols=[Subprotocol("neuroone.v1")], proxy=None) as self._connection:
                    hello = {
                        "type": "hello",
                        "role": "student",
                        "name": self.name,
                        "code": "C",
                        "session": f"session-{self.name}",
                    }
                    await self._connection.send(json.dumps(hello))
                    for each in tuple(self.kept.values()):
                        await self._connection.send(each)
                    await self._hear(end)
            await asyncio.sleep(AGAIN_S)
        await sending

    async def _hear(self, end: threading.Event) -> None:
        while not end.is_set():
            with contextlib.suppress(TimeoutError):
                said = json.loads(await asyncio.wait_for(self._connection.recv(), 0.5))
                if said["type"] == "ack" and said["stage"] == "broker":
                    self.kept = {seq: text for seq, text in self.kept.items() if seq > said["seq"]}

    async def _send(self, end: threading.Event, pause: threading.Event) -> None:
        while not end.is_set():
            await asyncio.sleep(PERIOD_S)
            if pause.is_set():
                continue
            values = {"attention": 50, "meditation": 50, **dict.fromkeys(BANDS, 0), "delta": self.sent}
            text = self.kept[self.sent] = json.dumps({"type": "reading", "seq": self.sent, **values})
            self.sent += 1
            with contextlib.suppress(AttributeError, OSError, ConnectionClosed):
                await self._connection.send(text)

    @property
    def acked(self) -> int:
        return self.sent - len(self.kept)


class Program:
    """A service that is ended and started again."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._command = [sys.executable, "-m", *words]
        self.log_file = folder / f"{words[0]}-{free_port()}.log"
        self.start()

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.popen = subprocess.Popen(self._command, stdout=log, stderr=log)

    def end(self) -> None:
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(WITHIN_S)

    def connects(self) -> int:
        return self.log_file.read_text(encoding="utf-8").count("connected to the broker at")


class World:
    """The cluster, its services, and students who send all the time, but while they ``pause``."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self.folders = [folder / "1", folder / "2"]
        ports = [free_port(), free_port()]
        self.recorders = [
            Program(folder, "csv_recorder", "run", "--dir", str(each), "--shard", f"{number}/2", *broker)
            for broker in [cluster.broker("csv_recorder")]
            for number, each in enumerate(self.folders, 1)
        ]
        self.gateways = [
            Program(folder, "ws_gateway", "--host", LOOPBACK, "--ws-port", str(port), "--instance", f"g{port}", *broker)
            for broker in [cluster.broker("ws_gateway")]
            for port in ports
        ]
        self.students = [Student(number, ports) for number in range(STUDENTS)]
        self.pause, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._attend()))
        self._thread.start()

    async def _attend(self) -> None:
        await asyncio.gather(*(each.attend(self._end, self.pause) for each in self.students))

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        for each in (*self.gateways, *self.recorders):
            each.end()
            log = each.log_file.read_text(encoding="utf-8")
            print(each.log_file.name, log[-3000:], sep="\n")
            assert "Traceback" not in log

    def wait_for_acks(self) -> None:
        """Wait until every student's readings of this moment, and some more, are at the broker."""
        goals = [each.sent + 3 for each in self.students]
        wait_for(lambda: all(s.acked >= goal for s, goal in zip(self.students, goals, strict=True)), "acks", WITHIN_S)

    def rows(self, student: Student) -> list[int]:
        files = [each / f"{student.name}.csv" for each in self.folders]
        lines = [line for each in files if each.exists() for line in each.read_text("utf-8").splitlines()[1:]]
        return [int(line.split(",")[2]) for line in lines]

    def check(self) -> None:
        """Check that every reading is in one file, once."""
        self.pause.set()
        wait_for(lambda: not any(each.kept for each in self.students), "last acks", WITHIN_S)
        for each in self.students:
            wait_for(lambda each=each: len(self.rows(each)) >= each.sent, f"rows of {each.name}", WITHIN_S)  # type: ignore[misc]
            assert sorted(self.rows(each)) == list(range(each.sent))
        self.pause.clear()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), is_watched=True) as cluster:
        yield cluster


@contextlib.contextmanager
def client(cluster: Cluster, login: BrokerAddresses, service: str, **options: Any) -> Iterator[ThreadedClient]:
    client = ThreadedClient(login, identity(service), ca_file=cluster.folder / made.AUTHORITY, **options)
    client.start()
    try:
        yield client
    finally:
        client.close()


def login(cluster: Cluster, name: str) -> BrokerAddresses:
    return BrokerAddresses.parse(f"file:{cluster.folder / f'{name}.url'}")


def test_each_login_may_do_what_it_may_on_mosquitto(cluster: Cluster) -> None:
    """Who only reads is heard by nobody, whatever node it uses; and nobody gets in with a wrong password."""
    listener = Listener()
    every = {"neuroone/v1/local/streams/#": 1}
    with (
        client(
            cluster, login(cluster, "doctor"), "d", subscriptions=every, on_delivery=listener.deliveries.append
        ) as d,
        client(cluster, login(cluster, "reader"), "r") as reader,
        client(cluster, login(cluster, "ws_gateway"), "ws_gateway") as gateway,
    ):
        wait_for(lambda: d.is_connected and reader.is_connected and gateway.is_connected, "connections")

        def is_heard(source: str, seq: int) -> bool:
            gateway.publish(topics.reading("local", "C", source), reading(seq=seq))
            return any(message.seq == seq for _, message in listener.of(Reading))

        wait_for(lambda: is_heard("right", 0), "a reading: NATS may refuse the first subscription while it begins")
        reader.publish(topics.reading("local", "C", "forged"), reading(seq=1))
        wait_for(lambda: not reader.waiting, "answer to the forged reading")
        wait_for(lambda: is_heard("right", 2), "a later reading")
        assert {topic["source"] for topic, _ in listener.of(Reading)} == {"right"}
    wrong = [BrokerAddress(each.host, each.port, True, each.user, "wrong") for each in login(cluster, "ws_gateway")]
    with client(cluster, BrokerAddresses(wrong), "ws_gateway") as stranger:
        wait_for(lambda: stranger.fault is not None, "refusal")
        assert not stranger.is_connected


def test_nothing_goes_without_tls_and_no_stranger_becomes_a_node(cluster: Cluster) -> None:
    node = cluster.nodes[0].address
    assert not brokers.answers(BrokerAddress(node, made.MQTT_PORT))
    trusting = ssl.create_default_context(cafile=cluster.folder / made.AUTHORITY)
    assert not greeted_as_a_node(node, trusting)
    trusting.load_cert_chain(cluster.folder / "nodes" / node / made.SERVER)
    assert greeted_as_a_node(node, trusting)
    with pytest.raises(ssl.SSLCertVerificationError):
        served(node, ssl.create_default_context())


def greeted_as_a_node(node: str, context: ssl.SSLContext) -> bool:
    """Return True if a node says the first word to another one that shows the certificate of the context."""
    with contextlib.suppress(OSError), socket.create_connection((node, made.ROUTE_PORT), 5) as plain:
        with context.wrap_socket(plain, server_hostname=node) as secure:
            return secure.recv(4) == b"INFO"
    return False


def served(node: str, context: ssl.SSLContext) -> bytes | None:
    """Return the certificate that a node shows."""
    with (
        socket.create_connection((node, made.MQTT_PORT), 5) as plain,
        context.wrap_socket(plain, server_hostname=node) as secure,
    ):
        return secure.getpeercert(binary_form=True)


def test_a_renewed_certificate_is_shown_after_a_reload_and_nobody_is_disconnected(cluster: Cluster) -> None:
    trusting = ssl.create_default_context(cafile=cluster.folder / made.AUTHORITY)
    addresses = [each.address for each in cluster.nodes]
    with client(cluster, login(cluster, "ws_gateway"), "ws_gateway") as gateway:
        wait_for(lambda: gateway.is_connected, "connection")
        before = served(addresses[0], trusting)
        (cluster.folder / "authority/server.pem").unlink()
        made.make(cluster.folder, addresses, 1, {})
        for each in cluster.nodes:
            assert each.process is not None
            each.process.send_signal(signal.SIGHUP)
        for address in addresses:
            wait_for(lambda address=address: served(address, trusting) != before, f"new one of {address}")  # type: ignore[misc]
        gateway.publish(topics.reading("local", "C", "after"), reading())
        wait_for(lambda: not gateway.waiting, "ack")
        assert gateway.counters["connects"] == 1
    cluster.wait_until_healthy()


def test_the_last_node_leads_the_sessions_and_its_death_disconnects_nobody(cluster: Cluster) -> None:
    with client(cluster, login(cluster, "ws_gateway"), "ws_gateway") as gateway:
        wait_for(lambda: gateway.is_connected, "connection")
        cluster.wait_until_led()
        cluster.nodes[-1].end(signal.SIGKILL)
        wait_for(lambda: "$MQTT_sess" in cluster.leaders(), "another leader", WITHIN_S)
        gateway.publish(topics.reading("local", "C", "meanwhile"), reading())
        wait_for(lambda: not gateway.waiting, "ack", WITHIN_S)
        assert gateway.counters["connects"] == 1
        cluster.nodes[-1].start()
        cluster.wait_until_led()
    cluster.wait_until_healthy()


@pytest.fixture(scope="module")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("services"), cluster)
    try:
        world.wait_for_acks()
        yield world
    finally:
        world.close()


def node_of(cluster: Cluster, user: str) -> Node:
    """Return a node that has connections of this login."""
    return next(each for each in cluster.nodes if f'"{user}"' in (each.ask("/connz?auth=1") or ""))


def test_a_killed_node_loses_nothing(world: World) -> None:
    node = node_of(world.cluster, "ws_gateway")
    node.end(signal.SIGKILL)
    world.wait_for_acks()
    node.start()
    world.cluster.wait_until_healthy()
    world.check()


def test_a_rolling_update_of_every_part_loses_nothing(world: World) -> None:
    for node in world.cluster.nodes:
        node.end(signal.SIGTERM)
        node.start()
        world.cluster.wait_until_healthy()
    for program in (*world.gateways, *world.recorders):
        connects = program.connects()
        program.end()
        program.start()
        wait_for(lambda program=program, connects=connects: program.connects() > connects, "connection", WITHIN_S)  # type: ignore[misc]
        world.wait_for_acks()
    world.check()


@pytest.fixture
def health_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return deploy/cluster/healthcheck.py with the patience of a test."""
    monkeypatch.syspath_prepend(str(ROOT / "deploy/cluster"))
    spec = importlib.util.spec_from_file_location("healthcheck", ROOT / "deploy/cluster/healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DISABLED_MAX", 2)
    monkeypatch.setattr(module, "DISABLED_FILE", tmp_path / "disabled")
    return module


def test_a_full_disk_of_one_node_holds_up_nobody_and_ends_with_a_new_start(tmp_path: Path, health_check: Any) -> None:
    """What restarts it is here the test; it does not start until there is room."""
    with small_disk(tmp_path / "disk", DISK_MB) as disk:

        def store_of(address: str) -> Path:
            return disk.folder / "store" if address.endswith(".2") else tmp_path / address

        with (
            Cluster(tmp_path / "c", store_of=store_of) as cluster,
            client(cluster, login(cluster, "ws_gateway"), "ws_gateway") as gateway,
        ):
            wait_for(lambda: gateway.is_connected, "connection")  # the first one needs all nodes
            cluster.wait_until_healthy()
            node = cluster.nodes[1]
            assert node.process is not None
            pid_file = tmp_path / "pid"
            pid_file.write_text(str(node.process.pid), encoding="ascii")
            health_check.MONITOR = f"{node.monitor}/healthz"
            assert health_check.check(pid_file) == 0
            disk.fill()

            def is_disabled() -> bool:
                gateway.publish(topics.reading("local", "C", "s"), reading())
                return bool(health_check.status(f"{health_check.MONITOR}?js-enabled-only=true") == 503)

            wait_for(is_disabled, "a node that keeps nothing", WITHIN_S)
            wait_for(lambda: not gateway.waiting, "acks of the others", WITHIN_S)
            assert health_check.check(pid_file) == 1
            assert node.process.poll() is None
            assert health_check.check(pid_file) == 1
            node.process.wait(WITHIN_S)
            node.start()
            assert node.process.wait(WITHIN_S), "it does not start on a full disk"
            disk.free()
            node.start()
            cluster.wait_until_healthy()
            assert health_check.check(pid_file) == 0

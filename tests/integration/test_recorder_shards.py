"""Recorders that share the work: each stream is recorded once, by its own one, whatever happens to the others."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from neuroone.contract import topics
from neuroone.contract.files import seq_of
from neuroone.contract.messages import Recorded, ServiceState, ServiceStatus
from neuroone.contract.shards import Shard, shard_from
from neuroone.mqtt.packets import Connect, Disconnect
from tests.support.brokers import Broker
from tests.support.classroom import SimulatedClass, SimulatedStudent
from tests.support.gateways import GatewayProgram, Peer
from tests.support.messages import GOLDEN
from tests.support.recorder_process import RecorderProcess
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
STUDENTS = 12
PERIOD_S = 0.25
WITHIN_S = 30.0


@contextlib.contextmanager
def recorder(broker: Broker, parent: Path, number: int, *words: str) -> Iterator[RecorderProcess]:
    """Run a recorder with a directory and a log of its own."""
    with RecorderProcess(broker.url, parent / f"shard-{number}", *words, log=parent / f"{number}.log") as program:
        yield program


def wait_for_shards(peer: Peer, *shards: str) -> None:
    """Wait until exactly these recorders are online, as their last states say."""

    def online() -> list[str]:
        last = {
            topic["instance"]: message
            for topic, message in list(peer.heard)
            if isinstance(message, ServiceState) and topic["service"] == "csv_recorder"
        }
        there = [each for each in last.values() if each.status is ServiceStatus.ONLINE]
        return sorted(str(shard_from(each.shard, each.shards)) for each in there)

    wait_for(lambda: online() == list(shards), f"recorders {', '.join(shards)}", WITHIN_S)


def a_class(prefix: str) -> list[SimulatedStudent]:
    """Make students of both dialects, in two groups."""
    return [
        SimulatedStudent(f"{prefix}{number}", f"T{number % 2}", is_old=number < STUDENTS // 2)
        for number in range(STUDENTS)
    ]


def rows(parent: Path) -> dict[str, dict[str, list[int]]]:
    """Return the seqs on disk by the number of the shard's directory and by student."""
    found: dict[str, dict[str, list[int]]] = {}
    for path in sorted(parent.glob("shard-*/sessions/*/*/readings.csv")):
        seqs = [*map(seq_of, path.read_bytes().rpartition(b"\n")[0].splitlines()[1:])]
        student = path.parent.name.rpartition("_")[2]
        found.setdefault(path.parts[len(parent.parts)][-1], {}).setdefault(student, []).extend(seqs)
    return found


def of_students(found: dict[str, dict[str, list[int]]]) -> dict[str, list[int]]:
    """Return the seqs of each student over all directories, in order."""
    together: dict[str, list[int]] = {}
    for students in found.values():
        for student, seqs in students.items():
            together[student] = sorted(together.get(student, []) + seqs)
    return together


def sent_by(*classes: list[SimulatedStudent]) -> dict[str, list[int]]:
    return {str(each.name): [*range(each.sent)] for students in classes for each in students}


def has_session(broker: Broker, instance: str) -> bool:
    """Return whether the broker keeps messages for a recorder that is away."""
    with socket.create_connection(("127.0.0.1", broker.port)) as connection:
        client = f"neuroone-local-csv_recorder-{instance}"
        connection.sendall(Connect(client_id=client, keep_alive_s=10, clean_start=False).encode(False))
        answer = connection.recv(4)
        connection.sendall(Disconnect().encode(False))
        while connection.recv(4096):
            pass
    return bool(answer[2])


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "csv_recorder", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def link_of(gateway: GatewayProgram, **hello: object) -> dict[str, object]:
    """Return what a gateway says to a client of the new dialect about its recorder."""
    async with connect(gateway.url, subprotocols=[Subprotocol("neuroone.v1")], proxy=None) as client:
        await client.send(json.dumps({"type": "hello", **hello}))
        while (frame := json.loads(await client.recv()))["type"] != "link":
            pass
        return dict(frame)


async def links_of(gateway: GatewayProgram, of: int) -> list[object]:
    """Return whether a gateway says to a student of each shard that a recorder is there, and what to a dashboard."""
    said = []
    for number in range(1, of + 1):
        name = next(each for each in map("phone{}".format, range(1000)) if Shard(number, of).includes("P", each))
        said.append((await link_of(gateway, role="student", name=name, code="P"))["recorder"])
    dashboard = await link_of(gateway, role="dashboard")
    return [*said, dashboard["recorder"], dashboard.get("missing")]


def readyz(gateway: GatewayProgram) -> str:
    with urlopen(gateway.url.replace("ws", "http", 1) + "/readyz") as answer:
        return str(answer.read().decode())


def test_each_row_stands_once_with_its_recorder_while_one_is_killed(
    broker: Broker, peer: Peer, gateways: list[GatewayProgram], tmp_path: Path
) -> None:
    """One is killed and comes back: nothing is lost, and those whose recorder lives are told so."""
    first, second = a_class("a"), a_class("b")
    with contextlib.ExitStack() as running:
        killed = running.enter_context(recorder(broker, tmp_path, 1, "--shard", "1/2"))
        running.enter_context(recorder(broker, tmp_path, 2, "--shard", "2/2"))
        wait_for_shards(peer, "1/2", "2/2")
        twin = running.enter_context(RecorderProcess(broker.url, tmp_path / "twin", "--shard", "2/2"))
        log = tmp_path / "all.log"
        of_all = running.enter_context(RecorderProcess(broker.url, tmp_path / "all", log=log))
        assert of_all.process.wait(WITHIN_S) == 1
        assert "records 1/2, this one all streams" in log.read_text() or "records 2/2, this one" in log.read_text()
        with contextlib.ExitStack() as lesson:
            for gateway, students in zip(gateways, (first, second), strict=True):
                lesson.enter_context(SimulatedClass(gateway.url, students, PERIOD_S))
            wait_for(lambda: len(of_students(rows(tmp_path))) == 2 * STUDENTS, "rows of every student")
            killed.kill()
            wait_for_shards(peer, "2/2")
            wait_for(lambda: "no recorder of 1/2" in readyz(gateways[0]), "word of the missing recorder")
            assert asyncio.run(links_of(gateways[1], 2)) == [False, True, False, ["1/2"]]
            before = rows(tmp_path)["2"]
            wait_for(lambda: all(len(seqs) > len(before[each]) for each, seqs in rows(tmp_path)["2"].items()), "more")
            running.enter_context(recorder(broker, tmp_path, 1, "--shard", "1/2"))
            wait_for_shards(peer, "1/2", "2/2")
            assert asyncio.run(links_of(gateways[1], 2)) == [True, True, True, None]
        wait_for(lambda: of_students(rows(tmp_path)) == sent_by(first, second), "every row once", WITHIN_S)
        codes = {str(each.name): str(each.code) for each in (*first, *second)}
        for number, recorded in rows(tmp_path).items():
            assert all(Shard(int(number), 2).includes(codes[each], each) for each in recorded)

        def shards_of_receipts() -> set[object]:
            receipts = (message for _, message in list(peer.heard) if isinstance(message, Recorded))
            return {(each.shard, each.shards) for each in receipts}

        wait_for(lambda: shards_of_receipts() == {(1, 2), (2, 2)}, "receipts that say the shard")
        assert twin.process.wait(WITHIN_S) == 1
    assert "all in order" in run("verify", str(tmp_path)).stdout


def test_a_recorder_of_a_version_before_shards_is_said_to_be_there(broker: Broker, peer: Peer, tmp_path: Path) -> None:
    """Everything would stand twice, and it says nothing about that itself; the doctor and /readyz show what we say."""
    old = ServiceState(status=ServiceStatus.ONLINE, version="0.1.0", epoch=1, connection=1)
    peer.bus.publish(topics.service_state("local", "csv_recorder", "old"), old)
    with recorder(broker, tmp_path, 1, "--shard", "1/2"):

        def faults() -> list[str]:
            peer.bus.publish(topics.health("local", "csv_recorder", "old"), GOLDEN["health"])
            states = [said for topic, said in list(peer.heard) if topic.ids == ("csv_recorder", "shard-1")]
            return [str(said.fault) for said in states if isinstance(said, ServiceState) and said.fault]

        wait_for(faults, "word of the other one", 10.0)  # before the state is published once more, as ours are
        assert "the recorder old records all streams, this one 1/2" in faults()[0]
    assert "the recorder old records all streams" in (tmp_path / "1.log").read_text()


async def send_session(gateway: GatewayProgram, name: str, session: str, seqs: range) -> str:
    """Send readings of a student, who then stays away; return the source."""
    student = SimulatedStudent(name)
    async with connect(gateway.url, subprotocols=[Subprotocol("neuroone.v1")], proxy=None) as client:
        hello = {"type": "hello", "role": "student", "name": name, "code": "T", "session": session}
        await client.send(json.dumps(hello))
        while (welcome := json.loads(await client.recv()))["type"] != "welcome":
            pass
        for seq in seqs:
            await client.send(json.dumps({**student.reading(), "seq": seq}))
        while (ack := json.loads(await client.recv())).get("seq") != seqs[-1] or ack["type"] != "ack":
            pass
        return str(welcome["source"])


def test_a_session_that_goes_on_under_another_source_stands_once(
    broker: Broker, peer: Peer, gateways: list[GatewayProgram], tmp_path: Path
) -> None:
    """Its gateway dies, and at the next one a namesake has its source: what its app sends again was recorded before."""
    names = ["Ana", "Bia", "Caio", "Davi", "Eva", "Rui"]
    sessions = {name: uuid.uuid4().hex for name in names}
    with contextlib.ExitStack() as running:
        for number in (1, 2):
            running.enter_context(recorder(broker, tmp_path, number, "--shard", f"{number}/2"))
        wait_for_shards(peer, "1/2", "2/2")

        def send(gateway: GatewayProgram, seqs: range) -> list[str]:
            async def of_all() -> list[str]:
                return [await send_session(gateway, *each, seqs) for each in sessions.items()]

            return asyncio.run(of_all())

        assert send(gateways[0], range(3)) == names
        gateways[0].end(signal.SIGKILL)
        with contextlib.ExitStack() as namesakes:
            theirs = [SimulatedStudent(name, "T", is_old=True) for name in names]
            namesakes.enter_context(SimulatedClass(gateways[1].url, theirs, PERIOD_S))
            wait_for(lambda: all(each.sent for each in theirs), "namesakes")
            assert send(gateways[1], range(4)) == [f"{name}-2" for name in names]

        def recorded() -> list[tuple[str, str]]:
            files = tmp_path.glob("shard-*/sessions/*/*/readings.csv")
            lines = (line.split(",") for file in files for line in file.read_text().splitlines()[1:])
            return sorted((cells[1], cells[2]) for cells in lines if cells[1] in sessions.values())

        once = sorted((session, str(seq)) for session in sessions.values() for seq in range(4))
        wait_for(lambda: set(recorded()) >= set(once), "every row", WITHIN_S)
        assert recorded() == once


def test_another_number_of_recorders_loses_and_doubles_nothing(
    broker: Broker, peer: Peer, gateways: list[GatewayProgram], tmp_path: Path
) -> None:
    """From two to three, which are killed, and to two again, while the class goes on."""
    first, second = a_class("a"), a_class("b")
    folders = [str(tmp_path / f"shard-{number}") for number in (1, 2, 3)]

    def start(*shards: str) -> list[RecorderProcess]:
        started = [running.enter_context(recorder(broker, tmp_path, int(each[0]), "--shard", each)) for each in shards]
        wait_for_shards(peer, *shards)
        return started

    def wait_for_more() -> None:
        before = of_students(rows(tmp_path))
        wait_for(
            lambda: (
                all(len(seqs) > len(before.get(each, ())) for each, seqs in of_students(rows(tmp_path)).items())
                and len(before) == 2 * STUDENTS
            ),
            "more rows of every student",
        )

    with contextlib.ExitStack() as running:
        with contextlib.ExitStack() as lesson:
            two = start("1/2", "2/2")
            for gateway, students in zip(gateways, (first, second), strict=True):
                lesson.enter_context(SimulatedClass(gateway.url, students, PERIOD_S))
            wait_for(lambda: len(of_students(rows(tmp_path))) == 2 * STUDENTS, "rows of every student")
            assert [each.stop() for each in two] == [0, 0]
            assert "is of shard 1/2, and --shard is 1/3" in run("run", "--dir", folders[0], "--shard", "1/3").stderr
            assert "shard 2/2 is missing" in run("reshard", "--shards", "1", folders[0]).stderr
            done = run("reshard", "--shards", "3", *folders)
            assert done.returncode == 0, done.stderr
            three = start("1/3", "2/3", "3/3")
            wait_for_more()
            for each in three:
                each.kill()
            wait_for_shards(peer)
            assert has_session(broker, "shard-3")
            died_with_the_broker = ServiceState(
                status=ServiceStatus.ONLINE, version="1", epoch=1, connection=1, shard=3, shards=3
            )
            peer.bus.publish(topics.service_state("local", "csv_recorder", "shard-3"), died_with_the_broker)
            wait_for_shards(peer, "3/3")
            done = run("reshard", "--shards", "2", *folders, "--broker", broker.url)
            assert not has_session(broker, "shard-3")
            assert has_session(broker, "shard-1")
            wait_for_shards(peer)
            assert f"{folders[2]}: records no more" in done.stdout, done.stderr
            start("1/2", "2/2")
            wait_for_more()
        wait_for(lambda: of_students(rows(tmp_path)) == sent_by(first, second), "every row once", WITHIN_S)
        assert len(rows(tmp_path)) == 3
    assert "all in order" in run("verify", str(tmp_path)).stdout
    assert "records no more" in run("run", "--dir", folders[2], "--shard", "2/2").stderr

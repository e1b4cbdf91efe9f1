"""Kill the recorder, the broker and both under load: is every reading on disk once, and no mark ahead of the disk?

    python -m bench.kills [--students N] [--broker mosquitto|nats]

A publisher with a replay buffer, as bridge and gateway have it, sends N readings a second (one per student). Meanwhile

1. the recorder is killed 20 times, each time right after a mark; before it starts again, what is on the disk is
   compared with every mark that was ever heard;
2. the broker is killed 5 times and started again;
3. both are killed at once 5 times.

With ``--only backlog`` the recorder is killed and stays away for longer than the publisher keeps readings, and
Mosquitto is killed right before it would have saved the backlog.

Exit code 1 if a row is lost, doubled, torn or out of its order, or a mark was ahead.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from csv_recorder.live.recorder import Recorder
from neuroone.contract import topics
from neuroone.contract.errors import ContractError
from neuroone.contract.files import STUDENT_HEADER, student_row
from neuroone.contract.messages import Reading, Recorded, ServiceState, ServiceStatus
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up.brokers import AUTOSAVE_S, MOSQUITTO_STATE
from tests.support.brokers import Broker
from tests.support.bus_listener import identity
from tests.support.messages import reading
from tests.support.waiting import wait_for

TIMEOUT_S = 120.0
RECORDER_KILLS = 20
BROKER_KILLS = 5
BACKLOG_S = 150.0
"""Longer than KEPT_MAX_S of the replay buffer."""


def reading_of(student: int, seq: int) -> Reading:
    """A reading whose row tells which it is."""
    return reading(name=f"Aluno {student}", session=f"session-{student}", seq=seq, delta=seq, theta=student)


@dataclass
class Marks:
    """The newest mark of every student, and how many recorders have said that they are there."""

    seqs: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    births: int = 0

    def take(self, delivery: Delivery) -> None:
        with contextlib.suppress(ContractError):
            _, message = delivery.open()
            if isinstance(message, Recorded):
                self.messages += 1
                for each in message.streams:
                    first_missing = each.missing[0].first if each.missing else each.seq + 1
                    self.seqs[each.source] = max(self.seqs.get(each.source, -1), min(each.seq, first_missing - 1))
            elif isinstance(message, ServiceState) and message.status is ServiceStatus.ONLINE:
                self.births += 1


class Load(threading.Thread):
    """One reading a second of every student, until told to end."""

    def __init__(self, bus: ThreadedClient, students: int) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self.refused = 0
        self._bus = bus
        self._students = students
        self._end = threading.Event()

    def run(self) -> None:
        due_s = time.monotonic()
        while not self._end.wait(max(0.0, due_s - time.monotonic())):
            due_s += 1.0
            for student in range(self._students):
                topic = topics.reading("local", "ABC123", f"Aluno-{student}")
                self.refused += not self._bus.publish(topic, reading_of(student, self.sent))
            self.sent += 1

    def end(self) -> int:
        self._end.set()
        self.join()
        return self.sent


@contextlib.contextmanager
def listening(broker: Broker, marks: Marks) -> Iterator[None]:
    filters = {
        topics.every(topics.RECORDED, "local"): 0,
        topics.every(topics.SERVICE_STATE, "local", service="csv_recorder"): 1,
    }
    bus = ThreadedClient(
        BrokerAddresses.parse(broker.url), identity("bench_marks"), subscriptions=filters, on_delivery=marks.take
    )
    bus.start()
    try:
        yield
    finally:
        bus.close()


class World:
    """A broker, a recorder and a load."""

    def __init__(self, kind: str, students: int, folder: Path) -> None:
        (folder / "broker").mkdir()
        self.broker = Broker(kind, folder / "broker")
        self.out = folder / "recordings"
        self.students = students
        self.marks = Marks()
        self.recorder: subprocess.Popen[bytes] | None = None

    def start_recorder(self) -> None:
        births = self.marks.births
        command = [sys.executable, "-m", "csv_recorder", "--broker", self.broker.url, "--dir", str(self.out)]
        self.recorder = subprocess.Popen(command)
        wait_for(lambda: self.marks.births > births, "the recorder", TIMEOUT_S)

    def kill_recorder(self) -> None:
        assert self.recorder is not None
        self.recorder.kill()
        self.recorder.wait()

    def stop_recorder(self) -> None:
        assert self.recorder is not None
        self.recorder.terminate()
        assert self.recorder.wait(60) == 0

    def wait_before_a_save(self, at_least_s: float) -> None:
        """Wait for so long, and then until Mosquitto is about to save again."""
        state = self.broker.log_file.parent / MOSQUITTO_STATE
        time.sleep(at_least_s)
        saved_ns = state.stat().st_mtime_ns
        wait_for(lambda: state.stat().st_mtime_ns != saved_ns, "a save", TIMEOUT_S)
        time.sleep(AUTOSAVE_S - 1)

    def marks_ahead(self) -> int:
        """How many marked readings are not on the disk of the killed recorder."""
        marked = dict(self.marks.seqs)
        recorder = Recorder(self.out)
        recorder.open()  # as its next start does: mends the files from the inbox
        recorder._inbox.close()  # noqa: SLF001 (and dies again)
        missing = 0
        for student in range(self.students):
            seqs = set(self.seqs_of(student))
            missing += sum(seq not in seqs for seq in range(marked.get(f"Aluno-{student}", -1) + 1))
        return missing

    def seqs_of(self, student: int) -> list[int]:
        """The seqs in the student's file, which are its deltas."""
        path = self.out / f"Aluno {student}.csv"
        lines = path.read_bytes().splitlines()[1:] if path.exists() else []
        return [int(line.split(b",")[2]) for line in lines]

    def faults(self, sent: int) -> dict[str, int]:
        """What is wrong with the files after everything has come to rest."""
        found = Counter[str](lost=0, doubled=0, torn=0, disordered=0)
        in_sessions: dict[int, list[int]] = {}
        for path in sorted(self.out.glob("sessions/*/*/readings*.csv"), key=lambda path: (path.parent, len(path.name))):
            for line in path.read_bytes().splitlines()[1:]:
                cells = line.split(b",")
                in_sessions.setdefault(int(cells[8]), []).append(int(cells[2]))
        for student in range(self.students):
            content = (self.out / f"Aluno {student}.csv").read_bytes()
            wanted = STUDENT_HEADER + b"".join(student_row(reading_of(student, seq)) for seq in range(sent))
            for seqs in (self.seqs_of(student), in_sessions.get(student, [])):
                found["lost"] += len(set(range(sent)) - set(seqs))
                found["doubled"] += len(seqs) - len(set(seqs))
                found["disordered"] += seqs != sorted(seqs)
            found["torn"] += sorted(content.splitlines(True)) != sorted(wanted.splitlines(True))
        return dict(found)


def scenario(name: str, kind: str, students: int, kills: int) -> bool:
    """Run one scenario; whether all was well."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(kind, students, Path(folder))
        world.broker.start()
        with listening(world.broker, world.marks):
            world.start_recorder()
            bus = ThreadedClient(
                BrokerAddresses.parse(world.broker.url), identity("serial_bridge"), replay=ReplayBuffer(time.monotonic)
            )
            bus.start()
            load = Load(bus, students)
            load.start()
            ahead = 0
            for _ in range(kills):
                marks = world.marks.messages
                wait_for(lambda marks=marks: world.marks.messages > marks, "a mark", TIMEOUT_S)
                if name in ("recorder", "both"):
                    world.kill_recorder()
                if name in ("broker", "both"):
                    world.broker.kill()
                    world.broker.start()
                if name == "backlog":
                    world.kill_recorder()
                    world.wait_before_a_save(BACKLOG_S)
                    world.broker.kill()
                    world.broker.start()
                    world.start_recorder()
                if name == "recorder":
                    ahead += world.marks_ahead()
                if name in ("recorder", "both"):
                    world.start_recorder()
            sent = load.end()

            def is_recorded() -> bool:
                return all(world.marks.seqs.get(f"Aluno-{student}", -1) == sent - 1 for student in range(students))

            with contextlib.suppress(AssertionError):  # then the faults below say what is missing
                wait_for(is_recorded, "the last marks", TIMEOUT_S)
            assert bus.close(30)
            world.stop_recorder()
        world.broker.stop()
        faults = world.faults(sent)
        print(
            f"{name} killed {kills} times on {kind}: {sent * students} readings, {load.refused} refused,",
            f"{world.marks.messages} marks, {ahead} marked readings not on the disk, {faults}",
            flush=True,
        )
        return not any(faults.values()) and not ahead and not load.refused


def main() -> int:
    """Run the three scenarios; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--students", type=int, default=1000)
    parser.add_argument("--broker", default="mosquitto")
    parser.add_argument("--only", choices=("recorder", "broker", "both", "backlog"))
    given = parser.parse_args()
    kills = {"recorder": RECORDER_KILLS, "broker": BROKER_KILLS, "both": BROKER_KILLS, "backlog": 1}
    names = [given.only] if given.only else ["recorder", "broker", "both"]
    results = [scenario(name, given.broker, given.students, kills[name]) for name in names]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())

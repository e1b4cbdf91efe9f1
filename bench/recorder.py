"""How many rows a second the recorder makes durable, beside two peers on the same readings in the same run.

    python -m bench.recorder [--students N] [--readings N] [--rounds N] [--broker mosquitto|nats]

A publisher sends every student's readings as fast as the broker takes them (QoS 1). Measured for each round, each with
a broker and a directory of its own:

- csv-recorder: until its marks say that the last row is durable;
- mosquitto_sub writing the payloads to a file (QoS 1, no sync), until the last line is there;
- the server that went before: the same rows, each by open, append, close (no broker, no sync).

Prints rows/s, CPU per row and memory, and the ratios.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil

from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.files import STUDENT_HEADER, student_row
from neuroone.contract.json import encode
from neuroone.contract.messages import Recorded, ServiceState
from neuroone.mqtt import packets
from tests.support.brokers import Broker
from tests.support.bus_listener import listening
from tests.support.messages import reading
from tests.support.waiting import wait_for

WINDOW = 500
TIMEOUT_S = 300.0


def readings(student: int, count: int) -> Iterator[bytes]:
    """The payloads of one student: the values tell them apart."""
    first = reading(name=f"Aluno {student}", session=f"session-{student}", code="ABC123")
    for seq in range(count):
        message = replace(first, seq=seq, time=first.time + timedelta(seconds=seq), delta=seq, theta=student)
        yield encode(message)


class Publisher(asyncio.Protocol):
    """Sends packets that are made beforehand, so many unacknowledged at most."""

    def __init__(self, packets_to_send: list[bytes]) -> None:
        self._left = iter(packets_to_send)
        self._unacked = len(packets_to_send)
        self._decoder = packets.Decoder(v5=False)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self._transport = transport
        transport.write(packets.Connect(client_id="bench-publisher", keep_alive_s=600).encode(False))

    def data_received(self, received: bytes) -> None:
        acked = 0
        for packet in self._decoder.feed(received):
            if isinstance(packet, packets.PubAck):
                acked += 1
            elif isinstance(packet, packets.ConnAck):
                self._send(WINDOW)
        self._unacked -= acked
        self._send(acked)
        if not self._unacked and not self.done.done():
            self.done.set_result(None)

    def _send(self, count: int) -> None:
        self._transport.write(b"".join(packet for _, packet in zip(range(count), self._left, strict=False)))


def publish_all(port: int, students: int, count: int) -> float:
    """Publish everything, student by student in turn; returns the seconds that the broker needed to take it."""
    payloads = [readings(student, count) for student in range(students)]
    names = [str(topics.reading("local", "ABC123", f"Aluno-{student}")) for student in range(students)]
    prepared = [
        packets.Publish(names[n % students], next(payloads[n % students]), packet_id=n % 65535 + 1).encode(False)
        for n in range(students * count)
    ]

    async def send() -> None:
        _, publisher = await asyncio.get_running_loop().create_connection(
            lambda: Publisher(prepared), "127.0.0.1", port
        )
        await publisher.done

    began_s = time.monotonic()
    asyncio.run(send())
    return time.monotonic() - began_s


@contextmanager
def running(command: list[str], **options) -> Iterator[psutil.Popen]:
    process = psutil.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def recorder(broker: Broker, folder: Path, students: int, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "csv_recorder", "--broker", broker.url, "--dir", str(folder)]
    filters = topics.every(topics.SERVICE_STATE, "local"), topics.every(topics.RECORDED, "local")
    with listening(broker.url, "bench", *filters) as listener, running(command) as process:
        listener.wait_for(ServiceState, lambda topic, state: topic["service"] == "csv_recorder", 30)
        before_s, began_s = cpu_s(process), time.monotonic()
        publish_all(broker.port, students, count)
        rows: dict[str, int] = {}

        def is_durable() -> bool:
            for _, mark in listener.of(Recorded):
                rows.update((stream.source, stream.rows) for stream in mark.streams)
            return sum(rows.values()) == students * count

        wait_for(is_durable, "the last mark", TIMEOUT_S)
        took_s, used_s = time.monotonic() - began_s, cpu_s(process) - before_s
        memory = process.memory_info().rss
    check(folder, students, count)
    return {"rows/s": students * count / took_s, "us CPU/row": used_s / (students * count) * 1e6, "MB": memory / 1e6}


def check(folder: Path, students: int, count: int) -> None:
    """Every row once, whole, in order, in both kinds of file."""
    message = reading(name="x")
    for student in range(students):
        wanted = STUDENT_HEADER + b"".join(
            student_row(replace(message, delta=seq, theta=student)) for seq in range(count)
        )
        assert (folder / f"Aluno {student}.csv").read_bytes() == wanted, student
    files = [*folder.glob("sessions/*/*/readings*.csv")]
    assert sum(file.read_bytes().count(b"\n") - 1 for file in files) == students * count


def subscriber(broker: Broker, folder: Path, students: int, count: int) -> dict[str, float]:
    file = folder / "payloads"
    filter = topics.every(topics.READING, "local")
    command = ["mosquitto_sub", "-p", str(broker.port), "-q", "1", "-c", "-i", "bench-sub", "-t", filter]
    with file.open("wb") as output, running(command, stdout=output) as process:
        time.sleep(1)
        before_s, began_s = cpu_s(process), time.monotonic()
        publish_all(broker.port, students, count)
        size = sum(len(payload) + 1 for student in range(students) for payload in readings(student, count))
        wait_for(lambda: file.stat().st_size >= size - 65536, "the last lines", TIMEOUT_S)
        took_s, used_s = time.monotonic() - began_s, cpu_s(process) - before_s
    return {"rows/s": students * count / took_s, "us CPU/row": used_s / (students * count) * 1e6}


def seed(folder: Path, students: int, count: int) -> dict[str, float]:
    """What the old server did for each reading, without its network."""
    message = reading(name="x")
    rows = [replace(message, theta=student) for student in range(students)]
    before_s, began_s = time.process_time(), time.monotonic()
    for seq in range(count):
        for student, each in enumerate(rows):
            with (folder / f"Aluno {student}.csv").open("a", encoding="utf-8") as file:
                if not seq:
                    file.write(STUDENT_HEADER.decode())
                file.write(student_row(each).decode())
    took_s = time.monotonic() - began_s
    return {
        "rows/s": students * count / took_s,
        "us CPU/row": (time.process_time() - before_s) / (students * count) * 1e6,
    }


def main() -> None:
    """Run every round and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--students", type=int, default=1000)
    parser.add_argument("--readings", type=int, default=200, help="per student")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", default="mosquitto")
    given = parser.parse_args()
    peers: dict[str, Callable[..., dict[str, float]]] = {"csv-recorder": recorder}
    if shutil.which("mosquitto_sub"):
        peers["mosquitto_sub"] = subscriber
    for number in range(given.rounds):
        figures: dict[str, dict[str, float]] = {}
        for name, measure in peers.items():
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "broker").mkdir()
                (Path(folder) / "out").mkdir()
                broker = Broker(given.broker, Path(folder) / "broker")
                broker.start()
                try:
                    figures[name] = measure(broker, Path(folder) / "out", given.students, given.readings)
                finally:
                    broker.stop()
        with tempfile.TemporaryDirectory() as folder:
            figures["open-append-close"] = seed(Path(folder), given.students, given.readings)
        print(f"round {number + 1}: {given.students} students, {given.readings} readings each")
        for name, each in figures.items():
            ratio = each["rows/s"] / figures["csv-recorder"]["rows/s"]
            print(
                f"  {name:18}",
                *(f"{value:10,.0f} {unit}" for unit, value in each.items()),
                f"{ratio:8.2f} x",
                flush=True,
            )


if __name__ == "__main__":
    main()

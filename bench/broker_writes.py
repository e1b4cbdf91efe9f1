"""What a broker with a backlog writes to the disk while nothing happens, and how long it is deaf meanwhile.

    python -m bench.broker_writes [--broker mosquitto|nats] [--messages N] [--seconds S] [--autosave S]

A recorder's session is left behind on a broker with our configuration, and N readings are queued for it. Then only one
client is there, which pings the broker ten times a second. Prints what the broker writes, the longest wait for a ping's
answer, and how long the broker takes to be back after a kill. ``--autosave`` replaces Mosquitto's interval.
"""

import argparse
import socket
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.recorder import publish_all
from neuroone.contract import topics
from tests.support.brokers import LOOPBACK, Broker
from tests.support.bus_listener import client_on

STUDENTS = 300
CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05bench"
PING = b"\xc0\x00"
PING_EVERY_S = 0.1
MB = 1e6


def queue(broker: Broker, messages: int) -> None:
    """Leave a durable session behind, and readings for it."""
    readings = {topics.every(topics.READING, "local"): 1}
    with client_on(broker.url, "csv_recorder", durable=True, subscriptions=readings):
        pass
    publish_all(broker.port, STUDENTS, messages // STUDENTS)


def longest_ping_s(port: int, seconds: float) -> float:
    """Ping the broker for a while; the longest wait for an answer."""
    longest_s = 0.0
    with socket.create_connection((LOOPBACK, port)) as connection:
        connection.sendall(CONNECT)
        connection.recv(4)
        end_s = time.monotonic() + seconds
        while (began_s := time.monotonic()) < end_s:
            connection.sendall(PING)
            connection.recv(2)
            longest_s = max(longest_s, time.monotonic() - began_s)
            time.sleep(PING_EVERY_S)
    return longest_s


def main() -> int:
    """Measure one broker; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--broker", choices=("mosquitto", "nats"), default="mosquitto")
    parser.add_argument("--messages", type=int, default=180_000)
    parser.add_argument("--seconds", type=float, default=95.0, help="three saves of our configuration")
    parser.add_argument("--autosave", type=int, help="Mosquitto's autosave_interval, in seconds")
    given = parser.parse_args()
    lines = [] if given.autosave is None else [f"autosave_interval {given.autosave}"]
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(given.broker, Path(folder), *lines)
        broker.start()
        try:
            queue(broker, given.messages)
            process = psutil.Process(broker.pid)
            before, cpu_s = process.io_counters().write_chars, sum(process.cpu_times()[:2])
            waited_s = longest_ping_s(broker.port, given.seconds)
            written = process.io_counters().write_chars - before
            cpu = (sum(process.cpu_times()[:2]) - cpu_s) / given.seconds
            size = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
            broker.kill()
            began_s = time.monotonic()
            broker.start()
            back_s = time.monotonic() - began_s
        finally:
            broker.stop()
    rate = written / given.seconds
    print(
        f"{given.broker}, {given.messages} messages queued, {size / MB:.0f} MB of state, {given.seconds:.0f} s idle:",
        f"{rate / MB:.2f} MB/s written ({rate * 86400 / 1e9:.0f} GB a day),",
        f"{cpu:.1%} CPU, longest answer {waited_s:.2f} s, back {back_s:.1f} s after a kill",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a delivered message of QoS 1 costs a subscriber, with the client in a thread and with that in the event loop.

    python -m bench.mqtt_clients [MESSAGES]

Each client in a process of its own, twice in turn, on a Mosquitto of its own: CPU from the first delivery to the last,
with the broker's acks and ours, without taking the message apart.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.recorder import publish_all
from neuroone.contract import topics
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.threaded import ThreadedClient
from tests.support.brokers import Broker
from tests.support.bus_listener import identity
from tests.support.waiting import wait_for

STUDENTS = 500
SUBSCRIPTIONS = {topics.every(topics.READING, "local"): 1}
POLL_S = 0.05


class Count:
    """Deliveries, and the CPU seconds of this process at the first one."""

    def __init__(self) -> None:
        self.deliveries = 0
        self.from_s = 0.0

    def take(self, delivery: Delivery) -> None:
        if not self.deliveries:
            self.from_s = time.process_time()
        self.deliveries += 1


def thread(address: BrokerAddresses, count: Count, messages: int) -> None:
    bus = ThreadedClient(address, identity("bench"), subscriptions=SUBSCRIPTIONS, on_delivery=count.take)
    bus.start()
    wait_for(lambda: bus.is_connected, "connection", 10)
    print("ready", flush=True)
    while count.deliveries < messages:
        time.sleep(POLL_S)
    print((time.process_time() - count.from_s) / messages * 1e6)
    bus.close()


async def loop(address: BrokerAddresses, count: Count, messages: int) -> None:
    bus = AsyncClient(address, identity("bench"), subscriptions=SUBSCRIPTIONS, on_delivery=count.take)
    bus.start()
    while not bus.is_connected:  # noqa: ASYNC110 (no event to wait for)
        await asyncio.sleep(POLL_S)
    print("ready", flush=True)
    while count.deliveries < messages:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    print((time.process_time() - count.from_s) / messages * 1e6)
    await bus.close(1)


def measure(kind: str, messages: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker("mosquitto", Path(folder))
        broker.start()
        command = [sys.executable, "-m", "bench.mqtt_clients", kind, str(messages), broker.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as popen:
            assert popen.stdout is not None
            assert popen.stdout.readline() == "ready\n"
            publish_all(broker.port, STUDENTS, messages // STUDENTS)
            cpu_us = float(popen.stdout.readline())
        broker.stop()
    return cpu_us


def main() -> None:
    """Measure both, or be the subscriber of one measurement."""
    if len(sys.argv) == 4:
        _, kind, messages, url = sys.argv
        address = BrokerAddresses.parse(url)
        if kind == "thread":
            thread(address, Count(), int(messages))
        else:
            asyncio.run(loop(address, Count(), int(messages)))
        return
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    for _ in range(2):
        costs = {kind: measure(kind, messages) for kind in ("thread", "loop")}
        print(*(f"{kind} {cost:.1f} us CPU a message" for kind, cost in costs.items()), sep=", ", flush=True)


if __name__ == "__main__":
    main()

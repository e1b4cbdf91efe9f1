"""How much memory the gateway needs, measured as the resident set of a real gateway on a real Mosquitto.

    python -m bench.gateway_memory names [NAMES]
    python -m bench.gateway_memory outage [SECONDS] [READINGS_A_SECOND]

``names``: each name sends one reading, 100 names over each connection. ``outage``: the broker is killed, and students
go on sending; then it is started again, until it has everything that was kept. Both print one line; the exit code says
whether the limits hold.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench.gateway import HOST, connect, free_port, text_frame, wait_until_open
from neuroone.up import brokers

NAMES_PER_CONNECTION = 100
"""What the gateway allows in the first dialect."""
NAMES_MAX_MIB = 70
OUTAGE_MAX_MIB = 300
SETTLE_S = 5.0
VALUES = {"Med": 50, "Delta": 123456, "Theta": 234567, "LowAlpha": 345678, "HighAlpha": 456789}
VALUES |= {"LowBeta": 567890, "HighBeta": 678901, "LowGamma": 789012, "MiddleGamma": 890123}


class Programs:
    """A Mosquitto and a gateway."""

    def __init__(self, folder):
        self.port, mqtt = free_port(), free_port()
        self.mqtt = mqtt
        broker = brokers.find(brokers.MOSQUITTO)
        assert broker is not None
        self.broker_command = broker.command(folder / "broker", HOST, mqtt)
        self.start_broker()
        words = ["--host", HOST, "--ws-port", str(self.port), "--broker", f"mqtt://{HOST}:{mqtt}"]
        self.gateway = subprocess.Popen([sys.executable, "-m", "ws_gateway", *words], stderr=subprocess.DEVNULL)
        wait_until_open(self.port)

    def start_broker(self):
        self.broker = subprocess.Popen(self.broker_command, stderr=subprocess.DEVNULL)
        wait_until_open(self.mqtt)

    def kill_broker(self):
        self.broker.kill()
        self.broker.wait()

    def memory_mib(self, what="VmRSS"):
        status = Path(f"/proc/{self.gateway.pid}/status").read_text(encoding="ascii")
        return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1]) / 1024

    def metric(self, name):
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/metrics", timeout=60) as page:
            text = page.read().decode()
        return float(
            next(line for line in text.splitlines() if line.startswith(f"neuroone_gateway_{name} ")).split()[1]
        )


@contextmanager
def running():
    with tempfile.TemporaryDirectory() as name:
        programs = Programs(Path(name))
        try:
            yield programs
        finally:
            for program in (programs.gateway, programs.broker):
                program.terminate()
                try:
                    program.wait(20)
                except subprocess.TimeoutExpired:
                    program.kill()
                    program.wait()


def frame(name):
    return text_frame(json.dumps({"Nome": name, "Codigo": "BENCH", "Att": 50, **VALUES}))


async def until(condition, within_s=120):
    deadline_s = time.monotonic() + within_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline_s, "it takes too long"
        await asyncio.sleep(0.5)


async def names(number):
    with running() as programs:
        before = programs.memory_mib()
        for start in range(0, number, NAMES_PER_CONNECTION):
            client = await connect(programs.port)
            for each in range(start, min(start + NAMES_PER_CONNECTION, number)):
                client.transport.write(frame(f"Student Number {each}"))
                await asyncio.sleep(0.002)
            client.transport.close()
        await until(lambda: programs.metric("readings_total") >= number and not programs.metric("outbox"))
        await asyncio.sleep(SETTLE_S)
        after = programs.memory_mib()
        print(
            f"names: {number} names with one reading each, {before:.0f} -> {after:.0f} MiB, "
            f"{(after - before) * 1024 / number:.2f} KiB a name"
        )
        return after < NAMES_MAX_MIB


async def outage(seconds, rate):
    with running() as programs:
        clients = []
        for start in range(0, rate, 100):
            clients += await asyncio.gather(*(connect(programs.port) for _ in range(start, min(start + 100, rate))))
        frames = [frame(f"Student Number {number}") for number in range(rate)]
        await send(clients, frames, 2)
        before = programs.memory_mib()
        programs.kill_broker()
        await send(clients, frames, seconds)
        after = programs.memory_mib()
        waiting = programs.metric("outbox")
        programs.start_broker()
        await until(lambda: not programs.metric("outbox"), 300)
        print(
            f"outage: {seconds} s without a broker at {rate} readings a second, {before:.0f} -> {after:.0f} MiB, "
            f"{waiting:.0f} messages waited, at most {programs.memory_mib('VmHWM'):.0f} MiB while they were delivered, "
            f"connections lost {sum(client.lost for client in clients)}"
        )
        return programs.memory_mib("VmHWM") < OUTAGE_MAX_MIB


async def send(clients, frames, seconds):
    """Each client sends one frame a second."""
    began_s, sent, total = time.perf_counter(), 0, len(clients) * seconds
    while sent < total:
        due = min(int((time.perf_counter() - began_s) * len(clients)) + 1, total)
        for number in range(sent, due):
            clients[number % len(clients)].transport.write(frames[number % len(clients)])
        sent = due
        await asyncio.sleep(0.01)


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    run, *numbers = {"names": (names, 10_000), "outage": (outage, 230, 1000)}[sys.argv[1]]
    given = [int(word) for word in sys.argv[2:]]
    sys.exit(0 if uvloop.run(run(*given, *numbers[len(given) :])) else 1)


if __name__ == "__main__":
    main()

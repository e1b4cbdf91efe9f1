"""Nothing lost and nothing doubled between phone and file, while the broker is killed or the gateway is stopped.

    python -m bench.gateway_faults broker [--students 500] [--seconds 60]
    python -m bench.gateway_faults gateway

``broker``: kill -9 and a new start of the broker, five times; half of the students speak the first dialect.
``gateway``: SIGTERM and a new start of the gateway, five times; all students speak ``neuroone.v1`` and send again what
was not acknowledged. Each sends two readings a second. Then every reading must be in the CSV files exactly once: the
exit code says so.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.gateway import HOST, connect, free_port, text_frame
from neuroone.up import brokers

RATE_HZ = 2
FAULTS = 5
SETTLE_S = 60
BANDS = ("theta", "low_alpha", "high_alpha", "low_beta", "high_beta", "low_gamma", "mid_gamma")


class OldPhone:
    """Sends and forgets; comes back after a second."""

    def __init__(self, port, number):
        self.number = number
        self.port = port
        self.client = None
        self.sent = []
        self.returns = -1

    @property
    def is_done(self):
        return True

    async def stay(self):
        while True:
            with contextlib.suppress(OSError):
                self.client = await connect(self.port)
                self.returns += 1
                await self.client.ended.wait()
            self.client = None
            await asyncio.sleep(random.uniform(0.5, 1))

    def send(self, seq):
        if self.client is not None and not self.client.transport.is_closing():
            self.sent.append(seq)
            values = {"Att": 50, "Med": 50, "Delta": seq}
            self.client.transport.write(text_frame(json.dumps({"Codigo": "F", "Nome": f"s{self.number}", **values})))


class NewPhone:
    """Keeps every reading until its ack, and sends again what it kept."""

    def __init__(self, port, number):
        self.number = number
        self.port = port
        self.client = None
        self.sent = []
        self.kept = {}
        self.returns = -1

    @property
    def is_done(self):
        return not self.kept

    async def stay(self):
        hello = {"type": "hello", "role": "student", "name": f"s{self.number}", "code": "F"}
        hello["session"] = f"session-{self.number}"
        while True:
            with contextlib.suppress(OSError):
                client = await connect(self.port, self.hear, "neuroone.v1")
                for frame in (text_frame(json.dumps(hello)), *self.kept.values()):
                    client.transport.write(frame)
                self.client = client
                self.returns += 1
                await client.ended.wait()
            self.client = None
            await asyncio.sleep(random.uniform(0.5, 1))

    def hear(self, text):
        said = json.loads(text)
        if said["type"] == "ack" and said["stage"] == "broker":
            for seq in [each for each in self.kept if each <= said["seq"]]:
                del self.kept[seq]

    def send(self, seq):
        values = {"attention": 50, "meditation": 50, "delta": seq, **dict.fromkeys(BANDS, 0)}
        frame = self.kept[seq] = text_frame(json.dumps({"type": "reading", "seq": seq, **values}))
        self.sent.append(seq)
        if self.client is not None and not self.client.transport.is_closing():
            self.client.transport.write(frame)


class Program:
    """A program that is ended and started again."""

    def __init__(self, command, folder):
        self.command = command
        self.folder = folder
        self.start()

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.popen = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)

    def end(self, number):
        self.popen.send_signal(number)
        self.popen.wait(30)


async def load(phones, seconds, fault):
    """Send at a steady rate for ``seconds``, with faults between, and go on until every phone has its acks."""
    staying = [asyncio.create_task(phone.stay()) for phone in phones]
    while not all(phone.client for phone in phones):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    total = len(phones) * RATE_HZ * seconds
    began_s, sent = time.monotonic(), 0
    faults_s = [seconds * (number + 0.5) / FAULTS for number in range(FAULTS)]
    failing = None
    while sent < total:
        now_s = time.monotonic() - began_s
        for number in range(sent, min(int(now_s * len(phones) * RATE_HZ) + 1, total)):
            phones[number % len(phones)].send(number // len(phones))
            sent = number + 1
        if faults_s and now_s >= faults_s[0]:
            del faults_s[0]
            failing = asyncio.create_task(asyncio.to_thread(fault))
        await asyncio.sleep(0.005)
    if failing is not None:
        await failing
    deadline_s = time.monotonic() + SETTLE_S
    while not all(phone.is_done for phone in phones) and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    for task in staying:
        task.cancel()
    await asyncio.gather(*staying, return_exceptions=True)
    for phone in phones:
        if phone.client is not None:
            phone.client.transport.abort()


def recorded(folder, number):
    """The seqs in a student's file."""
    file = folder / f"s{number}.csv"
    lines = file.read_text(encoding="utf-8").splitlines()[1:] if file.exists() else []
    return [int(line.split(",")[2]) for line in lines]


def missing_and_doubled(folder, phones):
    missing = doubled = 0
    for phone in phones:
        seqs = recorded(folder, phone.number)
        missing += len(set(phone.sent) - set(seqs))
        doubled += len(seqs) - len(set(seqs))
    return missing, doubled


def run(given, folder):
    port, mqtt = free_port(), free_port()
    found = brokers.find(given.broker_program)
    assert found is not None
    url = f"mqtt://{HOST}:{mqtt}"
    python = [sys.executable, "-m"]
    data = folder / "data"
    programs = []
    try:
        programs.append(broker := Program(found.command(folder / "broker", HOST, mqtt), folder))
        while not brokers.answers(HOST, mqtt):
            time.sleep(0.05)
        programs.append(Program([*python, "csv_recorder", "run", "--dir", str(data), "--broker", url], folder))
        time.sleep(2)
        words = ["--host", HOST, "--ws-port", str(port), "--broker", url, "--instance", "bench"]
        programs.append(gateway := Program([*python, "ws_gateway", *words], folder))

        def fault():
            victim, number = (broker, signal.SIGKILL) if given.fault == "broker" else (gateway, signal.SIGTERM)
            victim.end(number)
            victim.start()

        kinds = (OldPhone, NewPhone) if given.fault == "broker" else (NewPhone,)
        phones = [kinds[number % len(kinds)](port, number) for number in range(given.students)]
        uvloop.run(load(phones, given.seconds, fault))
        deadline_s = time.monotonic() + SETTLE_S
        while missing_and_doubled(data, phones)[0] and time.monotonic() < deadline_s:
            time.sleep(1)
    finally:
        for program in reversed(programs):
            program.end(signal.SIGTERM)
    missing, doubled = missing_and_doubled(data, phones)
    unacked = sum(not phone.is_done for phone in phones)
    sent = sum(len(phone.sent) for phone in phones)
    print(
        f"{given.fault} ({found.kind}) ended {FAULTS} times: {given.students} students, "
        f"{sent} readings sent, {missing} missing and {doubled} doubled in the files, "
        f"{unacked} phones without their last ack, {sum(phone.returns for phone in phones)} reconnects",
        flush=True,
    )
    if given.log:
        print((folder / "log").read_text(encoding="utf-8", errors="replace"))
    return 1 if missing or doubled or unacked else 0


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("fault", choices=("broker", "gateway"))
    options.add_argument("--students", type=int, default=500)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--broker-program", choices=brokers.KINDS)
    options.add_argument("--log", action="store_true", help="print what the programs said")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sys.exit(run(given, Path(name)))


if __name__ == "__main__":
    main()

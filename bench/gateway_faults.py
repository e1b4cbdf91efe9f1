"""Nothing lost and nothing doubled between phone and file, while programs are killed, ended or frozen.

    python -m bench.gateway_faults broker [--students 500] [--seconds 60]
    python -m bench.gateway_faults gateway
    python -m bench.gateway_faults freeze [--students 200] [--frozen-seconds 20 60]

``broker``: kill -9 and a new start of the broker, five times; half of the students speak the first dialect.
``gateway``: SIGTERM and a new start of the gateway, five times; all students speak ``neuroone.v1`` and send again what
was not acknowledged. Each sends two readings a second.
``freeze``: SIGSTOP of the gateway, the broker and the recorder, one after the other, for each of the times; half of the
students speak the first dialect, and each sends one reading a second. No connection may end.
Then every reading must be in the CSV files exactly once: the exit code says so.
"""

import argparse
import asyncio
import contextlib
import functools
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
from neuroone.mqtt.address import BrokerAddress
from neuroone.up import brokers

RATE_HZ = {"broker": 2, "gateway": 2, "freeze": 1}
FAULTS = 5
CALM_S = 8
"""Between two freezes."""
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

    def freeze(self, seconds):
        self.popen.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self.popen.send_signal(signal.SIGCONT)


async def load(phones, rate_hz, seconds, faults):
    """Send at a steady rate for ``seconds``, with faults (time, call) between; go on until every phone has its acks."""
    staying = [asyncio.create_task(phone.stay()) for phone in phones]
    while not all(phone.client for phone in phones):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    total = len(phones) * rate_hz * seconds
    began_s, sent = time.monotonic(), 0
    failing = None
    while sent < total:
        now_s = time.monotonic() - began_s
        for number in range(sent, min(int(now_s * len(phones) * rate_hz) + 1, total)):
            phones[number % len(phones)].send(number // len(phones))
            sent = number + 1
        if faults and now_s >= faults[0][0]:
            failing = asyncio.create_task(asyncio.to_thread(faults.pop(0)[1]))
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


def freezes(victims, frozen_seconds):
    """Calls that freeze each program in turn, with their times, and how long that takes."""
    faults, at_s = [], CALM_S
    for victim in victims:
        for seconds in frozen_seconds:
            faults.append((at_s, functools.partial(victim.freeze, seconds)))
            at_s += seconds + CALM_S
    return faults, at_s


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
        while not brokers.answers(BrokerAddress(HOST, mqtt)):
            time.sleep(0.05)
        words = ["run", "--dir", str(data), "--broker", url]
        programs.append(recorder := Program([*python, "csv_recorder", *words], folder))
        time.sleep(2)
        words = ["--host", HOST, "--ws-port", str(port), "--broker", url, "--instance", "bench"]
        programs.append(gateway := Program([*python, "ws_gateway", *words], folder))

        def fault():
            victim, number = (broker, signal.SIGKILL) if given.fault == "broker" else (gateway, signal.SIGTERM)
            victim.end(number)
            victim.start()

        if given.fault == "freeze":
            victims = {"gateway": gateway, "broker": broker, "recorder": recorder}
            faults, seconds = freezes([victims[name] for name in given.victims], given.frozen_seconds)
        else:
            seconds = given.seconds
            faults = [(seconds * (number + 0.5) / FAULTS, fault) for number in range(FAULTS)]
        kinds = (NewPhone,) if given.fault == "gateway" else (OldPhone, NewPhone)
        phones = [kinds[number % len(kinds)](port, number) for number in range(given.students)]
        uvloop.run(load(phones, RATE_HZ[given.fault], seconds, faults))
        deadline_s = time.monotonic() + SETTLE_S
        while missing_and_doubled(data, phones)[0] and time.monotonic() < deadline_s:
            time.sleep(1)
    finally:
        for program in reversed(programs):
            program.end(signal.SIGTERM)
    missing, doubled = missing_and_doubled(data, phones)
    unacked = sum(not phone.is_done for phone in phones)
    sent = sum(len(phone.sent) for phone in phones)
    returns = sum(phone.returns for phone in phones)
    done = f"{given.fault} ended {FAULTS} times"
    if given.fault == "freeze":
        done = f"{', '.join(given.victims)} frozen for {', '.join(map(str, given.frozen_seconds))} s"
    print(
        f"{done} ({found.kind}): {given.students} students, "
        f"{sent} readings sent, {missing} missing and {doubled} doubled in the files, "
        f"{unacked} phones without their last ack, {returns} reconnects",
        flush=True,
    )
    if given.log:
        print((folder / "log").read_text(encoding="utf-8", errors="replace"))
    return 1 if missing or doubled or unacked or (given.fault == "freeze" and returns) else 0


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("fault", choices=RATE_HZ)
    options.add_argument("--students", type=int, default=500)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--frozen-seconds", type=int, nargs="+", default=[20, 60])
    options.add_argument("--victims", nargs="+", default=["gateway", "broker", "recorder"])
    options.add_argument("--broker-program", choices=brokers.KINDS)
    options.add_argument("--log", action="store_true", help="print what the programs said")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sys.exit(run(given, Path(name)))


if __name__ == "__main__":
    main()

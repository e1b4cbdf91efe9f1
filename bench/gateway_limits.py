"""What the gateway bears: idle connections, hostile frames, a stalled dashboard.

    python -m bench.gateway_limits idle [CONNECTIONS]
    python -m bench.gateway_limits hostile [FRAMES]
    python -m bench.gateway_limits stalled [SECONDS]

Each runs a real gateway on a real broker, ``hostile`` with a recorder, and prints one line; the exit code says whether
it holds what is promised.
"""

import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench.gateway import HOST, connect, free_port, text_frame, wait_until_open
from neuroone.contract import topics
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up import brokers
from tests.support.waiting import wait_for

OWN_STREAM = "neuroone/v1/local/streams/"
IDLE_PROCESSES = 4
IDLE_S = 45
"""Two rounds of pings."""
IDLE_MAX_KIB = 20
STALLED_MAX_MS = 50


@contextmanager
def running(data=None):
    """A gateway with its broker, and a recorder where there is a folder for its data: the gateway's port and process,
    the topics that were published."""
    broker = brokers.find()
    assert broker is not None
    with tempfile.TemporaryDirectory() as name:
        folder, port, mqtt = Path(name), free_port(), free_port()
        programs = [subprocess.Popen(broker.command(folder / "broker", HOST, mqtt), stderr=subprocess.DEVNULL)]
        wait_until_open(mqtt)
        heard = set()
        bus = ThreadedClient(
            [BrokerAddress(HOST, mqtt)],
            Identity("local", "bench", "limits", "0", 1, "limits"),
            subscriptions={"#": 0},
            on_delivery=lambda delivery: heard.add(delivery.topic),
        )
        bus.start()
        if data is not None:
            data.mkdir(parents=True)
            words = ["--dir", str(data), "--broker", f"mqtt://{HOST}:{mqtt}"]
            programs.append(subprocess.Popen([sys.executable, "-m", "csv_recorder", "run", *words], cwd=data.parent))
        words = ["--host", HOST, "--ws-port", str(port), "--broker", f"mqtt://{HOST}:{mqtt}"]
        programs.append(subprocess.Popen([sys.executable, "-m", "ws_gateway", *words], cwd=folder))
        wait_until_open(port)
        wait_for(lambda: bus.is_connected, "connection", 20)
        time.sleep(2)  # for the recorder
        try:
            yield port, programs[-1], heard
        finally:
            bus.close()
            for program in reversed(programs):
                program.terminate()
                try:
                    program.wait(20)
                except subprocess.TimeoutExpired:
                    print("it did not stop:", *program.args)
                    program.kill()


def resident_kib(process):
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


async def idle(connections):
    """Clients in several processes: client and server ends of 10,000 connections are more files than one may have."""
    with running() as (port, process, _):
        before = resident_kib(process)
        share = connections // IDLE_PROCESSES
        command = [sys.executable, "-m", "bench.gateway_limits", "sit", str(share), str(port)]
        sitting = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(IDLE_PROCESSES)]  # noqa: ASYNC220
        most = before
        while any(each.poll() is None for each in sitting):
            most = max(most, resident_kib(process))
            await asyncio.sleep(1)
        lost = [int(each.communicate()[0]) for each in sitting]
        each = (most - before) / connections
        print(f"idle: {connections} connections, {sum(lost)} lost after {IDLE_S} s, {each:.1f} KiB each")
        return not any(lost) and each <= IDLE_MAX_KIB


async def sit(connections, port):
    """Hold that many connections; prints how many were lost meanwhile."""
    clients = []
    for _ in range(0, connections, 100):
        clients += await asyncio.gather(*(connect(port) for _ in range(100)))
    await asyncio.sleep(IDLE_S)
    print(sum(client.lost for client in clients), flush=True)
    return True


def hostile_frames(rng):
    """One hostile frame after the other, as the bytes of a whole WebSocket frame."""
    names = [
        "../../etc/passwd",
        "neuroone/v1/#",
        "a\r\nb",
        "=1+1",
        "+",
        "#",
        "$SYS/x",
        "x" * 7000,
        "\ud800",
        "CON",
        "",
        " ",
    ]
    numbers = ["NaN", "1e999", "-1", "9" * 5000, "true", "null", '"85"', "1.5", "[]", "16777216"]
    while True:
        kind = rng.randrange(6)
        if kind == 0:
            yield text_frame(json.dumps({"Nome": rng.choice(names), "Codigo": rng.choice(names), "Att": 5}))
        elif kind == 1:
            yield text_frame(f'{{"Nome":"x","Codigo":"H","{rng.choice(("Att", "Delta"))}":{rng.choice(numbers)}}}')
        elif kind == 2:
            yield text_frame(rng.choice(("[" * 4000, '{"a":' * 1500, "{", "", "nul", '{"Nome":{}}', "DASH")))
        elif kind == 3:
            yield text_frame("x" * (8 * 1024 + 1))
        elif kind == 4:
            payload = rng.randbytes(100)
            yield bytes((rng.choice((0x81, 0x82)), 0x80 | 100)) + bytes(4) + payload
        else:
            yield rng.randbytes(50)


async def hostile(frames):
    with tempfile.TemporaryDirectory() as name:
        data = Path(name, "a", "b", "c", "data")  # deep enough for ../../ to be seen
        with running(data) as (port, process, heard):
            held = await attack(frames, port, process, heard)
        inside, outside, rows = written(Path(name), data)
        print(f"recorder: {inside} files, {outside} outside its directory, {rows} rows of the good client")
        return held and not outside and rows == -(-frames // 1000)


def written(folder, data):
    """Files inside the directory of the data, files outside and links, and rows of the good client."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    inside = [file for file in files if file.resolve().is_relative_to(data.resolve())]
    rows = len((data / "good.csv").read_text(encoding="utf-8").splitlines()) - 1
    return len(inside), len(files) - len(inside), rows


async def attack(frames, port, process, heard):
    """Whether the gateway and a good client at its side bear it, and no topic is outside the students' own."""
    arrived = []
    dashboard = await connect(port, lambda text: arrived.append(json.loads(text)["Nome"]))
    dashboard.transport.write(text_frame("dash"))
    good = await connect(port)
    rng = random.Random(1)
    made = hostile_frames(rng)
    bad = [await connect(port) for _ in range(20)]
    connects = sent_good = 0
    for number in range(frames):
        place = number % len(bad)
        if bad[place].lost:
            bad[place] = await connect(port)
            connects += 1
        bad[place].transport.write(next(made))
        if number % 100 == 0:
            await asyncio.sleep(0.02)
        if number % 1000 == 0:
            good.transport.write(text_frame('{"Nome":"good","Codigo":"G","Att":50}'))
            sent_good += 1
    for _ in range(100):
        if arrived.count("good") == sent_good:
            break
        await asyncio.sleep(0.1)
    for topic in heard:
        topics.parse(topic)
    strange = [t for t in heard if not t.startswith((OWN_STREAM, "neuroone/v1/local/services/"))]
    print(
        f"hostile: {frames} frames, {connects} reconnects, gateway runs: {process.poll() is None}, "
        f"good client kept: {not good.lost}, its readings {arrived.count('good')} of {sent_good}, "
        f"topics outside: {len(strange)}, memory {resident_kib(process) // 1024} MiB"
    )
    return process.poll() is None and not good.lost and arrived.count("good") == sent_good and not strange


async def stalled(seconds):
    with tempfile.TemporaryDirectory() as name, running(Path(name, "data")) as (port, process, _):
        sent_at, latencies, memory_kib = {}, [], []

        def hear(text):
            number = int(json.loads(text)["Nome"][1:])
            latencies.append((time.perf_counter() - sent_at[number]) * 1000)

        dashboards = [await connect(port, hear) for _ in range(49)]
        stuck = await connect(port)
        for dashboard in (*dashboards, stuck):
            dashboard.transport.write(text_frame("dash"))
        stuck.transport.pause_reading()
        students = [await connect(port) for _ in range(200)]
        frames = [text_frame(json.dumps({"Nome": f"s{n}", "Codigo": "é" * 900, "Att": 5})) for n in range(200)]
        for _ in range(seconds):
            for number, student in enumerate(students):
                sent_at[number] = time.perf_counter()
                student.transport.write(frames[number])
                await asyncio.sleep(1 / 210)
            memory_kib.append(resident_kib(process))
        stuck.transport.resume_reading()
        await asyncio.sleep(7)
        latencies.sort()
        p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
        sixths = " ".join(str(kib // 1024) for kib in memory_kib[:: seconds // 6])
        print(
            f"stalled: 200 students, 49 dashboards, {len(latencies)} frames of {200 * 49 * seconds}, "
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, stalled one evicted: {stuck.lost}, "
            f"memory after each sixth of the time {sixths} MiB"
        )
        return stuck.lost and p99 <= STALLED_MAX_MS


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    what = {"idle": (idle, 10_000), "sit": (sit, 0, 0), "hostile": (hostile, 100_000), "stalled": (stalled, 30)}
    run, *numbers = what[sys.argv[1]]
    given = [int(word) for word in sys.argv[2:]]
    sys.exit(0 if uvloop.run(run(*given, *numbers[len(given) :])) else 1)


if __name__ == "__main__":
    main()

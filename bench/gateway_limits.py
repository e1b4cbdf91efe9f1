"""What the gateway bears: idle connections, hostile frames, a stalled dashboard.

    python -m bench.gateway_limits idle [CONNECTIONS]
    python -m bench.gateway_limits hostile [FRAMES]
    python -m bench.gateway_limits stalled [SECONDS]

Each runs a real gateway on a real broker and prints one line.
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

from bench.gateway import HOST, connect, free_port, text_frame
from neuroone import brokers
from neuroone.contract import topics
from neuroone.runtime.bus import MqttBus
from neuroone.runtime.settings import BrokerAddress, Identity

OWN_STREAM = "neuroone/v1/local/streams/"


@contextmanager
def running():
    """A gateway with its broker: its port, its process, the topics that were published, its folder."""
    broker = brokers.find()
    assert broker is not None
    with tempfile.TemporaryDirectory() as name:
        folder, port, mqtt = Path(name), free_port(), free_port()
        programs = [subprocess.Popen(broker.command(folder / "broker", HOST, mqtt), stderr=subprocess.DEVNULL)]
        time.sleep(1)
        heard = set()
        bus = MqttBus(
            BrokerAddress(HOST, mqtt),
            Identity("local", "bench", "limits", "0", 1),
            subscriptions={"#": 0},
            on_delivery=lambda delivery: heard.add(delivery.topic),
        )
        bus.start()
        words = ["--host", HOST, "--ws-port", str(port), "--broker", f"mqtt://{HOST}:{mqtt}"]
        programs.append(subprocess.Popen([sys.executable, "-m", "ws_gateway", *words], cwd=folder))
        time.sleep(2)
        try:
            yield port, programs[1], heard, folder
        finally:
            bus.close()
            for program in reversed(programs):
                program.terminate()
                program.wait(20)


def resident_kib(process):
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


async def idle(connections):
    with running() as (port, process, _, _):
        before = resident_kib(process)
        clients = []
        for _ in range(0, connections, 100):
            clients += await asyncio.gather(*(connect(port) for _ in range(100)))
        await asyncio.sleep(25)  # one round of pings
        lost = sum(client.lost for client in clients)
        each = (resident_kib(process) - before) / connections
        print(f"idle: {connections} connections, {lost} lost after 25 s, {each:.1f} KiB each")


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
    with running() as (port, process, heard, folder):
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
        strange = [t for t in heard if not t.startswith((OWN_STREAM, "neuroone/v1/local/services/"))]
        for topic in heard:
            topics.parse(topic)
        files = [f for f in folder.rglob("*") if f.is_file() and f.parent.name not in ("broker",)]
        print(
            f"hostile: {frames} frames, {connects} reconnects, gateway runs: {process.poll() is None}, "
            f"good client kept: {not good.lost}, its "
            f"readings {arrived.count('good')} of {sent_good}, topics outside: {len(strange)}, "
            f"files: {len(files)}, memory {resident_kib(process) // 1024} MiB"
        )


async def stalled(seconds):
    with running() as (port, process, _, _):
        sent_at, latencies, started_kib = {}, [], resident_kib(process)

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
        peak = 0
        for _ in range(seconds):
            for number, student in enumerate(students):
                sent_at[number] = time.perf_counter()
                student.transport.write(frames[number])
                await asyncio.sleep(1 / 210)
            peak = max(peak, resident_kib(process))
        stuck.transport.resume_reading()
        await asyncio.sleep(7)
        latencies.sort()
        print(
            f"stalled: 200 students, 49 dashboards, {len(latencies)} frames of {200 * 49 * seconds}, "
            f"p50 {latencies[len(latencies) // 2]:.1f} ms, p99 {latencies[int(len(latencies) * 0.99)]:.1f} ms, "
            f"stalled one evicted: {stuck.lost}, memory {started_kib // 1024} to {peak // 1024} MiB"
        )


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    what = {"idle": (idle, 10_000), "hostile": (hostile, 100_000), "stalled": (stalled, 30)}
    run, number = what[sys.argv[1]]
    uvloop.run(run(int(sys.argv[2]) if len(sys.argv) > 2 else number))


if __name__ == "__main__":
    main()

"""What the gateway bears: idle connections, hostile frames, a stalled dashboard.

    python -m bench.gateway_limits idle [CONNECTIONS]
    python -m bench.gateway_limits hostile [FRAMES]
    python -m bench.gateway_limits stalled [SECONDS]
    python -m bench.gateway_limits flood [CONNECTIONS] [SECONDS]
    python -m bench.gateway_limits refused [REQUESTS]
    python -m bench.gateway_limits return [CONNECTIONS]
    python -m bench.gateway_limits silent [SOCKETS]
    python -m bench.gateway_limits tries [SECONDS] [RATE_HZ]

Each runs a real gateway on a real broker, ``hostile`` with a recorder, and prints a line for each measurement; the exit
code says whether it holds what is promised.
"""

import asyncio
import contextlib
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

from bench.gateway import HOST, Client, connect, free_port, text_frame, wait_until_open
from neuroone.contract import topics
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up import brokers
from tests.support.refusals import JUDGED, LARGE, PARSED, request
from tests.support.waiting import wait_for

OWN_STREAM = "neuroone/v1/local/streams/"
IDLE_PROCESSES = 4
IDLE_S = 45
"""Two rounds of pings."""
IDLE_MAX_KIB = 20
STALLED_MAX_MS = 50
FLOODS = {
    "pings": b"\x89\x80" + bytes(4),
    "full pings": b"\x89\xfd" + bytes(4 + 125),
    "pongs": b"\x8a\x80" + bytes(4),
    "empty fragments": b"\x00\x80" + bytes(4),
    "one-byte fragments": b"\x00\x81" + bytes(5),
    "empty messages": b"\x81\x80" + bytes(4),
    "readings": text_frame('{"Nome":"flood","Codigo":"F","Att":5}'),
}
FLOOD_BYTES = 256 * 1024
RATE_HZ = 4
ROUND_TRIP_MAX_MS = 100
DASHBOARD_MAX_S = 1
REFUSED_MAX_MIB = 30
RETURN_MAX_S = 10
REFUSED_AT_ONCE = 50
LATE_S = 10
TRIES_UNDER_WAY_MAX = 500
"""Connections of the client that connects as often as it can: a laptop's tool has so many at a time."""


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


async def flood(connections, seconds):
    """Whether others notice nothing of connections that send one kind of frame as fast as they can."""
    held = True
    with running() as (port, _, _):
        for kind in FLOODS:
            for count in sorted({1, connections}):
                command = [sys.executable, "-m", "bench.gateway_limits", "pour", str(count), str(port)]
                with subprocess.Popen([*command, kind.replace(" ", "_")], stdout=subprocess.PIPE) as pouring:  # noqa: ASYNC220
                    await asyncio.to_thread(pouring.stdout.readline)
                    latencies, joined_s = await others(port, seconds)
                    pouring.kill()
                p99 = sorted(latencies)[int(len(latencies) * 0.99)]
                held &= p99 <= ROUND_TRIP_MAX_MS and max(joined_s) <= DASHBOARD_MAX_S
                print(
                    f"flood: {count:3} connections with {kind:18}: a student's round trip p99 {p99:7.1f} ms, "
                    f"a new dashboard in within {max(joined_s):5.2f} s",
                    flush=True,
                )
    return held


async def others(port, seconds):
    """Latencies of five students' readings in ms, and how long new dashboards took to get in."""
    sent_at, latencies, joined_s = {}, [], []

    def hear(text):
        reading = json.loads(text)
        sent_s = sent_at.pop((reading["Nome"], reading["Att"]), None)
        if sent_s is not None:
            latencies.append((time.perf_counter() - sent_s) * 1000)

    async def join():
        began_s, heard = time.perf_counter(), asyncio.Event()
        late = await connect(port, lambda _: heard.set())
        late.transport.write(text_frame("dash"))
        late.transport.write(text_frame("?"))  # answered with an error
        await heard.wait()
        joined_s.append(time.perf_counter() - began_s)
        late.transport.abort()

    dashboard, students = await connect(port, hear), [await connect(port) for _ in range(5)]
    dashboard.transport.write(text_frame("dash"))
    joining, begin_s, sent = [], time.perf_counter(), 0
    for number in range((seconds + 1) * RATE_HZ):
        for place, student in enumerate(students):
            if number >= RATE_HZ:  # in the first second their streams begin
                sent_at[f"good{place}", number % 100] = time.perf_counter()
                sent += 1
            frame = json.dumps({"Nome": f"good{place}", "Codigo": "G", "Att": number % 100})
            student.transport.write(text_frame(frame))
            await asyncio.sleep(max(0, begin_s + (number + (place + 1) / 5) / RATE_HZ - time.perf_counter()))
        if number % RATE_HZ == 0:
            joining.append(asyncio.create_task(join()))
    await asyncio.sleep(1)
    latencies += [10_000.0] * (sent - len(latencies))
    _, late = await asyncio.wait(joining, timeout=LATE_S)
    for task in late:
        task.cancel()
    joined_s += [10.0] * (len(joining) - len(joined_s))
    for each in (dashboard, *students):
        each.transport.abort()
    return latencies, joined_s


async def pour(connections, port, kind):
    """Send frames of one kind as fast as the gateway takes them, and read what it answers."""
    frame = FLOODS[kind.replace("_", " ")]
    first = b"\x01\x80" + bytes(4) if "fragments" in kind else b""
    loop, blob = asyncio.get_running_loop(), frame * (FLOOD_BYTES // len(frame))

    async def one():
        while True:
            client = await connect(port)
            client.transport.write(first)
            while not client.lost:
                if client.transport.get_write_buffer_size() < FLOOD_BYTES:
                    client.transport.write(blob)
                await asyncio.sleep(0.01)

    tasks = [loop.create_task(one()) for _ in range(connections)]
    await asyncio.sleep(1)
    print("pouring", flush=True)
    await asyncio.wait(tasks)


async def refused(requests):
    """Whether refused requests of every kind leave no memory behind, and each is answered."""
    held = True

    async def ask(port, sent):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(sent)
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await reader.readline()
            await reader.read()
        writer.close()
        return answer[9:12].decode()

    with running() as (port, process, _):
        begin_kib = resident_kib(process)
        for name, (_, line, headers) in {**PARSED, **JUDGED}.items():
            before_kib, answers = resident_kib(process), set()
            refused_request = request(line, headers, LARGE)
            for _ in range(0, requests, REFUSED_AT_ONCE):
                answers |= set(await asyncio.gather(*(ask(port, refused_request) for _ in range(REFUSED_AT_ONCE))))
            grown_mib = (resident_kib(process) - before_kib) / 1024
            held &= grown_mib <= REFUSED_MAX_MIB and all(answers)
            print(f"refused: {requests} of {name:30} {' '.join(sorted(answers)):12} {grown_mib:+6.1f} MiB", flush=True)
        all_mib = (resident_kib(process) - begin_kib) / 1024
        print(f"refused: all of them {all_mib:+.1f} MiB")
    return held and all_mib <= REFUSED_MAX_MIB


async def come_back(connections):
    """Whether a school gets in whose phones all come back within two seconds."""

    async def come(port, after_s):
        await asyncio.sleep(after_s)
        began_s = time.perf_counter()
        client = await connect(port)
        return client, time.perf_counter() - began_s

    with running() as (port, _, _):
        coming = [come(port, 2 * number / connections) for number in range(connections)]
        came = await asyncio.gather(*coming, return_exceptions=True)
        entered = [each[1] for each in came if isinstance(each, tuple)]
        print(f"return: {len(entered)} of {connections} in, the slowest after {max(entered):.2f} s")
        return len(entered) == connections and max(entered) <= RETURN_MAX_S


async def silent(sockets):
    """Whether a client gets in beside that many silent ones of its address: clients, and sockets without a request."""
    with running() as (port, _, _):
        script = [sys.executable, "-m", "bench.gateway_limits", "hold", str(sockets), str(port)]
        with subprocess.Popen(script, stdout=subprocess.PIPE) as holding:  # noqa: ASYNC220
            await asyncio.to_thread(holding.stdout.readline)
            latencies, joined_s = await others(port, 5)
            holding.kill()
    print(f"silent: {sockets} silent sockets; p99 {max(latencies):.1f} ms, a new dashboard in {max(joined_s):.2f} s")
    return max(latencies) <= ROUND_TRIP_MAX_MS and max(joined_s) <= DASHBOARD_MAX_S


async def tries(seconds, rate_hz):
    """Whether a client gets in beside one of its address that connects as often as it can, and at once afterwards."""
    with running() as (port, process, _):
        script = [sys.executable, "-m", "bench.gateway_limits", "try", str(seconds + 5), str(rate_hz), str(port)]
        with subprocess.Popen(script, stdout=subprocess.PIPE) as trying:  # noqa: ASYNC220
            await asyncio.to_thread(trying.stdout.readline)
            latencies, joined_s = await others(port, seconds)
            tried, answered = map(int, (await asyncio.to_thread(trying.stdout.readline)).split())
        _, after_s = await others(port, 5)
        memory_mib = resident_kib(process) // 1024
    p99 = sorted(latencies)[int(len(latencies) * 0.99)]
    print(
        f"tries: {tried} in {seconds + 5} s, {answered} answered, memory {memory_mib} MiB; "
        f"a student's round trip p99 {p99:.1f} ms, {len(joined_s)} new dashboards in within {max(joined_s):.2f} s, "
        f"afterwards within {max(after_s):.2f} s"
    )
    return max(joined_s) <= DASHBOARD_MAX_S and max(after_s) <= DASHBOARD_MAX_S


async def connect_often(seconds, rate_hz, port):
    """Connect at a rate, as far as the gateway and this computer come along, and leave after the handshake's answer."""
    begin_s, tried, answered, under_way = time.monotonic(), 0, 0, set()

    async def once():
        nonlocal answered
        with contextlib.suppress(OSError):
            client = await connect(port)
            answered += 1
            client.transport.abort()

    print("trying", flush=True)
    while (now_s := time.monotonic() - begin_s) < seconds:
        for _ in range(min(int(now_s * rate_hz) - tried, TRIES_UNDER_WAY_MAX - len(under_way))):
            task = asyncio.create_task(once())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            tried += 1
        await asyncio.sleep(0.005)
    print(tried, answered, flush=True)


async def hold(sockets, port):
    """Open silent clients, as many as the gateway lets in, and go on trying."""
    clients, refused_in_a_row = [], 0
    while len(clients) < sockets and refused_in_a_row < 5:
        came = await asyncio.gather(*(connect(port) for _ in range(100)), return_exceptions=True)
        opened = [each for each in came if isinstance(each, Client)]
        clients += opened
        refused_in_a_row = 0 if opened else refused_in_a_row + 1
    await asyncio.sleep(11)  # as long as they must be silent to make room
    print(len(clients), flush=True)
    await asyncio.sleep(600)


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    what = {
        "idle": (idle, 10_000),
        "sit": (sit, 0, 0),
        "hostile": (hostile, 100_000),
        "stalled": (stalled, 30),
        "flood": (flood, 20, 10),
        "pour": (pour, 0, 0, ""),
        "refused": (refused, 1000),
        "return": (come_back, 5000),
        "silent": (silent, 20_000),
        "tries": (tries, 120, 3000),
        "try": (connect_often, 0, 0, 0),
        "hold": (hold, 0, 0),
    }
    run, *numbers = what[sys.argv[1]]
    given = [int(word) if word.isdecimal() else word for word in sys.argv[2:]]
    sys.exit(0 if uvloop.run(run(*given, *numbers[len(given) :])) else 1)


if __name__ == "__main__":
    main()

"""How much memory a reverse proxy needs for each WebSocket: that of compose.yaml, or nginx with the site of deploy.

    python -m bench.proxy_memory [--connections 8000] [--seconds 20] [--image NAME] [--tls] [-e NAME=VALUE ...]
    python -m bench.proxy_memory --nginx

It starts the proxy with the files of deploy and the settings of compose.yaml, a WebSocket server behind it, and opens
the connections: idle, then each with a message a second that is answered, then after all were cut and came back at
once, when memory that was used once is used again. ``-e`` sets another variable. Caddy needs a Docker engine;
``--image`` may be any that has it. The exit code says whether what is allowed is enough.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
BATCH = 100
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"
)
MESSAGE = b"\x81\xfe\x00\xc8" + bytes(4) + b"x" * 200
"""As long as a reading."""
SETTLE_S = 5.0
MIB = 1024 * 1024
NGINX_MAX_BYTES = 512 * MIB
NGINX_PORTS = 18080, 18081
"""No client's, as one between 32768 and 61000 may be."""


class Server(asyncio.Protocol):
    """Answers the handshake, and each piece of what follows with a short message."""

    def connection_made(self, transport):
        self.transport, self.is_open = transport, False

    def data_received(self, data):
        self.transport.write(b"\x81\x02ok" if self.is_open else ANSWER)
        self.is_open = True


class Client(asyncio.Protocol):
    def __init__(self, lost):
        self.open = asyncio.get_running_loop().create_future()
        self.lost = lost

    def connection_made(self, transport):
        self.transport = transport
        transport.write(HANDSHAKE)

    def data_received(self, data):
        if not self.open.done():
            self.open.set_result(data.startswith(b"HTTP/1.1 101"))

    def connection_lost(self, error):
        self.lost.append(error)
        if not self.open.done():
            self.open.set_result(False)


async def serve(port):
    server = await asyncio.get_running_loop().create_server(Server, "", port, backlog=4096)
    await server.serve_forever()


def docker(*words):
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


class Caddy:
    """The container of the proxy, and one of a server behind it."""

    def start(self, given):
        self.name = f"proxy-memory-{os.getpid()}"
        words = ("--project-directory", str(ROOT), "--profile", "tls", "config", "--format", "json")
        service = json.loads(docker("compose", *words))["services"]["proxy_tls" if given.tls else "proxy"]
        self.limit_bytes = int(service["mem_limit"])
        docker("network", "create", self.name)
        own = ("--network", self.name, "--ulimit", f"nofile={service['ulimits']['nofile']}")
        code = (*own, "--network-alias", "ws_gateway", "-v", f"{__file__}:/bench.py:ro", "python:3.13.9-slim", "python")
        docker("run", "-d", "--name", f"{self.name}-server", *code, "/bench.py", "serve", "8080")
        image = given.image or service["image"]
        words = [*own, "--entrypoint", service["entrypoint"][0]]
        for volume in service["volumes"]:
            if volume["type"] == "bind":
                words += ["-v", f"{volume['source']}:{volume['target']}:ro"]
        for name, value in {**service["environment"], **dict(each.split("=", 1) for each in given.e)}.items():
            words += ["-e", f"{name}={value}"]
        docker("run", "-d", "--name", f"{self.name}-proxy", *words, image, *service["entrypoint"][1:])
        address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        self.host = docker("inspect", "-f", address, f"{self.name}-proxy")
        self.port = 443 if given.tls else 8080

    def memory_bytes(self):
        """Of the container as the engine counts it for its limit, with the kernel's; and the program's alone."""
        name = f"{self.name}-proxy"
        used = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", name).split(" / ")[0]
        unit = {"B": 1, "KiB": 1024, "MiB": MIB, "GiB": 1024 * MIB}[used.lstrip("0123456789.")]
        status = Path(f"/proc/{docker('inspect', '-f', '{{.State.Pid}}', name)}/status").read_text(encoding="ascii")
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
        return float(used.rstrip("KMGiB")) * unit, int(resident) * 1024

    def end(self):
        for name in (f"{self.name}-proxy", f"{self.name}-server"):
            subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)
        docker("network", "rm", self.name)


class Nginx:
    """nginx of this machine with the site of deploy and the limits that it names, and a server behind it."""

    host, limit_bytes = LOOPBACK, NGINX_MAX_BYTES

    def start(self, given):
        self.port, behind = NGINX_PORTS
        site = (ROOT / "deploy/nginx/neuroone.conf").read_text(encoding="utf-8")
        connections, files = re.findall(r"(worker_rlimit_nofile \d+;|worker_connections \d+;)", site)
        site = site.replace("listen [::]:80;", "").replace("listen 80", f"listen {LOOPBACK}:{self.port}")
        site = site.replace("127.0.0.1:8080", f"{LOOPBACK}:{behind}")
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "nginx.conf"
        head = f"daemon off; user root; worker_processes auto; {files} pid {file}.pid; error_log {file}.log;"
        file.write_text(f"{head} events {{ {connections} }}\nhttp {{\n{site}\n}}\n", encoding="utf-8")
        self.server = subprocess.Popen([sys.executable, __file__, "serve", str(behind)])
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.nginx = subprocess.Popen([program, "-e", f"{file}.log", "-c", str(file)])

    def memory_bytes(self):
        """Of all its processes, each page once; without the kernel's."""
        pid = self.nginx.pid
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        text = "".join(Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii") for each in (pid, *workers))
        used = 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return used, used

    def end(self):
        for each in (self.nginx, self.server):
            each.terminate()
            each.wait()
        self.folder.cleanup()


async def connect(proxy, lost, tls):
    name = {"ssl": tls, "server_hostname": "localhost"} if tls else {}
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(lost), proxy.host, proxy.port, **name)
    assert await client.open, "the proxy refused a connection"
    return client


async def connect_all(proxy, given, lost, tls):
    clients = []
    for start in range(0, given.connections, BATCH):
        number = min(BATCH, given.connections - start)
        clients += await asyncio.gather(*(connect(proxy, lost, tls) for _ in range(number)))
    await asyncio.sleep(SETTLE_S)
    return clients


async def measure(given, proxy):
    tls = None
    if given.tls:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    deadline_s = time.monotonic() + 60
    while True:
        try:
            (await connect(proxy, [], tls)).transport.abort()
            break
        except (OSError, AssertionError):
            assert time.monotonic() < deadline_s, "the proxy does not start"
            await asyncio.sleep(0.2)
    await asyncio.sleep(SETTLE_S)
    before, lost = proxy.memory_bytes(), []
    clients = await connect_all(proxy, given, lost, tls)
    report("idle", given, before, proxy.memory_bytes())
    began_s, sent, total = time.perf_counter(), 0, given.connections * given.seconds
    while sent < total:
        due = min(int((time.perf_counter() - began_s) * given.connections) + 1, total)
        for each in range(sent, due):
            clients[each % given.connections].transport.write(MESSAGE)
        sent = due
        await asyncio.sleep(0.01)
    report("a message a second", given, before, proxy.memory_bytes())
    number_lost = len(lost)
    for client in clients:
        client.transport.abort()
    clients = await connect_all(proxy, given, lost, tls)
    after = proxy.memory_bytes()
    report("all came back at once", given, before, after)
    print(f"connections lost: {number_lost}; limit: {proxy.limit_bytes / MIB:.0f} MiB")
    return not number_lost and after[0] < proxy.limit_bytes


def report(what, given, before, after):
    whole, program = ((b - a) / given.connections / 1024 for a, b in zip(before, after, strict=True))
    print(
        f"{what}: {given.connections} connections, {after[0] / MIB:.0f} MiB, "
        f"{whole:.1f} KiB a connection, {program:.1f} KiB of them the program's",
        flush=True,
    )


def main():
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2])))
        return
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--connections", type=int, default=8000)
    options.add_argument("--seconds", type=int, default=20)
    options.add_argument("--image", help="default: that of compose.yaml")
    options.add_argument("--tls", action="store_true")
    options.add_argument("--nginx", action="store_true")
    options.add_argument("-e", action="append", default=[], metavar="NAME=VALUE")
    given = options.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    proxy = Nginx() if given.nginx else Caddy()
    try:
        proxy.start(given)
        is_enough = asyncio.run(measure(given, proxy))
    finally:
        proxy.end()
    sys.exit(0 if is_enough else 1)


if __name__ == "__main__":
    main()

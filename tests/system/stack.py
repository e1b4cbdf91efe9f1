"""The stack of compose.yaml as its own project in a real Docker engine, and its clients."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from neuroone.contract.messages import BANDS
from neuroone.mqtt.address import BrokerAddress
from tests.support.brokers import LOOPBACK, free_port
from tests.support.repositories import Origin
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
BUILD_AND_START_S = 600
WAIT_S = 60.0
HEADER = "Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma"


@dataclass(frozen=True)
class Stack:
    """One compose project on free ports of this machine, from the checkout in ``root``."""

    project: str
    root: Path
    origin: Origin
    ws_port: int = field(default_factory=free_port)
    mqtt_port: int = field(default_factory=free_port)
    https_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)

    def compose(self, *words: str, check: bool = True, timeout_s: float = 120) -> str:
        """Run a docker compose command on this stack; return its output."""
        profiles = ("--profile", "headset", "--profile", "sim", "--profile", "tls")
        return self._run(["docker", "compose", *profiles, *words], check=check, timeout_s=timeout_s)

    def follow(self, heading: str, **paths: Path) -> str:
        """Run the commands under a heading of docs/how-to/server.md, with other ``paths``; return their output."""
        text = (self.root / "docs/how-to/server.md").read_text(encoding="utf-8")
        section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        commands = "".join(re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
        assert commands
        for word, path in paths.items():
            commands = commands.replace(f"/opt/{word}", str(path))
        return self._run(["sh", "-e", "-c", commands], timeout_s=BUILD_AND_START_S)

    def _run(self, command: list[str], *, check: bool = True, timeout_s: float) -> str:
        settings = {
            "COMPOSE_PROJECT_NAME": self.project,
            "NEUROONE_REGISTRY": f"{self.project}/",
            "NEUROONE_WS_PORT": str(self.ws_port),
            "NEUROONE_MQTT_PORT": str(self.mqtt_port),
            "NEUROONE_HTTPS_PORT": str(self.https_port),
            "NEUROONE_HTTP_PORT": str(self.http_port),
        }
        done = subprocess.run(
            command,
            cwd=self.root,
            env=os.environ | settings,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_s,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, *words: str) -> None:
        """Build and start services (and what they need); wait until all are healthy."""
        try:
            self.compose("up", "-d", "--build", "--wait", *words, timeout_s=BUILD_AND_START_S)
        except AssertionError:
            print(self.compose("logs", "--tail", "50", check=False))
            raise

    def down(self) -> None:
        """Remove everything of it."""
        self.compose("down", "--volumes", "--remove-orphans", check=False, timeout_s=120)
        tags = [self.image(service) for service in ("ws-gateway", "csv-recorder", "serial-bridge")]
        images = [*tags, *(each.replace(":local", ":previous") for each in tags)]
        subprocess.run(["docker", "rmi", *images], capture_output=True, check=False)

    def image(self, service: str) -> str:
        """Return the name of a service's image."""
        return f"{self.project}/neuroone-{service}:local"

    def shown(self) -> dict[str, str]:
        """Return what the operator's command prints: the dashboards' address and the logins."""
        lines = self.compose("run", "--rm", "secrets", "--show").splitlines()
        return {name.split()[0]: value.strip() for name, value in (line.split(":", 1) for line in lines if ":" in line)}

    def token(self) -> str:
        """Return the dashboards' token."""
        return self.shown()["Dashboards"].partition("#token=")[2]

    def url(self, token: str | None = None, path: str = "/") -> str:
        """Return the WebSocket address without TLS."""
        return f"ws://127.0.0.1:{self.ws_port}{path}" + (f"?token={token}" if token else "")

    def topics(self, filter: str, seconds: int = 3) -> list[tuple[str, dict[str, Any]]]:
        """Return what mosquitto_sub receives on a topic filter in some seconds: topics and payloads."""
        subscribe = ("mosquitto_sub", "-t", filter, "-v", "-W", str(seconds))
        shown = self.compose("exec", "-T", "mosquitto", *subscribe, check=False)
        return [
            (topic, json.loads(payload)) for topic, _, payload in (line.partition(" ") for line in shown.splitlines())
        ]

    def recorded(self, name: str) -> str:
        """Read a file in the recorder's volume; return an empty text if there is none yet."""
        return self.compose("exec", "-T", "csv_recorder", "cat", f"/data/{name}", check=False)

    def rows(self, name: str) -> list[str]:
        """Read the rows of a student's CSV file, without the header."""
        return self.recorded(f"{name}.csv").splitlines()[1:]

    def kill(self, service: str, *command: str) -> None:
        """Kill the service's program, or run what kills it; wait until its container was restarted and is healthy."""
        started = self._started(service)
        self.compose("exec", "-T", service, *(command or ("sh", "-c", "kill -9 -1")), check=False)
        wait_for(lambda: self._started(service) != started, f"restart of {service}", WAIT_S)
        self.wait_healthy(service)

    def wait_healthy(self, service: str) -> None:
        """Wait until the service runs and, where it has a health check, is healthy."""
        wait_for(lambda: self._state(service) in ("running", "healthy"), f"health of {service}", WAIT_S)

    def _state(self, service: str) -> str:
        form = "{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}"
        return self._inspect(service, form)

    def _started(self, service: str) -> str:
        return self._inspect(service, "{{.State.Running}} {{.State.StartedAt}}")

    def _inspect(self, service: str, form: str) -> str:
        command = ["docker", "inspect", "-f", form, f"{self.project}-{service}-1"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def copy_of_checkout(to: Path) -> Path:
    """Copy this project like a fresh clone, without generated files; a test may change the copy."""
    made = (".*", "__pycache__", "node_modules", "recordings")
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*made))
    shutil.copy(ROOT / ".dockerignore", to)
    return to


def skip_without_engine() -> None:
    """Skip the test if no Docker engine with compose answers."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers on this machine")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("this machine's Docker has no compose plugin")


def opening(url: str, tls: ssl.SSLContext | None, *, host: str = LOOPBACK, **options: Any) -> connect:
    """Connect to this machine, whatever name the address has: a name lookup would leave threads behind."""
    return connect(url, ssl=tls, host=host, **options)


class Phone:
    """A student's app that speaks neuroone.v1: keeps each reading until its ack, and comes back by itself."""

    def __init__(
        self, url: str, name: str, *, code: str = "A", tls: ssl.SSLContext | None = None, host: str = LOOPBACK
    ) -> None:
        self.name = name
        self._url = url
        self._tls = tls
        self._host = host
        self._hello = {"role": "student", "name": name, "code": code, "session": secrets.token_hex(8)}
        self._kept: dict[int, str] = {}
        self._next = 0
        self._connection: Any = None

    @property
    def sent(self) -> list[str]:
        """Return the rows that must be in the CSV file."""
        return [row(seq) for seq in range(self._next)]

    @property
    def is_done(self) -> bool:
        """Return True if everything was acknowledged."""
        return not self._kept

    @property
    def waiting(self) -> int:
        """Return how many readings were not acknowledged yet."""
        return len(self._kept)

    async def measure(self) -> None:
        """Make one more reading."""
        values = {"seq": self._next, "attention": self._next % 101, "meditation": 1, **dict.fromkeys(BANDS, self._next)}
        self._kept[self._next] = json.dumps({"type": "reading", **values})
        self._next += 1
        if self._connection is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._connection.send(self._kept[self._next - 1])

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, InvalidHandshake, ConnectionClosed):
                async with opening(
                    self._url, self._tls, host=self._host, subprotocols=[Subprotocol("neuroone.v1")], open_timeout=5
                ) as connection:
                    await connection.send(json.dumps({"type": "hello", **self._hello}))
                    self._connection = connection
                    for reading in list(self._kept.values()):
                        await connection.send(reading)
                    async for said in connection:
                        self._on_frame(json.loads(said))
            self._connection = None
            await asyncio.sleep(0.3)

    def _on_frame(self, said: dict[str, Any]) -> None:
        if said["type"] == "ack":
            for seq in [seq for seq in self._kept if seq <= said["seq"]]:
                del self._kept[seq]


@contextlib.asynccontextmanager
async def measuring(phones: Sequence[Phone], period_s: float) -> AsyncIterator[None]:
    """Let all phones measure meanwhile; then wait until each has every reading acknowledged."""
    running = [asyncio.create_task(phone.run()) for phone in phones]

    async def measure() -> None:
        while True:
            await asyncio.gather(*(phone.measure() for phone in phones))
            await asyncio.sleep(period_s)

    clock = asyncio.create_task(measure())
    try:
        yield
        clock.cancel()
        async with asyncio.timeout(WAIT_S):
            while not all(phone.is_done for phone in phones):  # noqa: ASYNC110 (a phone sets no event)
                await asyncio.sleep(0.1)
    finally:
        for task in (clock, *running):
            task.cancel()
        await asyncio.gather(clock, *running, return_exceptions=True)


def row(seq: int) -> str:
    """Return the CSV row of a phone's reading."""
    return ",".join(map(str, (seq % 101, 1, *[seq] * 8)))


@contextlib.contextmanager
def mqtt_client(
    url: str, *, host: str = LOOPBACK, anonymous: bool = False, ws_port: int | None = None
) -> Iterator[tuple[mqtt.Client, list[str]]]:
    """Connect a third party's MQTT 5 client; yield it and the broker's answers as texts.

    ``ws_port`` is the proxy's, for a client that speaks MQTT over WebSocket.
    """
    address = BrokerAddress.parse(url)
    transport: Literal["tcp", "websockets"] = "tcp" if ws_port is None else "websockets"
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, transport=transport)
    client.ws_set_options(path="/mqtt")
    answers: list[str] = []
    client.on_connect = lambda client, userdata, flags, reason, properties: answers.append(f"connect: {reason}")
    client.on_publish = lambda client, userdata, mid, reason, properties: answers.append(f"publish: {reason}")
    client.on_message = lambda client, userdata, message: answers.append(f"message: {message.topic}")
    if not anonymous:
        client.username_pw_set(address.user, address.password)
    client.connect(host, ws_port or address.port)
    client.loop_start()
    try:
        wait_for(lambda: answers, "answer of the broker")
        yield client, answers
    finally:
        client.disconnect()
        client.loop_stop()


def recordings_listed(server: str, token: str, query: str = "") -> str:
    """Return the gateway's list of recordings, read with the token."""
    with urllib.request.urlopen(f"{server}/recordings?token={token}&{query}", timeout=WAIT_S) as answer:
        return str(answer.read().decode("utf-8"))


def certificate_authority(stack: Stack) -> ssl.SSLContext:
    """Start the proxy for wss as documented; trust only the authority that it made for itself."""

    def root() -> str | None:
        try:
            stack.follow("wss:// and https://")
        except AssertionError:  # the proxy has not made it yet
            return None
        return (stack.root / "root.crt").read_text(encoding="ascii")

    return ssl.create_default_context(cadata=wait_for(root, "root certificate", WAIT_S))

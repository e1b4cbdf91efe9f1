"""The port of /metrics: whoever connects, the service goes on and Prometheus is answered."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from neuroone.contract.errors import SettingsError
from neuroone.service import metrics_server as module
from neuroone.service.metrics_server import CONNECTIONS_MAX, HEAD_MAX_BYTES, MetricsServer
from tests.support.brokers import LOOPBACK, free_port
from tests.support.gateways import happens
from tests.support.waiting import POLL_S

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
WITHIN_S = 20.0


class World:
    """A server in this event loop; ``page`` makes what it shows."""

    def __init__(self) -> None:
        self.port = free_port()
        self.pages = 0
        self.fault: Exception | None = None
        self.server = MetricsServer(LOOPBACK, self.port, self.page)
        self.opened: list[socket.socket] = []

    def page(self) -> bytes:
        self.pages += 1
        if self.fault is not None:
            raise self.fault
        return b"x_total 1.0\n"

    async def connect(self) -> socket.socket:
        connection = socket.socket()
        self.opened.append(connection)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (LOOPBACK, self.port))
        return connection

    async def ask(self, request: bytes = GET) -> bytes:
        """Send a request and return all of the answer."""
        connection = await self.connect()
        await asyncio.get_running_loop().sock_sendall(connection, request)
        return await self.rest(connection)

    async def rest(self, connection: socket.socket) -> bytes:
        loop, answer = asyncio.get_running_loop(), b""
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionResetError):
                while received := await loop.sock_recv(connection, 65536):
                    answer += received
        return answer

    @property
    def connections(self) -> int:
        return len(self.server._connections)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.server.listen()
    serving = asyncio.create_task(world.server.serve())
    yield world
    assert not serving.done()
    serving.cancel()
    await asyncio.wait([serving])
    for connection in world.opened:
        connection.close()


async def test_it_answers_as_prometheus_expects(world):
    head, _, body = (await world.ask()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert b"Content-Length: 12" in head
    assert body == b"x_total 1.0\n"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /healthz HTTP/1.1", b"200"),
        (b"GET /metrics?name=x HTTP/1.0", b"200"),
        (b"HEAD /metrics HTTP/1.1", b"200"),
        (b"GET /other HTTP/1.1", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"GET /metrics", b"400"),
        (b"GET  /metrics HTTP/1.1", b"400"),
        (b"GET /metrics HTTP/2", b"400"),
        (b"", b"400"),
        (b"\x16\x03\x01\xff\x00", b"400"),
    ],
)
async def test_every_request_has_an_answer(world, request_line, status):
    answer = await world.ask(request_line + b"\r\n\r\n")
    assert answer.split(b" ")[1] == status
    assert answer.endswith(b"\r\n\r\n") == request_line.startswith(b"HEAD")


async def test_silent_clients_keep_nobody_out(world):
    """However many: the oldest makes room."""
    silent = [await world.connect() for _ in range(3 * CONNECTIONS_MAX)]
    for connection in silent[::2]:
        await asyncio.get_running_loop().sock_sendall(connection, b"GET /met")
    assert b"x_total" in await world.ask()
    assert world.connections <= CONNECTIONS_MAX
    assert await world.rest(silent[0]) == b""


async def test_a_silent_client_is_let_go_after_a_while(world, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    assert await world.rest(await world.connect()) == b""
    assert world.connections == 0


async def test_a_client_that_sends_a_byte_now_and_then_gains_no_time(world, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    connection = await world.connect()
    ended = asyncio.create_task(world.rest(connection))
    while not ended.done():
        with contextlib.suppress(OSError):
            connection.send(b"a")
        await asyncio.wait([ended], timeout=POLL_S)
    assert await ended == b""


async def test_a_client_that_takes_nothing_is_let_go(world, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(world.server, "_make_page", lambda: bytes(50 * 2**20))
    connection = await world.connect()
    connection.send(GET)
    await happens(lambda: world.connections == 1)
    await happens(lambda: world.connections == 0)
    assert b"200 OK" in await world.ask(b"GET /healthz HTTP/1.1\r\n\r\n")


async def test_a_request_without_an_end_is_not_kept(world):
    connection = await world.connect()
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(connection, b"GET /metrics HTTP/1.1\r\nX: " + bytes(2**20))
    answer = await world.rest(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert world.pages == 0


async def test_a_request_as_long_as_may_be_is_answered(world):
    begin = b"GET /metrics HTTP/1.1\r\nX: "
    assert b"x_total" in await world.ask(begin + b"a" * (HEAD_MAX_BYTES - len(begin) - 4) + b"\r\n\r\n")


async def test_clients_that_break_off_harm_nobody(world):
    for sent in (b"", b"GET /metrics", GET, GET + GET):
        connection = await world.connect()
        connection.send(sent)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
        connection.close()
    assert b"x_total" in await world.ask()


async def test_a_fault_in_the_page_is_told_once_and_ends_nothing(world, caplog):
    world.fault = ZeroDivisionError()
    assert [(await world.ask()).split(b" ")[1] for _ in range(3)] == [b"500"] * 3
    assert caplog.text.count("Traceback") == 1
    world.fault = None
    assert b"x_total" in await world.ask()


async def test_a_flood_takes_turns(world):
    """Fifty pages a second at most: the rest of the time is the service's."""
    answers = asyncio.gather(*(world.ask() for _ in range(20)))
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await answers
    assert loop.time() - began_s >= 19 * module.ACCEPT_PERIOD_S


async def test_without_a_free_handle_it_waits_and_goes_on(world, monkeypatch, caplog):
    """The system refuses a connection (EMFILE): the next one is answered."""
    resource: Any = pytest.importorskip("resource")
    monkeypatch.setattr(module, "ACCEPT_AGAIN_S", 0.05)
    connection = socket.socket()
    connection.setblocking(False)
    world.opened.append(connection)
    with contextlib.closing(os.fdopen(os.dup(0), "rb")) as probe:
        lowest_free = probe.fileno()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        await asyncio.get_running_loop().sock_connect(connection, (LOOPBACK, world.port))
        await happens(lambda: "cannot be let in (Too many open files)" in caplog.text)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert b"x_total" in await world.ask()


async def test_a_port_in_use_is_said_in_words(world):
    with pytest.raises(SettingsError) as raised:
        MetricsServer(LOOPBACK, world.port, world.page).listen()
    (words,) = raised.value.faults
    where = f"port {world.port} of {LOOPBACK}"
    assert words == f"--metrics-port: cannot listen on {where} (Address already in use); choose another"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
async def test_an_address_that_is_not_ours_is_said_in_words(host):
    server = MetricsServer(host, free_port(), lambda: b"")
    with pytest.raises(SettingsError, match="--metrics-port: cannot listen"):
        server.listen()


async def test_it_listens_on_ipv6_too():
    server = MetricsServer("::1", free_port(), lambda: b"")
    try:
        server.listen()
    except SettingsError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert server._listener.family == socket.AF_INET6
    server._listener.close()

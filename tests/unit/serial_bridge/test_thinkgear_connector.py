"""The server for programs made for ThinkGear Connector, on a real socket."""

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from serial_bridge import thinkgear_connector
from serial_bridge.headsets.thinkgear import Decoder, encode, encode_raw
from serial_bridge.ports.simulated import second_frame
from serial_bridge.thinkgear_connector import CLIENTS_MAX, Client, ThinkGearConnectorServer
from tests.support.brokers import free_port
from tests.support.waiting import wait_for

SECOND = second_frame(26, (1, 2, 3, 4, 5, 6, 7, 8), 53, 47)


@pytest.fixture
def server() -> Iterator[ThinkGearConnectorServer]:
    server = ThinkGearConnectorServer(free_port())
    server.start()
    yield server
    server.close()


class Program:
    """A program that talks to the server."""

    def __init__(self, server: ThinkGearConnectorServer) -> None:
        self.sock = socket.create_connection(("127.0.0.1", server._port), timeout=5)
        self.received = b""

    def send(self, **request: Any) -> None:
        self.sock.sendall(json.dumps(request).encode())

    def read(self, n: int) -> list[dict[str, Any]]:
        """The next n messages."""
        while self.received.count(b"\r") < n:
            self.received += self.sock.recv(65536)
        *lines, self.received = self.received.split(b"\r", n)
        return [json.loads(line) for line in lines]


@contextmanager
def program(server: ThinkGearConnectorServer) -> Iterator[Program]:
    n = server.counters["tgc_clients"]
    connected = Program(server)
    wait_for(lambda: server.counters["tgc_clients"] > n, "the server's accept")
    try:
        yield connected
    finally:
        connected.sock.close()


def wait_for_format(server: ThinkGearConnectorServer, format: str) -> None:
    wait_for(lambda: any(client.format == format for client in server._clients), format)


def test_json(server):
    """A JSON client receives eSense, bands and poor signal with the Connector's keys, and raw only if it asks."""
    with program(server) as client:
        client.send(appName="test", appKey="0" * 40)
        assert client.read(1) == [{"isAuthorized": True}]
        client.send(enableRawOutput=False, format="Json")
        wait_for_format(server, "Json")
        server.on_events("h", Decoder().feed(encode_raw(-61) + SECOND))
        messages = [message for message in client.read(1) if "status" not in message]
        while not messages:
            messages = [message for message in client.read(1) if "status" not in message]
    assert messages == [
        {
            "eSense": {"attention": 53, "meditation": 47},
            "eegPower": {
                "delta": 1,
                "theta": 2,
                "lowAlpha": 3,
                "highAlpha": 4,
                "lowBeta": 5,
                "highBeta": 6,
                "lowGamma": 7,
                "highGamma": 8,
            },
            "poorSignalLevel": 26,
        }
    ]


def test_raw_and_blinks(server):
    """A client that asks for raw samples gets each, and a blink where one is estimated."""
    with program(server) as client:
        client.send(enableRawOutput=True, format="Json")
        wait_for_format(server, "Json")
        samples = [0] * 64 + [700] * 60 + [0] * 64
        server.on_events("h", Decoder().feed(b"".join(map(encode_raw, samples))))
        found = client.read(len(samples))
        while not any("blinkStrength" in message for message in found):
            found += client.read(1)
    assert [message["rawEeg"] for message in found if "rawEeg" in message][:70] == samples[:70]


def test_binary(server):
    """A binary client gets the headset's own frames."""
    with program(server) as client:
        client.send(enableRawOutput=True, format="BinaryPacket")
        wait_for_format(server, "BinaryPacket")
        server.on_events("h", Decoder().feed(encode_raw(5) + SECOND))
        received = b""
        while len(received) < 8 + len(SECOND):
            received += client.sock.recv(1000)
    assert received == encode_raw(5) + SECOND


def test_scanning(server):
    """Without a headset a JSON client receives once a second that the server scans."""
    with program(server) as client:
        client.send(format="Json")
        assert client.read(1) == [{"poorSignalLevel": 200, "status": "scanning"}]


def test_one_headset_at_a_time(server):
    """While one headset sends, another is not mixed in."""
    with program(server) as client:
        client.send(enableRawOutput=True, format="Json")
        wait_for_format(server, "Json")
        server.on_events("a", Decoder().feed(encode_raw(1)))
        server.on_events("b", Decoder().feed(encode_raw(2)))
        server.on_events("a", Decoder().feed(encode_raw(3)))
        found = [message for message in client.read(3) if "rawEeg" in message]
    assert {1, 3} >= {message["rawEeg"] for message in found}
    assert found


def test_slow_client_is_dropped(server):
    """A client that does not read is dropped; the others are served."""
    with program(server) as slow, program(server) as other:
        slow.send(enableRawOutput=True, format="Json")
        other.send(enableRawOutput=False, format="Json")
        wait_for(lambda: sum(client.format == "Json" for client in server._clients) == 2, "both")
        burst = Decoder().feed(b"".join(map(encode_raw, range(2000))))

        def is_dropped() -> bool:
            server.on_events("h", burst)
            return bool(server.counters["tgc_clients_dropped"])

        wait_for(is_dropped, "end of the slow client", 30)
        server.on_events("h", Decoder().feed(SECOND))
        while "eSense" not in other.read(1)[0]:
            pass


@pytest.mark.parametrize("hostile", [b"\xff\xfe", b"[1,2]", b'"x"', b"{" * 9000, b"\0" * 100, b'{"format":7}', b"]{"])
def test_hostile_requests(hostile):
    """No request raises, and little of it is kept."""
    here, there = socket.socketpair()
    client = Client(here)
    for _ in range(50):
        client.on_received(hostile)
        assert len(client.requests) <= 16384
    client.on_received(b"\r\n")
    here.close()
    there.close()


@pytest.mark.parametrize(
    "malformed",
    [
        b"[" * 4000,
        b'{"a":' * 1500,
        b'{"a":' + b"[" * 4000 + b"]" * 4000 + b"}",
        b'{"enableRawOutput": true, "format": Json}',
        b'{"enableRawOutput": true, "format": "Json"',
        b'{"format": "Json',
        b'{"format": {"format": ["Json"]',
        b'{"n": ' + b"9" * 5000 + b"}",
        b'"\\',
        b"enableRawOutput",
        b"not json",
        b"\xff\x16\x03\x01",
    ],
)
def test_a_request_behind_a_malformed_one_is_obeyed(server, malformed):
    """A malformed request, in its own packet or in one with the next, silences nobody."""
    with program(server) as client, program(server) as other:
        client.sock.sendall(malformed)
        client.send(appName="test", appKey="0" * 40)
        assert client.read(1) == [{"isAuthorized": True}]
        other.send(appName="test", appKey="0" * 40)
        assert other.read(1) == [{"isAuthorized": True}]


@pytest.mark.parametrize("cuts", [(), (1,), (4,), (5,), (3, 6)])
@pytest.mark.parametrize(
    "head", [b"POST / HTTP/1.1\r\n", b"foo /{?a={} HTTP/1.1\r\n", b"GET http://127.0.0.1/ HTTP/1.1\r\n"]
)
def test_http_is_refused(server, head, cuts):
    """A web page cannot ask for data: what begins as HTTP is closed, whatever its body says."""
    request = head + b"Host: 127.0.0.1\r\nContent-Length: 43\r\n\r\n" + b'{"enableRawOutput": true, "format": "Json"}'
    with program(server) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in zip((0, *cuts), (*cuts, len(request)), strict=True):
            client.sock.sendall(request[start:end])
        with suppress(ConnectionResetError):
            assert client.sock.recv(100) == b""
    assert server.counters["tgc_clients_refused"] == 1


def test_more_programs_than_the_server_serves(server):
    """Programs that ask for nothing make room for others; those that are served stay."""
    with ExitStack() as programs:
        first = programs.enter_context(program(server))
        first.send(enableRawOutput=False, format="Json")
        wait_for_format(server, "Json")
        for _ in range(3 * CLIENTS_MAX):
            programs.callback(socket.create_connection(("127.0.0.1", server._port), timeout=5).close)
        last = programs.enter_context(program(server))
        last.send(appName="test", appKey="0" * 40)
        assert last.read(1) == [{"isAuthorized": True}]
        assert server.connected <= CLIENTS_MAX
        server.on_events("h", Decoder().feed(SECOND))
        while "eSense" not in first.read(1)[0]:
            pass


def test_a_program_may_take_a_chunk_for_a_message(server, monkeypatch):
    """A program that parses what one call of recv returns as one message understands all, if it reads in the pauses."""
    whole = chunks = 0
    samples = [encode_raw(n % 1000) for n in range(2048)]
    with program(server) as client:
        client.send(enableRawOutput=True, format="Json")
        wait_for_format(server, "Json")

        def pause(pause_s: float) -> None:
            """Last until the program has read, which on a busy machine takes longer."""
            time.sleep(pause_s)
            while select.select([client.sock], [], [], 0)[0]:
                time.sleep(pause_s)

        monkeypatch.setattr(thinkgear_connector, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
        for at in range(0, len(samples), 64):
            server.on_events("h", Decoder().feed(b"".join(samples[at : at + 64])))
            end = f'{{"rawEeg":{(at + 63) % 1000}}}\r'.encode()
            chunk = b""
            while not chunk.endswith(end):
                chunk = client.sock.recv(4096)
                chunks += 1
                whole += chunk.count(b"\r") == 1
    assert whole >= 0.98 * len(samples)
    assert chunks <= len(samples) + 50


def test_no_blinks_without_contact(server):
    """What looks like a blink while nobody wears the headset is none, until the contact is good again."""
    blink = b"".join(map(encode_raw, [0] * 200 + [700] * 60 + [0] * 200))
    with program(server) as client:
        client.send(enableRawOutput=False, format="Json")
        wait_for_format(server, "Json")
        for poor_signal in (200, 26, 0):
            server.on_events("h", Decoder().feed(encode(bytes([2, poor_signal])) + blink))
        found: list[dict[str, Any]] = []
        while not any("blinkStrength" in message for message in found):
            found += client.read(1)
    found = [message for message in found if "status" not in message]
    assert [next(iter(message.items())) for message in found[:3]] == [
        ("poorSignalLevel", 200),
        ("poorSignalLevel", 26),
        ("poorSignalLevel", 0),
    ]


def test_samples_of_a_frame_with_other_rows(server):
    """Raw samples that come together with other values in one frame are sent too."""
    with program(server) as client:
        client.send(enableRawOutput=True, format="Json")
        wait_for_format(server, "Json")
        server.on_events("h", Decoder().feed(encode(bytes.fromhex("80 02 00 05 80 02 ff fe 02 00"))))
        found = [message for message in client.read(4) if "status" not in message]
    assert found[:3] == [{"rawEeg": 5}, {"rawEeg": -2}, {"poorSignalLevel": 0}]


def test_a_fault_of_the_server_is_told(server, monkeypatch):
    """A server that ends by a fault of its own tells the bridge, which ends with it."""
    reasons: list[str] = []
    failing = ThinkGearConnectorServer(free_port(), reasons.append)
    monkeypatch.setattr(failing, "_queue_scanning", lambda: 1 / 0)
    failing.start()
    wait_for(lambda: reasons, "the reason")
    failing.close()
    assert "--tgc" in reasons[0]


def test_requests_in_pieces():
    """Requests may come joined or cut."""
    here, there = socket.socketpair()
    client = Client(here)
    both = b'{"appName":"x","appKey":"y"}\r\n{"enableRawOutput": true, "format": "Json"}'
    for at in range(len(both)):
        client.on_received(both[at : at + 1])
    assert (client.format, client.wants_raw) == ("Json", True)
    assert b"".join(client.waiting) == b'{"isAuthorized":true}\r'
    here.close()
    there.close()


@pytest.mark.parametrize(
    "filler", [b'{"x":"%b"}' % (b"y" * 8000), b'{"x":1}' * 1100, b'{"enableRawOutput": tru}' * 350]
)
def test_whole_objects_that_are_no_requests_are_not_kept(filler):
    """A request that comes in pieces behind them is obeyed."""
    here, there = socket.socketpair()
    client = Client(here)
    client.on_received(filler)
    assert client.requests == ""
    request = b'{"enableRawOutput": true, "format": "Json", "note": "%b"}' % (b"{}" * 100)
    for piece in (filler + request[:90], request[90:]):
        client.on_received(piece)
    assert client.format == "Json"
    here.close()
    there.close()

"""Pages and downloads on the gateway's own port, beside its WebSockets."""

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from neuroone.up import brokers
from tests.support.brokers import LOOPBACK
from tests.support.gateways import GatewayProgram, Peer
from tests.support.refusals import JUDGED, PARSED, request
from tests.support.waiting import wait_for

pytestmark = pytest.mark.broker

BIG_BYTES = 40 * 1024 * 1024


@pytest.fixture
def gateway(start_broker, tmp_path: Path) -> Iterator[GatewayProgram]:
    broker = start_broker(brokers.NATS)
    peer = Peer(broker)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    (recordings / "Ana.csv").write_bytes(b"Att\n85\n")
    (recordings / "Big.csv").write_bytes(os.urandom(1024) * (BIG_BYTES // 1024))
    program = GatewayProgram(broker, "--recordings", str(recordings), "--token", "secret", "--no-open-here")
    try:
        wait_for(lambda: peer.bus.is_connected, "connection", 10)
        program.start(peer)
        yield program
        program.finish()
    finally:
        peer.bus.close()


def ask(gateway: GatewayProgram, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, gateway.port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_pages_over_http(gateway):
    """GET and HEAD of a page, 304 if it is unchanged, the token for recordings, and 404 at unknown paths."""
    status, headers, body = ask(gateway, "/")
    assert (status, len(body)) == (200, int(headers["Content-Length"]))
    assert ask(gateway, "/?token=secret#x")[2] == body
    assert ask(gateway, "/", "HEAD")[::2] == (200, b"")
    assert ask(gateway, "/", If_None_Match=headers["ETag"])[::2] == (304, b"")
    assert ask(gateway, "/recordings")[0] == 401
    assert ask(gateway, "/recordings", Authorization="Bearer wrong")[0] == 401
    listed = json.loads(ask(gateway, "/recordings", Authorization="Bearer secret")[2])
    assert [file["file"] for file in listed["files"]] == ["Ana.csv", "Big.csv"]
    assert ask(gateway, "/recordings/files/Ana.csv?token=secret")[2] == b"Att\n85\n"
    assert ask(gateway, "/recordings/files/..%2f.token", Authorization="Bearer secret")[0] == 404
    assert ask(gateway, "/nothing")[0] == 404


def test_faulty_requests_are_answered(gateway):
    """And leave no traceback in the log, which the end of the gateway shows."""
    for name, (status, line, headers) in {**PARSED, **JUDGED}.items():
        with socket.create_connection((LOOPBACK, gateway.port), timeout=10) as client:
            client.sendall(request(line, headers))
            assert client.recv(1000).startswith(b"HTTP/1.1 %d " % status), name
    for path in ("/healthz", "/readyz", "/metrics", "/", "/none", "/recordings"):
        assert ask(gateway, path, "HEAD")[2] == b"", path


@pytest.mark.parametrize("path", ["/", "/student", "/page/main.js", "/recordings", "/recordings/files/Ana.csv", "/x"])
def test_a_websocket_on_any_path(gateway, path):
    with connect(f"{gateway.url}{path}?token=secret", proxy=None) as old:
        old.send("dash")
        old.send('{"Nome": "Ana", "Att": 1}')
        assert json.loads(old.recv(10))["Nome"] == "Ana"


def test_a_slow_download(gateway):
    """It takes longer than the time to connect, and arrives whole."""
    with socket.create_connection((LOOPBACK, gateway.port), timeout=20) as slow:
        slow.sendall(b"GET /recordings/files/Big.csv?token=secret HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(6)  # longer than OPEN_TIMEOUT_S: the point of the test
        got = 0
        while piece := slow.recv(1 << 20):
            got += len(piece)
        assert got > BIG_BYTES


def test_a_connection_without_a_request_is_closed(gateway):
    """After 5 s."""
    with socket.create_connection((LOOPBACK, gateway.port), timeout=10) as silent:
        silent.sendall(b"GET / HT")
        try:
            assert silent.recv(1) == b""
        except ConnectionResetError:
            pass


def test_a_download_does_not_delay_the_stop(gateway):
    """SIGTERM in the middle of a download: the gateway ends at once and in good order."""
    with socket.create_connection((LOOPBACK, gateway.port), timeout=20) as slow:
        slow.sendall(b"GET /recordings/files/Big.csv?token=secret HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(1)
        began_s = time.monotonic()
        code, log = gateway.end(signal.SIGTERM)
        assert (code, "Traceback" in log) == (0, False)
        assert time.monotonic() - began_s < 15

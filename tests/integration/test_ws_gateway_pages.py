"""Pages and downloads on the gateway's own port, beside its WebSockets."""

import contextlib
import http.client
import itertools
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
from tests.support.brokers import LOOPBACK, Broker
from tests.support.gateways import GatewayProgram, Peer
from tests.support.refusals import JUDGED, PARSED, request
from tests.support.waiting import wait_for

pytestmark = pytest.mark.broker

SESSION = "2026-11-22/182031_A_Ana"
BIG_BYTES = 40 * 1024 * 1024


class DownloadsProgram(GatewayProgram):
    """A gateway with recordings, one of which takes some time to load."""

    def __init__(self, recordings: Path, broker: Broker, *words: str) -> None:
        super().__init__(broker, "--recordings", str(recordings), *words)
        self.big = recordings / "Big.csv"


@pytest.fixture
def gateway(start_broker, tmp_path: Path) -> Iterator[DownloadsProgram]:
    broker = start_broker(brokers.NATS)
    peer = Peer(broker)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    (recordings / "Ana.csv").write_bytes(b"Att\n85\n")
    (recordings / "Big.csv").write_bytes(os.urandom(1024) * (BIG_BYTES // 1024))
    session = recordings / "sessions" / SESSION
    session.mkdir(parents=True)
    (session / "events.csv").write_bytes(os.urandom(BIG_BYTES // 2))  # a ZIP makes it no smaller
    (session / "raw.csv").write_bytes(b"raw")
    program = DownloadsProgram(recordings, broker, "--token", "secret", "--no-open-here")
    try:
        wait_for(lambda: peer.bus.is_connected, "connection")
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


PATHS = (
    *("/", "/student", "/page/main.js", "/healthz", "/readyz", "/metrics", "/none", "/recordings", "/recordings/x"),
    "/invitation?code=A",
)
FILES = ("/recordings/files/Ana.csv", "/recordings/files/Big.csv", f"/recordings/sessions/{SESSION}.zip")


def test_head_has_the_headers_of_get(gateway):
    """All of them, also with a date; those of a ZIP say that it has no parts."""
    for path, token in itertools.product((*PATHS, *FILES), ("secret", "wrong")):
        given = {"Authorization": f"Bearer {token}"}
        status, headers, _ = ask(gateway, path, **given)
        of_head, its_headers, body = ask(gateway, path, "HEAD", **given)
        for each in (headers, its_headers):
            assert each.pop("Date").endswith(" GMT")
        assert (of_head, body) == (status, b"")
        if path not in ("/metrics", "/readyz"):  # these have another length at another time
            assert its_headers == headers
        if status == 200 and path in FILES:
            assert headers["Accept-Ranges"] == ("none" if path.endswith(".zip") else "bytes")


def test_a_broken_download_goes_on_where_it_ended(gateway):
    """Parts of a large file make the file; the rest of one that has changed meanwhile is not sent."""
    token, path = {"Authorization": "Bearer secret"}, "/recordings/files/Big.csv"
    with socket.create_connection((LOOPBACK, gateway.port), timeout=10) as broken:
        broken.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n".encode())
        got = broken.makefile("rb").read(1_000_000)
    head, _, begin = got.partition(b"\r\n\r\n")
    etag = next(line for line in head.decode().split("\r\n") if line.startswith("ETag: "))[6:]
    rest = {"Range": f"bytes={len(begin)}-", "If_Range": etag}
    status, headers, body = ask(gateway, path, **token, **rest)
    assert (status, headers["Content-Range"]) == (206, f"bytes {len(begin)}-{BIG_BYTES - 1}/{BIG_BYTES}")
    assert begin + body == gateway.big.read_bytes()
    assert ask(gateway, path, **token, Range=f"bytes={BIG_BYTES}-")[0] == 416
    assert ask(gateway, path, **token, If_None_Match=etag)[::2] == (304, b"")
    with gateway.big.open("ab") as file:
        file.write(b"more\n")
    status, headers, body = ask(gateway, path, **token, **rest)
    assert (status, int(headers["Content-Length"]), len(body)) == (200, BIG_BYTES + 5, BIG_BYTES + 5)
    assert ask(gateway, path, **token, If_Match=etag)[0] == 412


class Begun:
    """A download of which the client has taken its beginning."""

    def __init__(self, gateway: GatewayProgram, path: str) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, gateway.port, timeout=10)
        self._connection.request("GET", path, headers={"Authorization": "Bearer secret"})
        self._answer = self._connection.getresponse()
        self._begin = self._answer.read(1000)

    def rest(self) -> bytes:
        """Return all of it. Raises an exception of http.client or OSError if its end is missing."""
        with contextlib.closing(self._connection):
            return self._begin + self._answer.read()


def test_a_file_that_changes_during_its_download(gateway):
    """One that grows is sent as it was; one that is cut off or gone ends the download, with a line in the log."""
    growing = Begun(gateway, FILES[1])
    content = gateway.big.read_bytes()
    with gateway.big.open("ab") as file:
        file.write(b"more\n" * 100_000)
    assert growing.rest() == content
    shorter = Begun(gateway, FILES[1])
    os.truncate(gateway.big, 1000)
    with pytest.raises((http.client.HTTPException, OSError)):
        shorter.rest()
    gone = Begun(gateway, FILES[2])
    (gateway.big.parent / "sessions" / SESSION / "raw.csv").unlink()
    with pytest.raises((http.client.HTTPException, OSError)):
        gone.rest()
    code, log = gateway.end(signal.SIGTERM)
    assert (code, log.count("a download ended early"), "Traceback" in log) == (0, 2, False)


def test_programs_that_offer_http_2_are_answered(gateway):
    """As those of Java do by default."""
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}
    assert ask(gateway, "/healthz", **offer)[::2] == (200, b"ok\n")


def test_only_http_1_0_has_requests_without_host(gateway):
    for version, status in ((b"1.0", 200), (b"1.1", 400)):
        with socket.create_connection((LOOPBACK, gateway.port), timeout=10) as client:
            client.sendall(b"GET /healthz HTTP/%b\r\n\r\n" % version)
            assert client.recv(1000).startswith(b"HTTP/1.1 %d " % status)


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

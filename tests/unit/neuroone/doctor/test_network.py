"""Tests of what `neuroone doctor` asks the network, with real servers and brokers."""

import dataclasses
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import Health, ServiceState, ServiceStatus
from neuroone.doctor import checks, network
from neuroone.doctor.checks import (
    BrokerAnswer,
)
from neuroone.logins import login_in
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.delivery import Delivery
from tests.support.brokers import LOOPBACK, free_port
from tests.support.closed_broker import closed_broker
from tests.support.findings import codes


class Answering:
    """An HTTP server that answers everything with one status."""

    def __init__(self, status: int, ready: int = 200) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(ready if self.path == "/readyz" else status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"ws://{LOOPBACK}:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Answering":
        self.thread.start()
        return self

    def __exit__(self, *how: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(
    ("status", "ready", "code"),
    [
        (101, 200, "ws_ok"),
        (101, 503, "ws_no_broker"),
        (200, 200, "ws_no_upgrade"),
        (426, 200, "ws_no_upgrade"),
        (429, 200, "ws_too_many"),
        (502, 200, "ws_proxy"),
        (504, 200, "ws_proxy"),
    ],
)
def test_the_answer_at_the_websocket_address_names_the_fault(status: int, ready: int, code: str) -> None:
    """A gateway, a gateway without its broker, other programs, proxies without a gateway."""
    with Answering(status, ready) as server:
        assert codes(checks.websocket(network.try_websocket(server.url))) == [code]


def test_a_port_without_a_listener_refuses() -> None:
    assert codes(checks.websocket(network.try_websocket(f"ws://{LOOPBACK}:{free_port()}/"))) == ["ws_refused"]


def test_a_silent_address_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection and sends nothing, as behind a firewall."""
    monkeypatch.setattr(network, "ANSWER_TIMEOUT_S", 0.1)
    with socket.create_server((LOOPBACK, 0)) as silent:
        answer = network.try_websocket(f"ws://{LOOPBACK}:{silent.getsockname()[1]}/")
    assert codes(checks.websocket(answer)) == ["ws_timeout"]


def test_an_unknown_name_is_a_fault_of_the_name() -> None:
    """No DNS has it (RFC 6761)."""
    assert codes(checks.websocket(network.try_websocket("ws://nowhere.invalid/"))) == ["ws_name"]


def test_a_server_without_http_cannot_upgrade() -> None:
    with socket.create_server((LOOPBACK, 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = network.try_websocket(f"ws://{LOOPBACK}:{other.getsockname()[1]}/")
        thread.join()
    assert codes(checks.websocket(found)) == ["ws_no_upgrade"]


def test_a_certificate_is_trusted_once_its_authority_is_named(tmp_path: Path) -> None:
    """wss:// with a certificate of the proxy's own authority."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(LOOPBACK).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "root.crt"))
    with Answering(101) as server:
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        url = server.url.replace("ws://", "wss://")
        assert codes(checks.websocket(network.try_websocket(url))) == ["ws_tls"]
        assert codes(checks.websocket(network.try_websocket(url, tmp_path / "root.crt"))) == ["ws_ok"]


@pytest.mark.parametrize(
    ("life_days", "left_days", "code"),
    [(90, 29, "ws_ok"), (90, 17, "ws_certificate"), (397, 21, "ws_ok"), (397, 19, "ws_certificate"),
     (0.5, 0.15, "ws_ok"), (0.5, 0.09, "ws_certificate")],
    ids=["certbot's", "not renewed", "a year's", "a year's, not renewed", "Caddy's own", "Caddy's own, not renewed"],
)  # fmt: skip
def test_a_certificate_that_nobody_renewed_is_named_before_it_ends(life_days, left_days, code, tmp_path) -> None:
    authority, now = trustme.CA(), datetime.now(UTC)
    begins, ends = now - timedelta(days=life_days - left_days), now + timedelta(days=left_days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(LOOPBACK, not_before=begins, not_after=ends).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "root.crt"))
    with Answering(101) as server:
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        answer = network.try_websocket(server.url.replace("ws://", "wss://"), tmp_path / "root.crt")
    assert codes(checks.websocket(answer)) == [code]


@pytest.mark.broker
def test_only_the_right_login_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real Mosquitto with the files of `neuroone secrets`, which may be slow on a busy machine."""
    monkeypatch.setattr(network, "ANSWER_TIMEOUT_S", 30.0)
    with closed_broker(tmp_path) as (secrets, address):

        def log_in(login: BrokerAddress) -> BrokerAnswer:
            return network.listen(login, None, "local", 0.5, lambda: False).answer

        doctor_login = login_in(secrets, "doctor")
        found = log_in(doctor_login)
        assert codes(checks.broker(found)) == ["broker_ok"]
        assert found.version.startswith("mosquitto version 2.")
        assert codes(checks.broker(log_in(address))) == ["broker_login"]
        assert codes(checks.broker(log_in(dataclasses.replace(doctor_login, password="wrong")))) == ["broker_login"]
        assert "wrong" not in str(log_in(dataclasses.replace(doctor_login, password="wrong")))


def test_a_broker_that_does_not_run_and_one_without_a_name_are_different_problems() -> None:
    for address, code in (
        (BrokerAddress(LOOPBACK, free_port()), "broker_refused"),
        (BrokerAddress("nowhere.invalid", 1), "broker_name"),
    ):
        received = network.listen(address, None, "local", 0.1, lambda: False)
        assert codes(checks.broker(received.answer)) == [code]


def test_a_silent_broker_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has the port."""
    monkeypatch.setattr(network, "ANSWER_TIMEOUT_S", 0.1)
    with socket.create_server((LOOPBACK, 0)) as silent:
        address = BrokerAddress(LOOPBACK, silent.getsockname()[1])
        received = network.listen(address, None, "local", 0.1, lambda: False)
    assert codes(checks.broker(received.answer)) == ["broker_timeout"]


def test_health_shows_the_clock_and_the_disk_of_a_service() -> None:
    received = network.Received(BrokerAnswer("a"))
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    state = ServiceState(status=ServiceStatus.ONLINE, version="1", epoch=1, connection=1)
    health = Health(time=noon, uptime_s=1.0, memory_bytes=None, counters={}, gauges={"disk_works": 0})
    for topic, message in (
        (topics.service_state("local", "csv_recorder", "main"), state),
        (topics.health("local", "csv_recorder", "main"), health),
    ):
        received.on_delivery(Delivery(str(topic), encode(message), False, 1, 1), noon.timestamp() + 30)
    assert received.is_complete
    [found] = received.instances
    assert (found.skew_s, found.disk_works) == (-30.0, False)

"""`neuroone up --tls` and a fresh Chromium: it reads a headset once it trusts the authority, and not before."""

import csv
import json
import signal
import ssl
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, expect
from websockets.sync.client import connect

from neuroone.certificates import making
from neuroone.certificates.making import Names
from neuroone.service.local_address import local_ip
from serial_bridge.captures.files import EXAMPLE
from tests.support.brokers import free_port
from tests.support.browser import fresh_chromium, opened
from tests.support.captures import BASELINE, needs_captures
from tests.support.fake_headsets import KEYS
from tests.support.student_page import record_with_losses
from tests.support.up_process import Up, running_up
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
STRANGER = "bank.example"
HERE = (local_ip(), STRANGER)
"""Hosts that the browser is to find on this machine: nothing is sent anywhere else."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up") / "D", "--tls", "--tls-port", str(free_port())) as up:
        yield up


def folder(up: Up) -> Path:
    return up.data / ".tls"


def address(up: Up) -> str:
    """Return the address that the banner names: this machine's in the local network."""
    line = next(line for line in up.banner if line.startswith("HTTPS: "))
    return line.removeprefix("HTTPS: ").removesuffix("student")


@pytest.fixture(scope="module")
def trusting(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with fresh_chromium(tmp_path_factory.mktemp("home"), *HERE, trusted=folder(up) / "ca.crt") as browser:
        yield browser


def test_a_browser_without_trust_refuses(up, tmp_path: Path) -> None:
    with fresh_chromium(tmp_path, *HERE) as browser, pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        browser.new_page().goto(address(up))


@pytest.mark.parametrize("capture", [EXAMPLE, pytest.param(BASELINE, marks=needs_captures)], ids=["example", "real"])
def test_a_browser_that_trusts_the_authority_records_a_headset_once(up, trusting, capture) -> None:
    """By the address in the network, over wss: the promise of the student's page, with everything lost once."""
    name = capture.stem

    def kill() -> None:
        up.popen.send_signal(signal.SIGSTOP)  # else it starts another gateway at once
        next(each for each in up.family() if "ws_gateway" in each.cmdline()).kill()

    def start() -> None:
        up.popen.send_signal(signal.SIGCONT)

    expected = record_with_losses(trusting, f"{address(up)}student", name, capture, kill, start)
    with (up.data / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert rows == [[str(each[key]) for key in KEYS[1:]] for each in expected]


def test_a_browser_that_trusts_the_authority_believes_it_about_no_stranger(up, trusting, tmp_path: Path) -> None:
    """Not even with the authority's key: its limits are kept by Chromium."""
    authority = making.parse((folder(up) / "authority.pem").read_bytes())
    stolen = tmp_path / "stolen.pem"
    stolen.write_bytes(making.new_certificate(authority, Names((STRANGER,), ()), datetime.now(UTC)).pem())
    with serving(stolen) as port:
        page = trusting.new_page()
        with pytest.raises(Error, match="ERR_CERT_INVALID"):
            page.goto(f"https://{STRANGER}:{port}/")
        page.close()


def test_pythons_tls_needs_the_authority_alone(up) -> None:
    trust = ssl.create_default_context(cafile=folder(up) / "ca.crt")
    port = int(address(up).rsplit(":", 1)[1].strip("/"))
    with connect(f"wss://localhost:{port}/", ssl=trust, proxy=None) as dashboard:
        dashboard.send("dash")
        assert dashboard.ping().wait(10)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(f"wss://localhost:{port}/", ssl=ssl.create_default_context(), proxy=None)


def test_the_page_that_explains_trust_leads_to_https(up, trusting) -> None:
    """In both languages, on the plain port, with the steps of this system open."""
    plain = f"http://127.0.0.1:{up.ws_port}"
    with urllib.request.urlopen(f"{plain}/ca.crt", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/x-x509-ca-cert"
        assert answer.read() == (folder(up) / "ca.crt").read_bytes()
    with urllib.request.urlopen(f"{plain}/page/where.json", timeout=10) as answer:
        assert json.load(answer) == {"https": address(up), "ca": True}
    for locale, words in (("pt-BR", "Confiar neste servidor"), ("en", "Trust this server")):
        with opened(trusting, f"{plain}/trust", locale=locale, viewport={"width": 320, "height": 568}) as page:
            expect(page.locator("h2").first).to_have_text(words)
            expect(page.locator("#open")).to_have_attribute("href", f"{address(up)}student")
            expect(page.locator("#linux ol")).to_be_visible()
            expect(page.locator("#none")).to_be_hidden()
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            assert Axe().run(page).response["violations"] == []


def test_plain_http_on_the_port_of_https_is_led_there(up) -> None:
    port = int(address(up).rsplit(":", 1)[1].strip("/"))
    trust = ssl.create_default_context(cafile=folder(up) / "ca.crt")
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust))
    with opener.open(f"http://localhost:{port}/healthz", timeout=10) as answer:
        assert answer.url == f"https://localhost:{port}/healthz"
        assert answer.read() == b"ok\n"


def test_a_new_certificate_is_made_and_served_while_everything_runs(up) -> None:
    """One that is lost here stands for one that must be renewed."""
    port = int(address(up).rsplit(":", 1)[1].strip("/"))
    before = ssl.get_server_certificate(("127.0.0.1", port))
    (folder(up) / "server.pem").unlink()
    wait_for(lambda: ssl.get_server_certificate(("127.0.0.1", port)) != before, "another certificate", 30)
    trust = ssl.create_default_context(cafile=folder(up) / "ca.crt")
    with urllib.request.urlopen(f"https://localhost:{port}/metrics", context=trust, timeout=10) as answer:
        metrics = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    assert float(metrics["neuroone_gateway_certificate_left_seconds"]) > 395 * 86400


@contextmanager
def serving(certificate: Path) -> Iterator[int]:
    """Serve an empty page over https; yield the port."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()

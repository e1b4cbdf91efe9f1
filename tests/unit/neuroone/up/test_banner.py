"""Tests of the lines that `neuroone up` prints."""

import io
from pathlib import Path

import pytest

from neuroone.service.language import LANGUAGES
from neuroone.up.banner import banner, qr_code

URL = "http://192.168.0.10:8080/?token=abcdefghijklmnopqrstuv"


class Screen(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "is_drawn"),
    [
        (Screen(io.BytesIO(), encoding="utf-8"), True),
        (Screen(io.BytesIO(), encoding="cp1252"), False),
        (io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), False),
    ],
    ids=["terminal", "terminal of Windows", "file"],
)
def test_a_terminal_shows_the_address_as_a_qr_code(out, is_drawn):
    """The code fits 80 columns; a terminal that cannot draw it and a file get none."""
    lines = qr_code(URL, out)
    assert bool(lines) is is_drawn
    assert len({len(line) for line in lines}) == is_drawn
    assert all(len(line) <= 80 for line in lines)


def test_https_adds_lines_and_changes_none():
    """They come before the last one, and name the address, and the page that says how a device comes to trust it."""
    plain, https = (
        banner("192.168.0.10", 8080, {}, Path("D"), "broker", io.StringIO(), tls_port=port).splitlines()
        for port in (None, 8443)
    )
    added = [line for line in https if line not in plain]
    assert [line for line in https if line not in added] == plain
    assert added[0] == "HTTPS: https://192.168.0.10:8443/student"
    assert added[1].endswith("http://192.168.0.10:8080/trust")
    assert added[2].endswith("http://localhost:8080/student")


@pytest.mark.parametrize(
    ("host", "more", "local", "public"),
    [
        ("0.0.0.0", {}, "ws://192.168.0.10:8080", "ws://192.168.0.10:8080"),
        ("::", {}, "ws://192.168.0.10:8080", "ws://192.168.0.10:8080"),
        ("10.0.0.7", {}, "ws://10.0.0.7:8080", "ws://10.0.0.7:8080"),
        ("fd00::7", {}, "ws://[fd00::7]:8080", "ws://[fd00::7]:8080"),
        ("0.0.0.0", {"public_url": "https://a.example/eeg/"}, "ws://192.168.0.10:8080", "wss://a.example/eeg"),
        ("0.0.0.0", {"site_key": "12345678"}, *["ws://192.168.0.10:8080/ws/12345678"] * 2),
    ],
)
def test_addresses_are_those_by_which_others_come(host, more, local, public, monkeypatch):
    """Six lines are the first server's, in their order, in both languages; nobody can connect to 0.0.0.0."""
    monkeypatch.setattr("neuroone.up.banner.local_ip", lambda: "192.168.0.10")
    for language in LANGUAGES:
        shown = banner(host, 8080, {}, Path("D"), "broker", io.StringIO(), language=language, **more)
        assert shown.splitlines()[:6] == [
            "=== Servidor WebSocket Headless ===",
            "IP Local: 192.168.0.10",
            "Porta: 8080",
            f"URL WebSocket: {local}",
            f"URL WebSocket (público): {public}",
            "========================================",
        ]
        assert shown.splitlines()[-1].startswith("Pressione Ctrl+C para parar")
        assert "0.0.0.0" not in shown

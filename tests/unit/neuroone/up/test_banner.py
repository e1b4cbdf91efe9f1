"""Tests of the lines that `neuroone up` prints."""

import io
from pathlib import Path

import pytest

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

"""Tokens, join codes, rates, and whose address counts behind a proxy."""

import os
import stat
import sys
from pathlib import Path

import pytest

from neuroone.contract.errors import SettingsError
from ws_gateway.access import GUESSES_BURST, Access, client_address, is_here, networks, token_given, token_in

PROXIES = networks("10.0.0.0/8, 192.168.1.1,::1")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),
        ("10.1.2.3", (), "10.1.2.3"),
        ("10.1.2.3", ("198.51.100.1",), "198.51.100.1"),
        ("10.1.2.3", ("1.1.1.1, 198.51.100.1",), "198.51.100.1"),
        ("10.1.2.3", ("1.1.1.1", "198.51.100.1"), "198.51.100.1"),
        ("10.1.2.3", ("1.1.1.1,198.51.100.1, 192.168.1.1 ,10.9.9.9",), "198.51.100.1"),
        ("10.1.2.3", ("10.9.9.9",), "10.9.9.9"),
        ("10.1.2.3", ("198.51.100.1, unknown",), "10.1.2.3"),
        ("10.1.2.3", ("",), "10.1.2.3"),
        ("10.1.2.3", ("2001:db8::7",), "2001:db8::7"),
        ("::ffff:10.1.2.3", ("198.51.100.1",), "198.51.100.1"),
        ("::1", ("198.51.100.1",), "198.51.100.1"),
        ("", ("198.51.100.1",), ""),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded_for: tuple[str, ...], address: str) -> None:
    """The rightmost address that is not a trusted proxy counts; a client can write anything to the left of it."""
    assert client_address(peer, forwarded_for, PROXIES) == address


def test_by_default_no_proxy_is_trusted() -> None:
    assert client_address("127.0.0.1", ("198.51.100.1",), ()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "proxy", "10.0.0.1/8", "10.0.0.1,"])
def test_wrong_networks_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"like 10\.0\.0\.2,172"):
        networks(text)


def test_wrong_tokens_are_limited_for_each_address() -> None:
    """After ten wrong tokens from one address even the right one is refused, until time has passed."""
    now_s = [0.0]
    access = Access("secret", {}, lambda: now_s[0])
    assert access.may_watch("secret", "a")
    for _ in range(GUESSES_BURST):
        assert not access.may_watch("wrong", "a")
    assert not access.may_watch("secret", "a")
    assert access.may_watch("secret", "b")
    now_s[0] = 11.0
    assert access.may_watch("secret", "a")


def test_a_missing_token_does_not_count_as_wrong() -> None:
    access = Access("secret", {}, lambda: 0.0)
    for _ in range(2 * GUESSES_BURST):
        assert not access.may_watch(None, "a")
    assert access.may_watch("secret", "a")


@pytest.mark.parametrize(
    ("path", "authorization", "token"),
    [
        ("/", None, None),
        ("/?token=a%2Bb", None, "a+b"),
        ("/any/path?x=1&token=t", None, "t"),
        ("/?token=t", "Bearer  u ", "u"),
        ("/", "Basic dTpw", None),
    ],
)
def test_where_a_token_may_be(path: str, authorization: str | None, token: str | None) -> None:
    """In the address, or in an Authorization header."""
    assert token_given(path, authorization) == token


def test_a_token_file_is_created_once(tmp_path: Path) -> None:
    """Only its owner may read it, and the next start reads the same token."""
    file = tmp_path / "new" / ".token"
    before = os.umask(0)
    try:
        token = token_in(file)
    finally:
        os.umask(before)
    assert len(token) >= 20
    assert token_in(file) == token
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_empty_token_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("\n", encoding="ascii")
    with pytest.raises(SettingsError, match="is empty"):
        token_in(tmp_path / "t")


@pytest.mark.parametrize(
    ("peer", "origin", "is_forwarded", "here"),
    [
        ("127.0.0.1", None, False, True),
        ("::1", None, False, True),
        ("::ffff:127.0.0.1", None, False, True),
        ("127.0.0.1", "http://localhost:8080", False, True),
        ("127.0.0.1", "http://127.0.0.1:3000", False, True),
        ("127.0.0.1", "https://evil.example", False, False),
        ("127.0.0.1", "http://localhost.evil.example", False, False),
        ("127.0.0.1", "null", False, False),
        ("127.0.0.1", None, True, False),
        ("192.168.0.7", None, False, False),
        ("192.168.0.7", "http://localhost", False, False),
        ("", None, False, False),
    ],
)
def test_only_programs_and_pages_of_this_machine_are_local(
    peer: str, origin: str | None, is_forwarded: bool, here: bool
) -> None:
    """A client behind a proxy is not local, nor is a page of another site."""
    assert is_here(peer, origin, is_forwarded=is_forwarded) is here


def test_with_open_here_local_clients_need_no_token() -> None:
    """A wrong token stays wrong."""
    open_here, closed = (Access("secret", {}, lambda: 0.0, open_here=each) for each in (True, False))
    assert open_here.may_watch(open_here.token_of(None, is_here=True), "127.0.0.1")
    assert not open_here.may_watch(open_here.token_of("wrong", is_here=True), "127.0.0.1")
    assert not open_here.may_watch(open_here.token_of(None, is_here=False), "10.0.0.1")
    assert not closed.may_watch(closed.token_of(None, is_here=True), "127.0.0.1")


def test_a_local_client_without_join_code_does_not_count_as_wrong() -> None:
    access = Access("secret", {"A": "4821"}, lambda: 0.0, open_here=True)
    here = access.token_of(None, is_here=True)
    for _ in range(2 * GUESSES_BURST):
        assert not access.may_join("A", here, "127.0.0.1")
    assert access.may_watch(here, "127.0.0.1")
    assert access.may_join("A", "4821", "127.0.0.1")

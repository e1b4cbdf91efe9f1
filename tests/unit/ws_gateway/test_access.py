"""Tokens and what they grant, join codes, and limits for each address."""

from typing import Any

import pytest

from neuroone.service.token_files import Role, Token
from ws_gateway import access as access_module
from ws_gateway.access import (
    CONNECTS_BURST,
    GUESSES_BURST,
    LONG_CODE_CHARS,
    NAMES_BURST,
    TEACH,
    WATCH_ALL,
    Access,
    Grant,
)
from ws_gateway.visitors import Page, Visitor

TOKENS = [
    Token("secret"),
    Token("watches", Role.WATCH, "games"),
    Token("one class", Role.WATCH, "7B", code="Turma 7B"),
    Token("one student", Role.WATCH, "Ana's", code="A", student="Ana"),
]
ELSEWHERE = Visitor("198.51.100.1")
HERE = Visitor("127.0.0.1", is_here=True)


def access(join_codes: dict[str, str] | None = None, now_s: list[float] | None = None, **more: Any) -> Access:
    times = [0.0] if now_s is None else now_s
    return Access(TOKENS, join_codes or {}, lambda: times[0], **more)


def test_a_token_grants_what_it_was_made_for() -> None:
    given = access()
    assert given.grant_of(ELSEWHERE) is None
    assert given.grant_of(ELSEWHERE, "secret") == TEACH
    assert given.grant_of(Visitor("a", "secret")) == TEACH
    assert given.grant_of(ELSEWHERE, "watches") == WATCH_ALL
    one_class = given.grant_of(ELSEWHERE, "one class")
    assert one_class is not None
    assert one_class.includes("Turma-7B-" + (one_class.group or "")[-6:], "Bia")
    assert not one_class.includes("A", "Bia")
    assert given.grant_of(ELSEWHERE, "one student") == Grant(group="A", student="Ana")
    assert not Grant(student="Ana").includes("A", "Bia")
    assert not Grant(student="Ana").includes("A", None)


def test_the_right_token_always_passes() -> None:
    """Nobody guesses 128 bits, so wrong tokens lock nobody out."""
    given = access()
    for _ in range(1000):
        assert given.grant_of(Visitor("a", "wrong")) is None
    assert given.grant_of(Visitor("a", "secret")) == TEACH


def test_new_tokens_replace_the_old_ones() -> None:
    given = access()
    given.set_tokens([Token("other")])
    assert given.grant_of(ELSEWHERE, "secret") is None
    assert given.grant_of(ELSEWHERE, "other") == TEACH


@pytest.mark.parametrize(
    ("page", "here", "open_to_all"),
    [
        (Page.NONE, TEACH, TEACH),
        (Page.OWN, TEACH, TEACH),
        (Page.ALLOWED, TEACH, TEACH),
        (Page.FILE, WATCH_ALL, WATCH_ALL),
        (Page.FOREIGN, None, WATCH_ALL),
    ],
)
def test_what_needs_no_token(page: Page, here: Grant | None, open_to_all: Grant) -> None:
    """This machine itself, unless --no-open-here; with --open-dashboards everybody. A wrong token stays wrong."""
    local, remote = Visitor("127.0.0.1", None, True, page), Visitor("198.51.100.1", None, False, page)
    assert access().grant_of(local) == here
    assert access().grant_of(remote) is None
    assert access(open_here=False).grant_of(local) is None
    assert access().grant_of(local, "wrong") is None
    everybody = access(open_here=False, open_dashboards=True)
    assert everybody.grant_of(remote) == everybody.grant_of(remote, "wrong") == open_to_all


def test_wrong_join_codes_are_limited_for_each_address_and_class() -> None:
    """After ten wrong ones even the right one is refused there, until time has passed; nowhere else."""
    now_s = [0.0]
    given = access({"A": "4821", "B": "1357"}, now_s)
    for _ in range(GUESSES_BURST):
        assert not given.may_join("A", "wrong", "a")
    assert not given.may_join("A", "4821", "a")
    assert given.may_join("B", "1357", "a")
    assert given.may_join("A", "4821", "b")
    now_s[0] = 11.0
    assert given.may_join("A", "4821", "a")


def test_right_and_missing_join_codes_do_not_count_as_wrong() -> None:
    given = access({"A": "4821"})
    for _ in range(5 * GUESSES_BURST):
        assert given.may_join("A", "4821", "a")
        assert not given.may_join("A", None, "a")
        assert given.grant_of(Visitor("a", "4821")) is None


def test_a_long_join_code_is_never_locked() -> None:
    word = "x" * LONG_CODE_CHARS
    given = access({"A": word})
    for _ in range(10 * GUESSES_BURST):
        assert not given.may_join("A", "wrong", "a")
    assert given.may_join("A", word, "a")


def test_every_spelling_of_a_class_wants_its_join_code() -> None:
    given = access({"Turma 7B": "4821"})
    one_class = given.grant_of(ELSEWHERE, "one class")
    assert one_class is not None
    assert not given.may_join(one_class.group, None, "a")
    assert given.may_join(one_class.group, "4821", "a")


@pytest.mark.parametrize("flooder", ["198.51.100.1", "2001:db8::1"])
def test_a_flood_of_connections_takes_turns_and_none_of_it_is_left_after_it(flooder: str) -> None:
    """Two times as many as are served at once: a second later the address is served at once again."""
    now_s = [0.0]
    given = access(now_s=now_s)
    assert sum(given.is_at_once(flooder) for _ in range(2 * CONNECTS_BURST)) == CONNECTS_BURST
    now_s[0] = 1.0
    assert given.is_at_once(flooder)
    assert given.is_at_once("198.51.100.2")


def test_one_network_of_ipv6_is_one_address_for_limits() -> None:
    given = access()
    assert sum(given.is_at_once(f"2001:db8::{n:x}") for n in range(CONNECTS_BURST)) == CONNECTS_BURST
    assert not given.is_at_once("2001:db8::ffff:1")
    assert given.is_at_once("2001:db8:0:1::1")
    assert given.is_at_once("fe80::1%eth0")


def test_markers_are_limited_for_each_student() -> None:
    now_s = [0.0]
    given = access(now_s=now_s)
    assert sum(given.may_mark("Ana") for _ in range(100)) == 2
    assert given.may_mark("Bia")
    now_s[0] = 1.0
    assert sum(given.may_mark("Ana") for _ in range(100)) == 1


def test_a_school_brings_a_name_for_each_connection() -> None:
    """6000 students come at once, and again after a power cut."""
    given = access()
    for _ in range(2):
        assert all(given.may_bring(f"Ana {n}", "A", "198.51.100.1", n + 1) for n in range(6000))


@pytest.mark.parametrize(
    ("connections", "at_once"),
    [(None, NAMES_BURST), (1, NAMES_BURST + 1), (118, NAMES_BURST + 118)],
    ids=["one connection", "short connections", "a hundred connections"],
)
def test_made_up_names_of_one_address_are_limited(connections: int | None, at_once: int) -> None:
    """To 20 a second; other addresses and known names are not."""
    now_s = [0.0]
    given = access(now_s=now_s)

    def bring(count: int, first: int = 0) -> int:
        return sum(given.may_bring(f"Ana {n}", None, "a", connections) for n in range(first, first + count))

    assert bring(12_000) == at_once
    assert bring(100) == 100, "they are known"
    assert given.may_bring("Ana", "A", "b", 1)
    if connections is None:
        assert given.may_bring("Bia", "A", "a", 1), "who comes with a connection of their own"
    now_s[0] = 10.0
    assert bring(12_000, 20_000) == 200


def test_known_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "NAMES_MAX", 3)
    given = access()
    assert all(given.may_bring(str(n), None, "a", None) for n in range(NAMES_BURST))
    found = [given.may_bring(str(n), None, "a", None) for n in (0, NAMES_BURST - 1, NAMES_BURST)]
    assert found == [False, True, False]

"""The files of the tokens, and `neuroone token`, which changes them."""

import os
import stat
import sys
from pathlib import Path

import pytest

from neuroone.contract.errors import SettingsError
from neuroone.service import settings, token_files
from neuroone.service.lifecycle import Stop
from neuroone.service.token_files import FIRST, Role, Token, TokenFault, TokenFiles, ensure_first, list_beside
from neuroone.tokens import TokenSettings, run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / ".token"


def token(*words: str) -> None:
    run(settings.read(TokenSettings, words, {"NEUROONE_NAME": "Ana", "NEUROONE_ROLE": "teacher"}, program="x"), Stop())


def test_the_first_token_is_made_once(file: Path) -> None:
    """Only its owner may read it, and the next start reads the same token."""
    before = os.umask(0)
    try:
        ensure_first(file)
    finally:
        os.umask(before)
    made = token_files.read_first(file)
    ensure_first(file)
    assert token_files.read_first(file) == made
    assert len(made.token) >= 20
    assert made.role is Role.TEACHER
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_tokens_are_made_listed_and_revoked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--token-file", str(file))
    token("make", "games", *words)
    token("make", "Sala 2 é nossa", "--role", "teacher", *words)
    token("make", "Ana's game", "--code", "A", "--student", "João", "--host", "::1", "--ws-port", "81", *words)
    ensure_first(file)
    made = token_files.read_list(file)
    assert [(each.name, each.role, each.code, each.student) for each in made] == [
        ("games", "watch", None, None),
        ("Sala 2 é nossa", "teacher", None, None),
        ("Ana's game", "watch", "A", "João"),
    ]
    assert f"http://[::1]:81/#token={made[2].token} ws://[::1]:81/?token={made[2].token}" in capsys.readouterr().out
    token("list", *words)
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "first",
        "games",
        "Sala 2 é nossa",
        "Ana's game",
    ]
    first = token_files.read_first(file)
    token("revoke", "games", *words)
    token("revoke", FIRST, *words)
    assert [each.name for each in token_files.read_list(file)] == ["Sala 2 é nossa", "Ana's game"]
    assert token_files.read_first(file).token != first.token
    if sys.platform != "win32":
        for each in (file, list_beside(file)):
            assert stat.S_IMODE(each.stat().st_mode) == 0o600
    assert len(list(file.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["make"], "is missing"),
        (["revoke"], "is missing"),
        (["list", "games"], "list takes none"),
        (["dance"], "one of list, make, revoke"),
        (["make", "x", "--role", "king"], "one of teacher, watch"),
        (["make", "x", "--role", "teacher", "--code", "A"], "sees all"),
        (["make", "x" * 65], "1 to 64"),
        (["make", "x\n"], "1 to 64"),
    ],
)
def test_wrong_words_are_refused(file: Path, words: list[str], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        token(*words, "--token-file", str(file))
    assert not file.parent.exists()


def test_names_are_unique_and_known(file: Path) -> None:
    words = ("--token-file", str(file))
    token("make", "games", *words)
    for action, name in (("make", "games"), ("make", FIRST), ("revoke", "other")):
        with pytest.raises(TokenFault):
            token(action, name, *words)


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "?",
        "[]",
        '{"token": ""}',
        '{"token": 5}',
        '{"token": "a", "role": "king"}',
        '{"token": "a", "code": 5}',
        '{"token": "a", "more": 1}',
        "[" * 100_000,
    ],
)
def test_a_faulty_list_is_named_by_its_line(file: Path, content: str) -> None:
    file.parent.mkdir()
    list_beside(file).write_text(f'{{"token": "a"}}\n\n{content}\n', encoding="ascii")
    with pytest.raises(TokenFault, match="line 3"):
        token_files.read_list(file)


def test_an_endless_or_unreadable_file_is_a_fault(file: Path) -> None:
    file.parent.mkdir()
    list_beside(file).write_text(" " * (token_files.LIST_MAX_BYTES + 1), encoding="ascii")
    with pytest.raises(TokenFault, match="has more than"):
        token_files.read_list(file)
    for content in (b"\n", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(TokenFault):
            token_files.read_first(file)


def test_changes_are_noticed_once(file: Path) -> None:
    ensure_first(file)
    files = TokenFiles(file, None)
    assert [each.name for each in files.read_if_changed() or ()] == [FIRST]
    assert files.read_if_changed() is None
    token("make", "games", "--token-file", str(file))
    assert [each.name for each in files.read_if_changed() or ()] == [FIRST, "games"]
    assert files.read_if_changed() is None
    list_beside(file).write_text("?", encoding="ascii")
    for _ in range(2):
        with pytest.raises(TokenFault):
            files.read_if_changed()
    list_beside(file).unlink()
    assert [each.name for each in files.read_if_changed() or ()] == [FIRST]


def test_a_given_token_needs_no_file(file: Path) -> None:
    assert TokenFiles(None, Token("a")).read() == (Token("a"),)
    assert TokenFiles(None, None).read() == ()
    given = TokenFiles(file, Token("a"))
    assert given.read() == (Token("a"),)
    token("make", "games", "--token-file", str(file))
    assert [each.name for each in given.read_if_changed() or ()] == [FIRST, "games"]

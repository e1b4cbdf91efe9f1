"""Keep the tokens of those who watch students: in one file the first, in a list beside it all others.

The first file (``--token-file``) has one line, the token of the teacher. The list has the same name and ``.list``
behind it, and one JSON object a line. Both are readable by their owner only. `neuroone token` changes them while
gateways run; a gateway reads them again when they have changed.
"""

import contextlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.service import private_files
from neuroone.service.private_files import private, replace

TOKEN_BYTES: Final = 16
"""128 random bits: nobody guesses them, so wrong tokens need no limit."""
TOKENS_MAX: Final = 1000
"""Tokens of one list: one for each student's game of a school year."""
LIST_MAX_BYTES: Final = 1024 * 1024
"""1000 tokens with long names; a longer file is no list of tokens."""
NAME_MAX_CHARS: Final = 64
"""Longest name of a token: one line of a terminal has room for it and the rest."""
FIRST: Final = "first"
"""The name of the token in the first file."""


class Role(StrEnum):
    """What the owner of a token may do."""

    TEACHER = "teacher"
    WATCH = "watch"


class TokenFault(NeuroOneError):
    """The files of the tokens cannot be read or changed; the text says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token. One to watch may be for one class (``code``), one student (the name), or both; None is all."""

    token: str
    role: Role = Role.TEACHER
    name: str = FIRST
    code: str | None = None
    student: str | None = None
    made: str = ""


def new_token(name: str, role: Role, code: str | None = None, student: str | None = None) -> Token:
    """Make a token from the system's random numbers."""
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Token(secrets.token_urlsafe(TOKEN_BYTES), role, name, code, student, made)


def list_beside(file: Path) -> Path:
    """Return the list that belongs to a first file."""
    return file.with_name(f"{file.name}.list")


def ensure_first(file: Path) -> None:
    """Make the first file with a new token, if it does not exist. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), open(file, "x", encoding="ascii", opener=private) as new:
        new.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")


def read_first(file: Path) -> Token:
    """Read the first file. Raises TokenFault."""
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise TokenFault(f"{file} cannot be read or made ({error})") from None
    if not token:
        raise TokenFault(f"{file} is empty")
    return Token(token)


def read_list(file: Path) -> tuple[Token, ...]:
    """Read the list beside a first file; a missing one is empty. Raises TokenFault."""
    file = list_beside(file)
    try:
        with file.open("rb") as opened:
            content = opened.read(LIST_MAX_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TokenFault(f"{file} cannot be read ({error})") from None
    if len(content) > LIST_MAX_BYTES:
        raise TokenFault(f"{file} has more than {LIST_MAX_BYTES} bytes")
    return tuple(_parse(file, number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip())


def add(file: Path, token: Token) -> None:
    """Append a token to the list. Raises TokenFault, also if its name is taken, and OSError."""
    known = read_list(file)
    if token.name == FIRST or any(each.name == token.name for each in known):
        raise TokenFault(f"there is a token {token.name!r} already: choose another name, or revoke it first")
    if len(known) >= TOKENS_MAX:
        raise TokenFault(f"there are {TOKENS_MAX} tokens already: revoke those that nobody needs")
    _write_list(file, (*known, token))


def revoke(file: Path, name: str) -> None:
    """Remove a token from the list; replace the first one by a new one. Raises TokenFault and OSError."""
    if name == FIRST:
        replace(file, f"{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode("ascii"), file)
        return
    known = read_list(file)
    left = tuple(each for each in known if each.name != name)
    if len(left) == len(known):
        raise TokenFault(f"there is no token {name!r}; `neuroone token list` shows all")
    _write_list(file, left)


class TokenFiles:
    """Read both files again when they have changed. Without ``file`` there is only ``first``."""

    def __init__(self, file: Path | None, first: Token | None) -> None:
        self._file = file
        self._first = first
        self._stamp: object = None

    def read_if_changed(self) -> tuple[Token, ...] | None:
        """Return all tokens, or None if the files are the same as before. Raises TokenFault."""
        stamp = None if self._file is None else tuple(map(private_files.stamp, (self._file, list_beside(self._file))))
        if stamp == self._stamp:
            return None
        tokens = self.read()
        self._stamp = stamp
        return tokens

    def read(self) -> tuple[Token, ...]:
        """Return all tokens. Raises TokenFault."""
        if self._file is None:
            return () if self._first is None else (self._first,)
        return (self._first or read_first(self._file), *read_list(self._file))


def _parse(file: Path, number: int, line: bytes) -> Token:
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        token = Token(**json.loads(line))
        token = Token(**{**asdict(token), "role": Role(token.role)})
        optional = (token.code, token.student)
        if (
            all(type(each) is str for each in (token.token, token.name, token.made))
            and all(each is None or type(each) is str for each in optional)
            and token.token
            and token.name
        ):
            return token
    raise TokenFault(f"line {number} of {file} is no token")


def _write_list(file: Path, tokens: Sequence[Token]) -> None:
    content = "".join(json.dumps(asdict(each)) + "\n" for each in tokens)
    replace(list_beside(file), content.encode("ascii"), file)

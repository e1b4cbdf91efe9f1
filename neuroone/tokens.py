"""`neuroone token`: make, list and revoke the tokens of those who watch students."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

from neuroone.contract.errors import SettingsError
from neuroone.service import token_files
from neuroone.service.lifecycle import OK, Stop
from neuroone.service.local_address import host_in_url, local_ip
from neuroone.service.logs import LEVELS
from neuroone.service.settings import one_of, port_number, setting
from neuroone.service.token_files import FIRST, NAME_MAX_CHARS, Role, Token

ACTIONS: Final = ("list", "make", "revoke")


def token_name(text: str) -> str:
    """Parse the name of a token. Raises ValueError."""
    if not text.isprintable() or not 0 < len(text.strip()) <= NAME_MAX_CHARS:
        raise ValueError(f"must have 1 to {NAME_MAX_CHARS} printable characters")
    return text.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """Options of `neuroone token`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    action: str = setting("list", one_of(*ACTIONS), f"One of {', '.join(ACTIONS)}.", positional=True)
    name: str | None = setting(None, token_name, "What the token is for, like games or room-2.", positional=True)
    role: str = setting(
        str(Role.WATCH),
        one_of(*Role),
        "watch: live readings only. teacher: also recordings, and to start and stop lessons.",
    )
    code: str | None = setting(None, str, "The only class code (Codigo) that a token to watch shows. Default: all.")
    student: str | None = setting(None, str, "The only student (Nome) that a token to watch shows. Default: all.")
    data: Path = setting(Path("recordings"), Path, "Directory of the CSV files of `neuroone up`.", metavar="DIR")
    token_file: Path | None = setting(
        None,
        Path,
        "File with the first token; the others are in a list beside it. Default: .token in --data.",
        metavar="FILE",
    )
    host: str | None = setting(None, str, "The server's name or address in what is printed. Default: this machine's.")
    ws_port: int = setting(8080, port_number, "Port of the WebSocket server in what is printed.")
    log_level: str = setting("info", one_of(*LEVELS), f"One of {', '.join(LEVELS)}.")


def run(given: TokenSettings, stop: Stop) -> int:
    """Make, list or revoke tokens; a running gateway notices within seconds. Raises SettingsError, TokenFault."""
    file = given.token_file or given.data / ".token"
    if (given.name is None) != (given.action == "list"):
        raise SettingsError(["NAME: is missing" if given.name is None else "NAME: list takes none"])
    if given.role == Role.TEACHER and (given.code, given.student) != (None, None):
        raise SettingsError(["--code, --student: a teacher sees all classes and students"])
    try:
        _act(given, file)
    except OSError as error:
        raise SettingsError([f"--token-file: {file} cannot be read or changed ({error.strerror})"]) from None
    return OK


def _act(given: TokenSettings, file: Path) -> None:
    if given.action == "list" or given.name is None:
        listed = [token_files.read_first(file)] if file.exists() else []
        for token in (*listed, *token_files.read_list(file)):
            print(_line(given, token))
    elif given.action == "make":
        token = token_files.new_token(given.name, Role(given.role), given.code, given.student)
        file.parent.mkdir(parents=True, exist_ok=True)
        token_files.add(file, token)
        print(_line(given, token))
    else:
        token_files.revoke(file, given.name)
        if given.name == FIRST:
            print(_line(given, token_files.read_first(file)))


def _line(given: TokenSettings, token: Token) -> str:
    """Return one line about a token: what it is for, what it may show, and its address for pages and for games."""
    host = host_in_url(given.host or local_ip())
    scope = "".join(f" {key}={value!r}" for key, value in (("code", token.code), ("student", token.student)) if value)
    secret = quote(token.token, safe="")
    page = f"http://{host}:{given.ws_port}/#token={secret}"
    return f"{token.name}: {token.role}{scope} {page} ws://{host}:{given.ws_port}/?token={secret}"

"""The lines that `neuroone up` prints when everything runs, and the table of what does."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import quote

from neuroone.logins import READER
from neuroone.service.language import texts_in
from neuroone.service.local_address import ANY_ADDRESS, host_in_url, local_ip
from neuroone.service.token_files import FIRST
from neuroone.up.broker_access import Access
from neuroone.up.console import wrapped

GAMES: Final = "games"
"""The name of the token to watch that the first start makes."""


class State(StrEnum):
    """What a program of the system does."""

    RUNNING = "running"
    STARTING = "starting"
    FAULTY = "faulty"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Row:
    """A program of the system, as the table shows it."""

    service: str
    state: State
    address: str


def texts(language: str) -> Mapping[str, str]:
    """Return the texts of `neuroone up` in a language."""
    return texts_in(Path(__file__).parent, language)


def host_elsewhere(host: str) -> str:
    """Return the address by which other devices reach a server that listens on ``host``."""
    return local_ip() if host in ANY_ADDRESS else host


def banner(
    host: str,
    port: int,
    tokens: Mapping[str, str],
    data: Path,
    broker: str,
    out: TextIO,
    simulated: Sequence[Path] = (),
    tls_port: int | None = None,
    *,
    public_url: str | None = None,
    site_key: str | None = None,
    has_bridge: bool = True,
    access: Access | None = None,
    language: str = "en",
) -> str:
    """Return the first server's banner to the letter, then what is new, in ``language``; ``tokens`` are those to print.

    ``simulated`` are the files of simulated headsets; ``tls_port`` is the port of https, if there is one. Students'
    addresses end in ``site_key``, if there is one. ``access`` has the logins of the broker, if it wants any.
    """
    say, shown = texts(language), host_in_url(host_elsewhere(host))
    url, key = f"ws://{shown}:{port}", f"/ws/{site_key}" if site_key else ""
    public = "ws" + public_url.removeprefix("http").rstrip("/") if public_url else url
    return "\n".join(
        (
            "=== Servidor WebSocket Headless ===",
            f"IP Local: {local_ip()}",
            f"Porta: {port}",
            f"URL WebSocket: {url}{key}",
            f"URL WebSocket (público): {public}{key}",
            "=" * 40,
            *_dashboard_lines(shown, port, tokens, out, say),
            *(() if tls_port is None else _https_lines(shown, port, tls_port, out, say)),
            f"{say['csv']}: {data}",
            *(f"{say['simulated']}: {file}" for file in simulated),
            f"MQTT: {broker}",
            *_reader_lines(access, say),
            *(() if has_bridge else (wrapped(say["no_port"], out),)),
            say["stop"],
        )
    )


def _dashboard_lines(
    host: str, port: int, tokens: Mapping[str, str], out: TextIO, say: Mapping[str, str]
) -> Iterable[str]:
    url = f"http://{host}:{port}/"
    if FIRST in tokens:
        url += f"#token={quote(tokens[FIRST], safe='')}"
    yield f"Dashboard: {url}"
    yield from qr_code(url, out)
    if FIRST not in tokens:
        return
    if GAMES in tokens:
        yield f"{say['games']}: ws://{host}:{port}/?token={quote(tokens[GAMES], safe='')}"
    yield wrapped(say["token"], out)


def _reader_lines(access: Access | None, say: Mapping[str, str]) -> Iterable[str]:
    """Yield how programs and web pages read from a broker that wants logins."""
    if access is None or access.logins is None:
        return
    host = host_elsewhere(access.host)
    yield f"{say['programs']}: {replace(access.of(READER), host=host).url}"
    if access.ws_port is not None:
        yield f"{say['browsers'].format(user=READER)}: ws://{host_in_url(host)}:{access.ws_port}/mqtt"


def _https_lines(host: str, port: int, tls_port: int, out: TextIO, say: Mapping[str, str]) -> Iterable[str]:
    url = f"https://{host}:{tls_port}/student"
    yield f"HTTPS: {url}"
    yield from qr_code(url, out)
    yield f"{say['trust']}: http://{host}:{port}/trust"
    yield f"{say['trust_here']}: http://localhost:{port}/student"


def table(rows: Sequence[Row], language: str) -> list[str]:
    """Return the table of what runs: each program, what it does, and where it is."""
    say = texts(language)
    cells = [(say["service"], say["state"], say["address"])]
    cells += [(row.service, say[row.state], row.address) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, each, widths)).rstrip() for each in cells]


def qr_code(url: str, out: TextIO) -> tuple[str, ...]:
    """Draw the address for the camera of a phone; draw nothing outside a terminal or without the extra `up`."""
    if not out.isatty():
        return ()
    try:
        import segno

        drawn = io.StringIO()
        segno.make(url, error="l", micro=False).terminal(out=drawn, border=2, compact=True)
        drawn.getvalue().encode(out.encoding)
    except (ImportError, UnicodeEncodeError):
        return ()
    return tuple(drawn.getvalue().splitlines())

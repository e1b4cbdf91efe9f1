"""The lines that `neuroone up` prints when everything runs."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import quote

from neuroone.service.local_address import host_in_url, local_ip
from neuroone.service.token_files import FIRST

GAMES: Final = "games"
"""The name of the token to watch that the first start makes."""
ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 (phones)


def banner(
    host: str,
    port: int,
    tokens: Mapping[str, str],
    data: Path,
    broker: str,
    out: TextIO,
    simulated: Sequence[Path] = (),
    tls_port: int | None = None,
) -> str:
    """Return the first server's banner to the letter, then the lines that are new; ``tokens`` are those to print.

    ``simulated`` are the files of simulated headsets; ``tls_port`` is the port of https, if there is one.
    """
    ip = local_ip()
    shown = ip if host in ANY_ADDRESS else host
    return "\n".join(
        (
            "=== Servidor WebSocket Headless ===",
            f"IP Local: {ip}",
            f"Porta: {port}",
            f"URL WebSocket: ws://{ip}:{port}",
            f"URL WebSocket (público): ws://{host}:{port}",
            "=" * 40,
            *_dashboard_lines(shown, port, tokens, out),
            *(() if tls_port is None else _https_lines(shown, port, tls_port, out)),
            f"Arquivos CSV: {data}",
            *(f"Headset simulado / Simulated headset: {file}" for file in simulated),
            f"MQTT: {broker}",
            "Pressione Ctrl+C para parar / Press Ctrl+C to stop",
        )
    )


def _dashboard_lines(host: str, port: int, tokens: Mapping[str, str], out: TextIO) -> list[str]:
    url = f"http://{host_in_url(host)}:{port}/"
    if FIRST not in tokens:
        return [f"Dashboard: {url}", *qr_code(url, out)]
    url += f"#token={quote(tokens[FIRST], safe='')}"
    lines = [f"Dashboard: {url}", *qr_code(url, out)]
    if GAMES in tokens:
        lines.append(f"Jogos / Games: ws://{host_in_url(host)}:{port}/?token={quote(tokens[GAMES], safe='')}")
    lines.append(
        "Em outras máquinas, dashboards e jogos precisam do token no endereço; o dos jogos só assiste. neuroone token "
        "cria e cancela tokens; --open-dashboards libera todos. / On other machines, dashboards and games need the "
        "token in their address; that of the games only watches. neuroone token makes and revokes tokens; "
        "--open-dashboards lets all in."
    )
    return lines


def _https_lines(host: str, port: int, tls_port: int, out: TextIO) -> list[str]:
    url = f"https://{host_in_url(host)}:{tls_port}/student"
    trust = f"http://{host_in_url(host)}:{port}/trust"
    return [
        f"HTTPS: {url}",
        *qr_code(url, out),
        f"Cada aparelho confia uma vez neste servidor / Each device trusts this server once: {trust}",
        f"Nesta máquina não é preciso / Not needed on this machine: http://localhost:{port}/student",
    ]


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

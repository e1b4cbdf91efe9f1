"""Settings of the gateway."""

from dataclasses import dataclass
from pathlib import Path

from neuroone.service.settings import BusSettings, decimal, port_number, setting, switch, whole
from ws_gateway.access import Network, networks


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BusSettings):
    """Options of ``ws-gateway``."""

    host: str = setting("0.0.0.0", str, "Address that the WebSocket server listens on.")  # noqa: S104 (phones)
    ws_port: int = setting(8080, port_number, "Port of the WebSocket server.")
    reading_rate: float = setting(
        5.0, decimal(0.1, 1000), "Readings a second that one student may send; faster ones are coalesced to this rate."
    )
    token: str | None = setting(
        None,
        str,
        "Token that dashboards and clients that only listen must show. Default: everybody may watch.",
        secret=True,
    )
    token_file: Path | None = setting(
        None, Path, "File with that token; created with a new token if it does not exist.", metavar="FILE"
    )
    open_dashboards: bool = setting(False, switch, "Let everybody watch the students, even if there is a token.")
    open_here: bool = setting(
        False, switch, "Let programs and pages of this machine watch the students without the token."
    )
    join_codes: Path | None = setting(
        None,
        Path,
        "JSON file, an object of class code to the join code that its students must show; other classes need none.",
        metavar="FILE",
    )
    origin: tuple[str, ...] = setting(
        (), str, "Origin of web pages that may connect, like https://school.example. Default: all.", many=True
    )
    clients_per_address: int = setting(
        20_000, whole(1, 1_000_000), "Connections that one address may have; a school is behind one."
    )
    recordings: Path | None = setting(
        None,
        Path,
        "Directory of the recorder, from which the page's users may load files. Default: none.",
        metavar="DIR",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        networks,
        "Reverse proxies whose X-Forwarded-For header is believed. Default: none.",
        metavar="CIDR[,CIDR...]",
    )

"""Settings of the gateway."""

from dataclasses import dataclass
from pathlib import Path

from neuroone.contract.errors import SettingsError
from neuroone.service.pseudonyms import PSEUDONYMS
from neuroone.service.settings import BusSettings, decimal, port_number, setting, switch, whole
from neuroone.service.site_address import key_in_path, public_url
from ws_gateway.http.access_log import STANDARD_OUTPUT
from ws_gateway.osc import Target, target
from ws_gateway.visitors import Network, networks


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BusSettings):
    """Options of ``ws-gateway``."""

    host: tuple[str, ...] = setting(
        ("0.0.0.0",),  # noqa: S104 (phones)
        str,
        "Address that the WebSocket server listens on; :: listens on every address, IPv4 and IPv6.",
        many=True,
    )
    ws_port: int = setting(8080, port_number, "Port of the WebSocket server.")
    tls_port: int | None = setting(
        None, port_number, "Port of https and wss, beside the other. Needs --tls-cert. Default: none."
    )
    tls_cert: Path | None = setting(
        None,
        Path,
        "File with the certificate for --tls-port and its chain (PEM). A renewed one is noticed.",
        metavar="FILE",
    )
    tls_key: Path | None = setting(
        None, Path, "File with the key of that certificate, without a password. Default: --tls-cert's.", metavar="FILE"
    )
    tls_ca: Path | None = setting(
        None, Path, "File with the authority that devices must trust first; shown at /ca.crt.", metavar="FILE"
    )
    reading_rate: float = setting(
        5.0, decimal(0.1, 1000), "Readings a second that one student may send; faster ones are coalesced to this rate."
    )
    token: str | None = setting(
        None,
        str,
        "The teacher's token, for dashboards and clients that only listen. Default: --token-file's, or a new one.",
        secret=True,
    )
    sites: Path | None = setting(
        None,
        Path,
        "JSON file with the schools of a district, each with its own broker login, tokens and recordings; they are at "
        "/SITE/. --site is then that of apps whose address names none. Default: one site.",
        metavar="FILE",
    )
    token_file: Path | None = setting(
        None,
        Path,
        "File with that token; created with a new token if it does not exist. Further ones, made by `neuroone token`, "
        "are in a list beside it.",
        metavar="FILE",
    )
    open_dashboards: bool = setting(False, switch, "Let everybody watch the students, with or without a token.")
    open_here: bool = setting(
        True, switch, "Let programs and pages of this machine watch without a token; --no-open-here forbids it."
    )
    join_codes: Path | None = setting(
        None,
        Path,
        "JSON file, an object of class code to the join code that its students must show; other classes need none.",
        metavar="FILE",
    )
    site_key: str | None = setting(
        None,
        key_in_path,
        "Key that students' addresses must end in, like ws://SERVER:8080/ws/KEY. Default: none is needed.",
        secret=True,
        metavar="KEY",
    )
    origin: tuple[str, ...] = setting(
        (),
        str,
        "Origin of web pages that may connect beside the gateway's own, like https://school.example. Default: all.",
        many=True,
    )
    public_url: str | None = setting(
        None,
        public_url,
        "Address of this server for students, in invitations, like https://school.example. Default: the one by which "
        "the teacher reaches it, or this machine's address in the local network.",
        metavar="URL",
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
    pseudonyms: Path | None = setting(None, Path, PSEUDONYMS, metavar="FILE")
    access_log: str | None = setting(
        None,
        str,
        "File outside of the recordings for a line of JSON for each recording that somebody loads; - writes them to "
        "the standard output. Default: none.",
        metavar="FILE",
    )
    osc: tuple[Target, ...] = setting(
        (),
        target,
        "HOST:PORT of a program that gets each reading as OSC over UDP, not encrypted. Default: none.",
        many=True,
        metavar="HOST:PORT",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        networks,
        "Reverse proxies whose X-Forwarded-For or Forwarded header is believed. Default: none.",
        metavar="CIDR[,CIDR...]",
    )

    def check_places(self) -> None:
        """Raise SettingsError if a file with names stands where recordings are shown, backed up and forgotten."""
        named = {"--access-log": self.access_log, "--pseudonyms": self.pseudonyms}
        faults = [
            f"{flag}: must not be in the directory of the recordings"
            for flag, place in named.items()
            if self.recordings is not None
            and place not in (None, STANDARD_OUTPUT)
            and Path(str(place)).resolve().is_relative_to(self.recordings.resolve())
        ]
        if faults:
            raise SettingsError(faults)

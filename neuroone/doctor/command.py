"""`neuroone doctor`: check everything that commonly goes wrong, and print what to do about it."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from neuroone.contract import hints
from neuroone.contract.files import CERTIFICATES
from neuroone.doctor import checks, machine, network
from neuroone.doctor.checks import Finding, Status
from neuroone.service import qt_libraries
from neuroone.service.language import language_of
from neuroone.service.lifecycle import FAILED, OK, Stop
from neuroone.service.local_address import local_ip
from neuroone.service.settings import BusSettings, decimal, one_of, setting, switch

LISTEN_S: Final = 12.0
"""A service publishes its health every 10 s."""
LANGUAGES: Final = ("en", "pt-BR")
LOOPBACKS: Final = ("127.0.0.1", "localhost", "::1")
ROOT: Final = Path("/")
RECORDINGS: Final = Path("recordings")
"""The default directory of `neuroone up` and of the recorder."""


def websocket_url(given: str) -> str:
    """Parse ``--ws-url``. Raises ValueError."""
    if urlsplit(given).scheme not in ("ws", "wss") or not urlsplit(given).hostname:
        raise ValueError("must be like ws://127.0.0.1:8080 or wss://school.example/ws/")
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSettings(BusSettings):
    """Options of `neuroone doctor`."""

    ws_url: str = setting("ws://127.0.0.1:8080/", websocket_url, "Address of the gateway or its proxy.", metavar="URL")
    ws_ca: Path | None = setting(
        None, Path, "File with the certificate authorities to trust for wss://; the system's by default."
    )
    data: Path | None = setting(
        None, Path, "Directory of the CSV files. Default: recordings, if it exists.", metavar="DIR"
    )
    port: tuple[str, ...] = setting(
        (),
        str,
        "A serial port or Bluetooth LE headset that must exist. May be given more than once.",
        many=True,
    )
    seconds: float = setting(LISTEN_S, decimal(0.1, 3600), "Longest time to listen to the broker, in s.")
    language: str | None = setting(None, one_of(*LANGUAGES), "en or pt-BR; the system's by default.")
    json: bool = setting(False, switch, "Print each finding as one line of JSON.")


def run(given: DoctorSettings, stop: Stop) -> int:
    """Check everything and print the findings; return OK, or FAILED if there is a problem."""
    findings = list(examine(given, stop))
    language = given.language or language_of(os.environ)
    for finding in findings:
        print(as_json(finding, language) if given.json else as_text(finding, language))
    return FAILED if any(finding.status is Status.PROBLEM for finding in findings) else OK


def examine(given: DoctorSettings, stop: Stop) -> Iterable[Finding]:
    """Run every check."""
    programs = machine.running(ROOT)
    adapters = machine.adapters(ROOT)
    serial = [port for port in given.port if not checks.is_ble(port)]
    devices = dict.fromkeys([*serial, *(adapter.device for adapter in adapters if adapter.device)])
    yield from checks.ports(adapters, [machine.port(device, ROOT) for device in devices], programs)
    yield from (checks.bluetooth(machine.bluetooth(port)) for port in given.port if checks.is_ble(port))

    for broker in given.broker:
        received = network.listen(broker, given.broker_ca, given.site, given.seconds, stop.is_set)
        yield checks.broker(received.answer)
        if not received.answer.fault:
            break
    if not received.answer.fault and received.answer.may_read:
        yield from checks.services(received.instances)
        yield from checks.recorder_disk(received.instances)
        yield from checks.clocks(received.instances)
        yield from checks.values(received.streams, received.readings)

    answer = network.try_websocket(given.ws_url, given.ws_ca)
    yield checks.websocket(answer)
    address = urlsplit(given.ws_url)
    port = address.port or (443 if address.scheme == "wss" else 80)
    if address.hostname in LOOPBACKS:
        mine = local_ip()
        other = network.try_websocket(urlunsplit(address._replace(netloc=f"{mine}:{port}")), given.ws_ca)
        # The certificate is for the server's name and not for this address: a TLS fault proves that the port is open.
        yield checks.network(not answer.fault, mine, not other.fault or other.fault == "tls", port)
        yield checks.firewall(machine.firewall(ROOT), port, programs)

    data = given.data or (RECORDINGS if RECORDINGS.is_dir() else None)
    yield checks.recordings(None if data is None else machine.directory(data.resolve()))
    yield checks.certificate(None if data is None else machine.https(data.resolve() / CERTIFICATES))
    yield from checks.units(machine.units(machine.run))
    yield checks.memory(machine.available_memory_bytes(ROOT))
    lacks = qt_libraries.missing(os.environ)
    install = qt_libraries.install_command(lacks or ())
    yield checks.window(lacks, install, qt_libraries.has_screen(os.environ))


@cache
def read_texts(language: str) -> Mapping[str, str]:
    """Read the texts: for each code what was found and, under ``CODE.do``, what to do about it."""
    texts: dict[str, str] = json.loads(Path(__file__).with_name(f"{language}.json").read_text(encoding="utf-8"))
    return texts


def sentences(finding: Finding, language: str) -> tuple[str, str | None]:
    """Return what was found and, for a problem, what to do about it."""
    texts, facts = read_texts(language), dict(finding.facts)
    if finding.state is not None:
        facts["hint"] = hints.of_state(finding.state, language) or ""
    do = texts[f"{finding.code}.do"].format(**facts) if finding.status is Status.PROBLEM else None
    return texts[finding.code].format(**facts).strip(), do


def as_text(finding: Finding, language: str) -> str:
    """Format a finding for people: what was found and, below it, what to do."""
    texts, (says, do) = read_texts(language), sentences(finding, language)
    shown = f"{texts[finding.status]:8} {finding.check}: {says}"
    if do is not None:
        shown += f"\n{'':8} {texts['do']}: {do}"
    printable = sys.stdout.encoding or "utf-8"
    return shown.encode(printable, "replace").decode(printable)


def as_json(finding: Finding, language: str) -> str:
    """Format a finding for programs; ``code`` and ``facts`` are the same in every language."""
    says, do = sentences(finding, language)
    values = {"check": finding.check, "status": finding.status, "code": finding.code, "facts": dict(finding.facts)}
    return json.dumps({**values, "says": says, "do": do}, ensure_ascii=False)

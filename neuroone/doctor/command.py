"""`neuroone doctor`: looks at everything that commonly goes wrong, and says what to do about it."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from neuroone.doctor import checks, machine, network
from neuroone.doctor.checks import Finding, Status
from neuroone.doctor.texts import HEADINGS, LANGUAGES, WORDS
from neuroone.service.lifecycle import FAILED, OK, Stop
from neuroone.service.settings import BusSettings, decimal, one_of, setting, switch, text
from neuroone.up.banner import local_ip

LISTEN_S: Final = 12.0
"""A service says how it does every 10 s."""
LOOPBACKS: Final = ("127.0.0.1", "localhost", "::1")
ROOT: Final = Path("/")
RECORDINGS: Final = Path("recordings")
"""Where `neuroone up` and the recorder write if they are not told."""


def websocket_url(given: str) -> str:
    """The parser of ``--ws-url``."""
    if urlsplit(given).scheme not in ("ws", "wss") or not urlsplit(given).hostname:
        raise ValueError("must be like ws://127.0.0.1:8080 or wss://school.example/ws/")
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSettings(BusSettings):
    """What `neuroone doctor` can be told."""

    ws_url: str = setting("ws://127.0.0.1:8080/", websocket_url, "Where the gateway or its proxy is.", metavar="URL")
    ws_ca: Path | None = setting(
        None, Path, "File with the certificate authorities to trust for wss://; the system's by default."
    )
    data: Path | None = setting(
        None, Path, "Directory of the CSV files. Default: recordings, if it is there.", metavar="DIR"
    )
    port: tuple[str, ...] = setting(
        (), text, "A serial port that must be there; may be given several times.", many=True
    )
    seconds: float = setting(LISTEN_S, decimal(0.1, 3600), "How long to listen to the broker at most, in s.")
    language: str | None = setting(None, one_of(*LANGUAGES), "en or pt-BR; the system's by default.")
    json: bool = setting(False, switch, "Print one JSON object a finding and a line.")


def run(given: DoctorSettings, stop: Stop) -> int:
    """Check everything; OK, or FAILED where there is a problem."""
    findings = list(examine(given, stop))
    language = given.language or language_of(os.environ)
    for finding in findings:
        print(as_json(finding, language) if given.json else as_text(finding, language))
    return FAILED if any(finding.status is Status.PROBLEM for finding in findings) else OK


def examine(given: DoctorSettings, stop: Stop) -> Iterable[Finding]:
    """Everything that there is to find."""
    programs = machine.running(ROOT)
    adapters = machine.adapters(ROOT)
    devices = dict.fromkeys([*given.port, *(adapter.device for adapter in adapters if adapter.device)])
    yield from checks.ports(adapters, [machine.port(device, ROOT) for device in devices], programs)

    heard = network.listen(given.broker, given.broker_ca, given.site, given.seconds, stop.is_set)
    yield checks.broker(heard.answer)
    if not heard.answer.fault and heard.answer.may_read:
        yield from checks.services(heard.instances)
        yield from checks.recorder_disk(heard.instances)
        yield from checks.clocks(heard.instances)
        yield from checks.values(heard.streams, heard.readings)

    answer = network.knock(given.ws_url, given.ws_ca)
    yield checks.websocket(answer)
    address = urlsplit(given.ws_url)
    port = address.port or (443 if address.scheme == "wss" else 80)
    if address.hostname in LOOPBACKS:
        mine = local_ip()
        other = network.knock(urlunsplit(address._replace(netloc=f"{mine}:{port}")), given.ws_ca)
        # A certificate is for a name: that it is not for this address says that the port is open.
        yield checks.network(not answer.fault, mine, not other.fault or other.fault == "tls", port)
        yield checks.firewall(machine.firewall(ROOT), port, programs)

    data = given.data or (RECORDINGS if RECORDINGS.is_dir() else None)
    yield checks.recordings(None if data is None else machine.directory(data.resolve()))
    yield from checks.units(machine.units(machine.run))
    yield checks.memory(machine.available_memory_bytes(ROOT))


def language_of(environ: Mapping[str, str]) -> str:
    """The language of the system's settings, as far as there are words in it."""
    wanted = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return "pt-BR" if wanted.lower().startswith("pt") else "en"


def as_text(finding: Finding, language: str) -> str:
    """A finding in words: what is, and below it what to do."""
    words, headings = WORDS[language][finding.code], HEADINGS[language]
    lines = [f"{headings[finding.status]:8} {finding.check}: {words.says.format(**finding.facts).strip()}"]
    if finding.status is Status.PROBLEM:
        lines.append(f"{'':8} {headings['do']}: {words.do.format(**finding.facts)}")
    printable = sys.stdout.encoding or "utf-8"
    return "\n".join(lines).encode(printable, "replace").decode(printable)


def as_json(finding: Finding, language: str) -> str:
    """A finding for programs; ``code`` and ``facts`` stay the same in every language."""
    words = WORDS[language][finding.code]
    return json.dumps(
        {
            "check": finding.check,
            "status": finding.status,
            "code": finding.code,
            "facts": dict(finding.facts),
            "says": words.says.format(**finding.facts).strip(),
            "do": words.do.format(**finding.facts) if finding.status is Status.PROBLEM else None,
        },
        ensure_ascii=False,
    )

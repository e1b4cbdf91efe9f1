"""The checks of `neuroone doctor`: pure functions from observations to findings.

A finding is a code, which `neuroone.doctor.texts` puts into words, and the facts that fill these words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from neuroone.contract.messages import BANDS, Link, Reading, ServiceStatus, StreamState, StreamStatus

SPACE_MIN_BYTES: Final = 10**9
"""A class of 30 writes about 40 MB in a school day; the inbox, an export and the log need room too."""
MEMORY_MIN_BYTES: Final = 200 * 2**20
"""With less free memory, the next report or update may make Linux kill a service."""
RESTARTS_MAX: Final = 2
"""An update and a reboot restart a service once each; more restarts are a fault."""
SKEW_MAX_S: Final = 5.0
"""Rows of two computers are compared second by second; a message arrives much faster than this."""
MOSQUITTO_MIN: Final = (2, 0)
"""The first version with the MQTT 5 that the recorder uses; 1.x does not read our password files either."""
NEEDED: Final = ("csv_recorder", "ws_gateway")
"""Without these services nothing is recorded."""
PORT_GRABBERS: Final = ("brltty", "ModemManager")
"""Programs that open serial adapters of other programs."""
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
"""The Linux driver of each serial adapter, by USB id. 1a86:7523 is the MindWave's dongle."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: ``code`` selects the text, ``facts`` fill it in."""

    check: str
    status: Status
    code: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A serial adapter on the USB: its id and its port; None if the system made no port for it."""

    usb_id: str
    device: str | None


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port that should be usable, its group, and the programs that have it open."""

    device: str
    exists: bool
    may_open: bool
    group: str
    holders: tuple[str, ...] = ()


def ports(adapters: Sequence[Adapter], wanted: Sequence[Port], running: Iterable[str]) -> list[Finding]:
    """Check the ports of headsets.

    Args:
        adapters: The serial adapters on the USB.
        wanted: The ports of the adapters, and those that the user names.
        running: The names of the programs that run.
    """
    findings = []
    has_brltty = "brltty" in running
    for adapter in adapters:
        if adapter.device is None:
            facts = {"usb_id": adapter.usb_id, "driver": ADAPTERS.get(adapter.usb_id, "?")}
            findings.append(_problem("port", "port_brltty" if has_brltty else "port_no_driver", facts))
    for port in wanted:
        grabber = next((program for program in PORT_GRABBERS if program in port.holders), None)
        if not port.exists:
            findings.append(_problem("port", "port_missing", {"device": port.device}))
        elif not port.may_open:
            findings.append(_problem("port", "port_no_permission", {"device": port.device, "group": port.group}))
        elif grabber is not None:
            findings.append(_problem("port", "port_taken", {"device": port.device, "program": grabber}))
        else:
            findings.append(_ok("port", "port_ok", {"device": port.device}))
    return findings or [_skipped("port", "port_none")]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a WebSocket address: an HTTP status, or a fault.

    ``fault`` is "refused", "timeout", "name", "tls" or "no_upgrade"; "" without a fault.
    ``ready`` is the HTTP status of the gateway's /readyz.
    """

    url: str
    status: int | None = None
    fault: str = ""
    detail: str = ""
    ready: int | None = None


def websocket(answer: Answer) -> Finding:
    """Check whether students and dashboards can connect."""
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
    """Check whether the port that works on this machine also works on its address in the network."""
    facts = {"address": address, "port": str(port)}
    if not loopback_works or address.startswith("127."):
        return _skipped("network", "network_skipped", facts)
    return _ok("network", "network_ok", facts) if address_works else _problem("network", "network_closed", facts)


@dataclass(frozen=True, slots=True)
class Firewall:
    """A firewall that is switched on, and the TCP ports that it opens; None if this user may not read them."""

    name: str
    open_ports: frozenset[int] | None


def firewall(wall: Firewall | None, port: int, running: Iterable[str]) -> Finding:
    """Check whether the firewall lets students in. Ports that Docker publishes bypass ufw and firewalld."""
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
    """Check whether CSV files can be written."""
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
    """A service as the broker knows it: its state and, from its health report, its clock and disk; None without one."""

    service: str
    instance: str
    status: ServiceStatus
    skew_s: float | None = None
    disk_works: bool | None = None

    @property
    def name(self) -> str:
        """Return the service and the instance, as one text."""
        return f"{self.service}/{self.instance}"


def services(instances: Sequence[Instance]) -> list[Finding]:
    """Check that gateway and recorder are online; a bridge or a monitor may be offline."""
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
    """Check whether each recorder reports that its disk works."""
    known = [each for each in instances if each.service == "csv_recorder" and each.disk_works is not None]
    return [
        _ok("recorder", "recorder_ok", {"service": each.name})
        if each.disk_works
        else _problem("recorder", "recorder_disk", {"service": each.name})
        for each in known
    ]


def clocks(instances: Sequence[Instance]) -> list[Finding]:
    """Check whether this computer and those of the services agree on the time."""
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
    """A service as Docker or systemd, which restarts it, knows it. ``tail`` is the end of its log."""

    name: str
    running: bool
    restarts: int
    out_of_memory: bool
    exit_code: int
    tail: str = ""


def units(found: Sequence[Unit]) -> list[Finding]:
    """Check whether services die."""
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
    """Check whether the machine has free memory."""
    if available_bytes is None:
        return _skipped("memory", "memory_unknown")
    facts = {"free_mb": str(available_bytes // 10**6)}
    is_enough = available_bytes >= MEMORY_MIN_BYTES
    return _ok("memory", "memory_ok", facts) if is_enough else _problem("memory", "memory_low", facts)


def values(states: Mapping[str, StreamState], readings: Mapping[str, Sequence[Reading]]) -> list[Finding]:
    """Check the values of each stream, by ``group/source``: no link, poor contact, or zeros."""
    findings = []
    for stream, state in sorted(states.items()):
        facts = {"stream": stream, "link": str(state.link), "hint": state.hint or ""}
        received = readings.get(stream, ())
        if state.status is StreamStatus.OFFLINE and state.link in (Link.ENDED, Link.CONNECTED, Link.SEARCHING):
            continue  # the session is over: nobody wears this headset now
        if state.link is not Link.CONNECTED:
            findings.append(_problem("values", "stream_link", facts))
        elif received:
            findings.append(_value(stream, received[-1]))
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
    """The broker's answer, whether this login may read, and the broker's version if it publishes one.

    ``fault`` is "refused", "timeout", "name", "tls" or "login"; "" without a fault.
    """

    address: str
    fault: str = ""
    detail: str = ""
    may_read: bool = True
    version: str = ""


def broker(answer: BrokerAnswer) -> Finding:
    """Check whether services and programs can log in and read."""
    facts = {"address": answer.address, "detail": answer.detail, "version": answer.version or "?"}
    if answer.fault:
        return _problem("broker", f"broker_{answer.fault}", facts)
    if not answer.may_read:
        return _problem("broker", "broker_acl", facts)
    if "mosquitto" in answer.version and version_of(answer.version) < MOSQUITTO_MIN:
        return _problem("broker", "broker_old", facts)
    return _ok("broker", "broker_ok", facts)


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers of a broker's version text, like "mosquitto version 2.0.11"."""
    return tuple(int(part) for part in text.rsplit(" ", 1)[-1].split(".") if part.isdecimal())


def _ok(check: str, code: str, facts: Mapping[str, str]) -> Finding:
    return Finding(check, Status.OK, code, facts)


def _problem(check: str, code: str, facts: Mapping[str, str]) -> Finding:
    return Finding(check, Status.PROBLEM, code, facts)


def _skipped(check: str, code: str, facts: Mapping[str, str] | None = None) -> Finding:
    return Finding(check, Status.SKIPPED, code, facts or {})

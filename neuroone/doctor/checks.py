"""The checks of `neuroone doctor`: pure functions from observations to findings.

A finding is a code, which en.json and pt-BR.json put into words, and the facts that fill these words.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from neuroone.contract.doubt import Doubt, Doubts
from neuroone.contract.messages import OFF_SKIN, Link, Reading, ServiceStatus, StreamState, StreamStatus
from neuroone.contract.shards import Shard

SPACE_MIN_BYTES: Final = 10**9
"""A class of 30 writes about 40 MB in a school day; the inbox, an export and the log need room too."""
CERTIFICATE_MIN_DAYS: Final = 25
"""`neuroone up --tls` renews it when fewer than 30 are left: with fewer than these, it does not."""
CERTIFICATE_MIN_SHARE: Final = 0.2
CERTIFICATE_MIN_S: Final = 20 * 86400.0
"""What is left of a server's certificate when somebody must act. certbot and Caddy renew when a third is left: of 90
days, or of the 12 hours of Caddy's own ones."""
MEMORY_MIN_BYTES: Final = 200 * 2**20
"""With less free memory, the next report or update may make Linux kill a service."""
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

_CHECKS: Final[Mapping[str, str]] = {
    "ws": "websocket",
    "ble": "bluetooth",
    "csv": "recordings",
    "service": "services",
    "unit": "restarts",
    "stream": "values",
    "signal": "values",
}
"""The names of the checks whose codes begin with another word."""
_REFUSALS: Final[Mapping[int, str]] = {429: "too_many", 502: "proxy", 503: "proxy", 504: "proxy"}
"""Why an HTTP status answers a WebSocket handshake, as the end of a code."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    PROBLEM = "problem"
    SKIPPED = "skipped"


_DOUBTFUL: Final[Mapping[Doubt | None, str]] = {
    Doubt.POOR_CONTACT: "signal_poor",
    Doubt.ZEROS: "values_zero",
    Doubt.NO_BANDS: "values_no_bands",
}
"""Doubts that somebody can act upon, and that one reading shows."""
BLE: Final = "ble"
_ENDINGS: Final = {"ok": Status.OK, **dict.fromkeys(("none", "unknown", "skipped", "elsewhere"), Status.SKIPPED)}
"""The status of codes with these endings; all others are problems."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: ``code`` selects the text, ``facts`` fill it in.

    ``state`` is that of the stream that it is about: its hint is shown in the reader's language.
    """

    code: str
    facts: Mapping[str, str] = field(default_factory=dict)
    state: StreamState | None = None

    @property
    def check(self) -> str:
        """The name of the check."""
        first = self.code.partition("_")[0]
        return _CHECKS.get(first, first)

    @property
    def status(self) -> Status:
        """How the check ended."""
        return _ENDINGS.get(self.code.rpartition("_")[2], Status.PROBLEM)


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


def ports(adapters: Sequence[Adapter], wanted: Sequence[Port], running: Collection[str]) -> list[Finding]:
    """Check the ports of headsets: ``wanted`` are those of the adapters, and those that the user names."""
    findings = []
    for adapter in adapters:
        if adapter.device is None:
            facts = {"usb_id": adapter.usb_id, "driver": ADAPTERS.get(adapter.usb_id, "?")}
            findings.append(Finding("port_brltty" if "brltty" in running else "port_no_driver", facts))
    for port in wanted:
        facts = {"device": port.device}
        grabber = next((program for program in PORT_GRABBERS if program in port.holders), None)
        if not port.exists:
            findings.append(Finding("port_missing", facts))
        elif not port.may_open:
            findings.append(Finding("port_no_permission", facts | {"group": port.group}))
        elif grabber is not None:
            findings.append(Finding("port_taken", facts | {"program": grabber}))
        else:
            findings.append(Finding("port_ok", facts))
    return findings or [Finding("port_none")]


@dataclass(frozen=True, slots=True)
class Nearby:
    """A device in reach over Bluetooth LE."""

    address: str
    name: str
    is_headset: bool


@dataclass(frozen=True, slots=True)
class Bluetooth:
    """What is in reach for ``--port ble``, ``ble:NAME`` or ``ble:ADDRESS``, and why a search was not possible."""

    device: str
    found: tuple[Nearby, ...] = ()
    fault: str = ""

    def matches(self, nearby: Nearby) -> bool:
        """Return True if the bridge would take this device for the one that is meant (its rules are the same)."""
        wanted, name = self.device.partition(":")[2].casefold(), nearby.name.casefold()
        if wanted in ("", "*"):
            return nearby.is_headset
        is_name = name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted
        return is_name or nearby.address.casefold() == wanted


def is_ble(port: str) -> bool:
    """Return True if ``--port`` names a headset over Bluetooth LE."""
    return port == BLE or port.startswith(f"{BLE}:")


def bluetooth(seen: Bluetooth) -> Finding:
    """Check a headset over Bluetooth LE."""
    facts = {"device": seen.device}
    if names := [each.name or each.address for each in seen.found if seen.matches(each)]:
        return Finding("ble_ok", facts | {"names": ", ".join(names)})
    return Finding("ble_fault", facts | {"detail": seen.fault}) if seen.fault else Finding("ble_missing", facts)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a WebSocket address: an HTTP status, or a fault.

    ``fault`` is "refused", "timeout", "name", "tls" or "no_upgrade"; "" without a fault.
    ``ready`` is the HTTP status of the gateway's /readyz. Of its certificate ``life_s`` seconds in all are ``left_s``.
    """

    url: str
    status: int | None = None
    fault: str = ""
    detail: str = ""
    ready: int | None = None
    life_s: float = 0.0
    left_s: float = 0.0


def websocket(answer: Answer) -> Finding:
    """Check whether students and dashboards can connect."""
    fault = answer.fault
    if answer.status not in (None, 101):
        fault = _REFUSALS.get(answer.status, "no_upgrade")
    elif answer.ready == 503:
        fault = "no_broker"
    elif not fault and answer.left_s < min(answer.life_s * CERTIFICATE_MIN_SHARE, CERTIFICATE_MIN_S):
        fault = "certificate"
    facts = {"url": answer.url, "status": str(answer.status), "detail": answer.detail}
    facts["hours"] = f"{answer.left_s / 3600:.0f}"
    return Finding(f"ws_{fault or 'ok'}", facts)


def network(loopback_works: bool, address: str, address_works: bool, port: int) -> Finding:
    """Check whether the port that works on this machine also works on its address in the network."""
    facts = {"address": address, "port": str(port)}
    if not loopback_works or address.startswith("127."):
        return Finding("network_skipped", facts)
    return Finding("network_ok" if address_works else "network_closed", facts)


@dataclass(frozen=True, slots=True)
class Firewall:
    """A firewall that is switched on, and the TCP ports that it opens; None if this user may not read them."""

    name: str
    open_ports: frozenset[int] | None


def firewall(wall: Firewall | None, port: int, running: Collection[str]) -> Finding:
    """Check whether the firewall lets students in. Ports that Docker publishes bypass ufw and firewalld."""
    facts = {"port": str(port), "firewall": wall.name if wall else "-"}
    if wall is None or "docker-proxy" in running:
        return Finding("firewall_none", facts)
    if wall.open_ports is None:
        return Finding("firewall_unknown", facts)
    return Finding("firewall_ok" if port in wall.open_ports else "firewall_closed", facts)


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory of the recordings, as the recorder's ``user`` sees it.

    ``may_write`` is None if we may not look as that user. ``foreign`` files and folders in it are of others, and that
    user may not write them.
    """

    path: str
    exists: bool
    may_write: bool | None
    free_bytes: int
    user: str = ""
    foreign: int = 0


def recordings(directory: Directory | None) -> Finding:
    """Check whether CSV files can be written."""
    if directory is None:
        return Finding("csv_elsewhere")
    facts = {"dir": directory.path, "free_mb": str(directory.free_bytes // 10**6), "user": directory.user}
    facts["count"] = str(directory.foreign)
    if not directory.exists:
        return Finding("csv_no_dir", facts)
    if directory.may_write is False:
        return Finding("csv_no_permission", facts)
    if directory.foreign:
        return Finding("csv_foreign", facts)
    if directory.free_bytes < SPACE_MIN_BYTES:
        return Finding("csv_no_space", facts)
    return Finding("csv_unknown" if directory.may_write is None else "csv_ok", facts)


def broker_disk(folder: str, free_bytes: int) -> Finding:
    """Check whether the broker can save what waits for the recorder."""
    code = "broker_disk_ok" if free_bytes >= SPACE_MIN_BYTES else "broker_disk_full"
    return Finding(code, {"dir": folder, "free_mb": str(free_bytes // 10**6)})


def logins(closed: Mapping[str, str] | None) -> list[Finding]:
    """Check whether each service may read its login; ``closed`` names those that may not, by the file."""
    findings = [Finding("login_closed", {"file": file, "user": user}) for file, user in (closed or {}).items()]
    return findings or ([] if closed is None else [Finding("login_ok")])


def variables(unknown: Mapping[str, str]) -> list[Finding]:
    """Check variables for names that no program reads; each with the nearest setting, or an empty text."""
    findings = [
        Finding("variable_mistyped" if near else "variable_useless", {"variable": name, "near": near})
        for name, near in unknown.items()
    ]
    return findings or [Finding("variable_ok")]


@dataclass(frozen=True, slots=True)
class Https:
    """What `neuroone up --tls` has made for https in ``folder``.

    ``fault`` is "unknown" (it cannot be read here), "clock", "authority" or "damaged"; "" without a fault. ``missing``
    is the address of this machine that the certificate is not for; "" if there is none.
    """

    folder: str
    fault: str = ""
    detail: str = ""
    days_left: float = 0.0
    missing: str = ""


def certificate(https: Https | None) -> Finding:
    """Check whether devices accept the certificate for https; None is no certificate."""
    if https is None:
        return Finding("certificate_none")
    fault = https.fault
    if not fault and https.days_left < CERTIFICATE_MIN_DAYS:
        fault = "ends"
    elif not fault and https.missing:
        fault = "address"
    facts = {"folder": https.folder, "detail": https.detail, "address": https.missing}
    return Finding(f"certificate_{fault or 'ok'}", facts | {"days": f"{https.days_left:.0f}"})


@dataclass(frozen=True, slots=True)
class Instance:
    """A service as the broker knows it: its state and, from its health report, its clock and disk; None without one.

    ``shard`` is the share of the streams that a recorder records; None: all of them. ``fault`` is in its state,
    ``gauges`` are in its health report.
    """

    service: str
    instance: str
    status: ServiceStatus
    skew_s: float | None = None
    disk_works: bool | None = None
    shard: Shard | None = None
    fault: str = ""
    gauges: Mapping[str, float] = field(default_factory=dict)

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
        code = "service_ok" if online else "service_offline" if copies else "service_never"
        if online or service in NEEDED:
            findings.append(Finding(code, {"service": service, "instances": ", ".join(online)}))
    return findings


def clocks(instances: Sequence[Instance]) -> list[Finding]:
    """Check whether this computer and those of the services agree on the time."""
    skews_s = {each.name: each.skew_s for each in instances if each.skew_s is not None}
    if not skews_s:
        return [Finding("clock_unknown")]
    wrong = [
        Finding("clock_skew", {"service": name, "seconds": f"{skew_s:+.0f}"})
        for name, skew_s in skews_s.items()
        if abs(skew_s) > SKEW_MAX_S
    ]
    return wrong or [Finding("clock_ok", {"seconds": f"{max(map(abs, skews_s.values())):.1f}"})]


def memory(available_bytes: int | None, killed: Collection[str] = ()) -> Finding:
    """Check whether the machine has free memory, and whether Linux killed programs of ours today to get some."""
    if killed:
        return Finding("memory_killed", {"programs": ", ".join(sorted(set(killed)))})
    if available_bytes is None:
        return Finding("memory_unknown")
    code = "memory_ok" if available_bytes >= MEMORY_MIN_BYTES else "memory_low"
    return Finding(code, {"free_mb": str(available_bytes // 10**6)})


def window(lacks: Collection[str] | None, install: str, has_screen: bool) -> Finding:
    """Check whether Qt can open the monitor's window; None means that Qt is not installed."""
    facts = {"libraries": ", ".join(lacks or ()), "install": install}
    if not lacks:
        return Finding("window_none" if lacks is None else "window_ok", facts)
    return Finding("window_libraries" if has_screen else "window_libraries_skipped", facts)


def values(states: Mapping[str, StreamState], readings: Mapping[str, Reading]) -> list[Finding]:
    """Check the newest values of each stream, by ``group/source``: no link, or a doubt that one reading shows."""
    findings = []
    for stream, state in sorted(states.items()):
        if state.status is StreamStatus.OFFLINE and state.link in (Link.ENDED, Link.CONNECTED, Link.SEARCHING):
            continue  # the session is over: nobody wears this headset now
        if state.link is not Link.CONNECTED:
            facts = {"stream": stream, "link": str(state.link), "hint": state.hint or ""}
            findings.append(Finding("stream_link", facts, state))
        elif stream in readings:
            findings.append(_value(stream, readings[stream]))
    return findings or [Finding("values_none")]


def _value(stream: str, reading: Reading) -> Finding:
    code = _DOUBTFUL.get(Doubts().add(reading), "values_ok")
    if (reading.poor_signal or 0) >= OFF_SKIN:
        code = "signal_off"
    return Finding(code, {"stream": stream, "poor_signal": str(reading.poor_signal)})


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
        return Finding(f"broker_{answer.fault}", facts)
    if not answer.may_read:
        return Finding("broker_acl", facts)
    is_old = "mosquitto" in answer.version and version_of(answer.version) < MOSQUITTO_MIN
    return Finding("broker_old" if is_old else "broker_ok", facts)


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers of a broker's version text, like "mosquitto version 2.0.11"."""
    return tuple(int(part) for part in text.rsplit(" ", 1)[-1].split(".") if part.isdecimal())

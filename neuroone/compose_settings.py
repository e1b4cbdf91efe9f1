"""`neuroone check-settings`: check the settings of compose.yaml before the services start."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from neuroone.contract.errors import SettingsError
from neuroone.forward.settings import ForwardSettings
from neuroone.mqtt.address import BrokerAddresses
from neuroone.service.lifecycle import OK, Stop
from neuroone.service.logs import LEVELS
from neuroone.service.settings import KEEP_MAX_DAYS, one_of, port_number, setting, topic_id, variables, whole
from neuroone.service.site_address import host_name, ip, key_in_path, public_url
from neuroone.service.variables import ENV_PREFIX, STATUS_DIR
from neuroone.service.variables import unknown as find_unknown
from neuroone.service.wearers import AUTO, SIMULATED

GROUP_MAX: Final = 2**32 - 2
"""The highest number of a group on Linux."""
PORTS: Final = ("ws_port", "mqtt_port", "https_port", "http_port", "grafana_port")
READ_BY_COMPOSE: Final = tuple(
    ENV_PREFIX + name
    for name in (
        "REGISTRY",
        "TAG",
        *(f"{of}_IMAGE" for of in ("PYTHON", "MOSQUITTO", "CADDY", "PROMETHEUS", "GRAFANA")),
    )
)
"""Compose itself refuses wrong values of these."""


def headset_port(text: str) -> str:
    """Parse where a headset is. Raises ValueError."""
    if text not in (AUTO, SIMULATED) and not text.startswith("/dev/") and "://" not in text:
        raise ValueError("must be auto or a device like /dev/ttyUSB0")
    return text


def file_in_deploy(text: str) -> str:
    """Parse a file's place in the forwarder's container. Raises ValueError."""
    if not text.startswith("/deploy/"):
        raise ValueError("must be /deploy/FILE, with FILE in the folder deploy")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class DistrictSettings:
    """The variables of the profile ``district``."""

    district: BrokerAddresses | None = setting(None, BrokerAddresses.parse, "The district's broker.", secret=True)
    district_ca: str = setting("", file_in_deploy, "File with the authorities to trust for it.")
    spool_mb: int = setting(10_000, whole(1, 10_000_000), "Size in MB that the forwarder's spool may reach.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeSettings(DistrictSettings):
    """The variables of compose.yaml that can be wrong."""

    site: str = setting("local", topic_id, "As of every service.")
    ws_port: int = setting(8080, port_number, "Port of the proxy.")
    site_key: str | None = setting(None, key_in_path, "Key in students' addresses.", secret=True)
    public_url: str | None = setting(None, public_url, "Address of this server for other devices.")
    keep_days: int = setting(0, whole(0, KEEP_MAX_DAYS), "Days for which recordings are kept.")
    mqtt_port: int = setting(1883, port_number, "Port of the broker.")
    mqtt_address: str = setting("127.0.0.1", ip, "Address that the broker's port is published on.")
    domain: str = setting("localhost", host_name, "Name or address of the server.")
    https_port: int = setting(443, port_number, "Port of the proxy for https.")
    http_port: int = setting(80, port_number, "Port of the proxy that leads to https.")
    grafana_port: int = setting(3000, port_number, "Port of Grafana.")
    port: tuple[str, ...] = setting((AUTO,), headset_port, "Where headsets are.", many=True)
    serial_group: int = setting(20, whole(0, GROUP_MAX), "Number of the group that owns serial ports.")
    log_level: str = setting("info", one_of(*LEVELS), "As of every service.")


def run(given: ComposeSettings, stop: Stop) -> int:
    """Return OK: all values could be read. Raises SettingsError for ports that are the same, and another's login."""
    users = defaultdict(list)
    for name in PORTS:
        users[getattr(given, name)].append(ENV_PREFIX + name.upper())
    if faults := [f"{', '.join(names)}: are all {port}" for port, names in users.items() if len(names) > 1]:
        raise SettingsError(faults)
    if given.district is not None:
        ForwardSettings(site=given.site, district=given.district).check()
    return OK


def unknown(environ: Mapping[str, str]) -> dict[str, str]:
    """Return each variable that looks like a setting and is none of compose.yaml's, with the nearest one."""
    known = (*variables(ComposeSettings), *READ_BY_COMPOSE)
    return find_unknown(environ, {STATUS_DIR, *(name.removeprefix(ENV_PREFIX) for name in known)})

"""`neuroone cluster`: make what the nodes of a NATS cluster need: configuration, certificate, and the services' logins.

docs/how-to/cluster.md says how it is used, docs/decisions/0046 why it is so. A second call keeps logins and the
authority, writes the configuration anew and renews a certificate that ends soon.
"""

import json
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from neuroone import logins
from neuroone.contract.errors import SettingsError
from neuroone.mqtt.address import BrokerAddress, BrokerAddresses
from neuroone.service import extras
from neuroone.service.lifecycle import OK, Stop
from neuroone.service.local_address import LOOPBACK, host_in_url
from neuroone.service.settings import setting, whole
from neuroone.up.broker_access import nats_user

MQTT_PORT: Final = 8883
ROUTE_PORT: Final = 6222
MONITOR_PORT: Final = 8222
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 (services of other machines)
CONF: Final = "nats.conf"
SERVER: Final = "server.pem"
AUTHORITY: Final = "ca.crt"
LEADERS: Final = "leaders.json"
"""The files of a node, in its folder."""
LEADERS_USER: Final = "leaders"
META_USER: Final = "leaders-meta"
"""The logins by which a node's own machine says which node is to lead (deploy/cluster/leaders.py)."""
_LEADERS_INBOX: Final = "_INBOX.leaders"
_LABEL: Final = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")

_CONF: Final = """\
# Made by `neuroone cluster`, which writes it anew.
server_name: "{node}"
# NATS's own protocol: nothing uses it.
host: "127.0.0.1"
port: -1
http: "{monitor}:{monitor_port}"
jetstream {{ sync_interval: always, max_file: {max_file_gb}GB }}
cluster {{
  name: neuroone
  host: "{listen}"
  port: {route_port}
  routes: {routes}
  # Both sides show a certificate of the cluster's own authority: nobody else can become a node.
  tls {{ {certificate}, verify: true, timeout: 5 }}
}}
mqtt {{
  host: "{listen}"
  port: {mqtt_port}
  tls {{ {certificate}, timeout: 5 }}
  stream_replicas: {replicas}
  js_api_timeout: "1s"
  ack_wait: "5s"
  max_ack_pending: 2000
  consumer_inactive_threshold: "168h"
}}
authorization {{ users: {users} }}
accounts {{ "$SYS": {{ users: [{meta_user}] }} }}
"""

log = logging.getLogger(__name__)


def node(text: str) -> str:
    """Parse the name or address of a node. Raises ValueError."""
    if _HOST.fullmatch(text) or _address(text) is not None:
        return text
    raise ValueError("must be a host name in small letters, or an address")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings(logins.LoginSettings):
    """Options of `neuroone cluster`."""

    dir: Path = setting(
        Path("cluster"),
        Path,
        "Directory of what is made; each file is readable by its owner only.",
        metavar="DIR",
        variable="",  # NEUROONE_DIR is the recordings'
    )
    node: tuple[str, ...] = setting(
        (), node, "Name or address of a machine of the cluster. Three or five of them.", many=True, metavar="HOST"
    )
    max_file_gb: int = setting(
        100, whole(1, 1_000_000), "GB that a node may keep on its disk for recorders that are away."
    )


def run(given: ClusterSettings, stop: Stop) -> int:
    """Make everything. Raises SettingsError."""
    if len(set(given.node)) != len(given.node) or len(given.node) not in (3, 5):
        raise SettingsError(["--node: give three or five machines, each once"])
    extras.check("neuroone cluster", "cryptography", "up")
    try:
        make(given.dir, given.node, given.max_file_gb, dict(given.owner), given.site_login)
    except (OSError, LookupError) as error:
        raise SettingsError([f"--dir, --owner: {error}"]) from None
    log.info("%s has a folder for each node, and the files of the services", given.dir)
    return OK


def make(
    folder: Path, nodes: Sequence[str], max_file_gb: int, owners: Mapping[str, str], sites: Sequence[str] = ()
) -> None:
    """Make each node's folder in ``nodes``, and beside it what services and operators need.

    Raises OSError, and LookupError for an owner that this machine does not know.
    """
    from neuroone.certificates.files import CertificateFiles, utc_now  # needs the extra "up"
    from neuroone.certificates.making import Names

    addresses = [BrokerAddress(each, MQTT_PORT, tls=True) for each in nodes]
    made = logins.make_urls(folder, addresses[0], logins.identities_in(folder, sites), owners)
    for name, login in made.items():
        everywhere = BrokerAddresses(replace(login, host=each) for each in nodes[:-1])  # see deploy/cluster/leaders.py
        logins.write(folder / f"{name}.url", f"{everywhere.url}\n", owners.get(name))
    logins.make_tokens(folder, made, owners)
    found = {each: _address(each) for each in nodes}
    names = Names(
        tuple(name for name, address in found.items() if address is None),
        tuple(address for address in found.values() if address is not None),
    )
    certificates = CertificateFiles(folder / "authority", between_servers=True)
    certificates.refresh(names, utc_now())
    authority = certificates.public.read_text(encoding="ascii")
    logins.write(folder / AUTHORITY, authority, None)
    (folder / AUTHORITY).chmod(0o644)  # nothing secret, and every service reads it
    users = [nats_user(name, login.password or "") for name, login in made.items()]
    contents = {AUTHORITY: authority, SERVER: certificates.server.read_text(encoding="ascii")}
    for each in nodes:
        place = folder / "nodes" / each
        for one in (place.parent, place):
            logins.make_folder(one)
        password = secrets.token_urlsafe(logins.PASSWORD_BYTES)  # used on that machine only, so it need not be kept
        own = {
            CONF: configuration(each, nodes, users, max_file_gb, password),
            LEADERS: leaders_settings(each, nodes, password),
        }
        for name, text in {**contents, **own}.items():
            logins.write(place / name, text, owners.get(logins.BROKER))


def configuration(node: str, nodes: Sequence[str], users: Sequence[object], max_file_gb: int, password: str) -> str:
    """Return the configuration of a node. One that is named by an address listens on it, others on every address.

    The password is that of the logins that move leaders.
    """
    address = _address(node)
    leaders = _leaders_user(LEADERS_USER, password, "STREAM.LEADER.STEPDOWN.*", ("STANDARD", "MQTT"))
    meta_user = _leaders_user(META_USER, password, "META.LEADER.STEPDOWN", ("STANDARD",))
    return _CONF.format(
        node=node,
        listen=EVERYWHERE if address is None else node,
        monitor=_monitor_host(node),
        monitor_port=MONITOR_PORT,
        mqtt_port=MQTT_PORT,
        route_port=ROUTE_PORT,
        routes=json.dumps([f"tls://{host_in_url(each)}:{ROUTE_PORT}" for each in nodes if each != node]),
        certificate=f'cert_file: "{SERVER}", key_file: "{SERVER}", ca_file: "{AUTHORITY}"',
        replicas=len(nodes),
        max_file_gb=max_file_gb,
        users=json.dumps([*users, leaders]),
        meta_user=json.dumps(meta_user),
    )


def leaders_settings(node: str, nodes: Sequence[str], password: str) -> str:
    """Return what a node's machine needs to know to move leaders."""
    made = {
        "node": node,
        "nodes": list(nodes),
        "monitor": f"http://{_monitor_host(node)}:{MONITOR_PORT}",
        "host": LOOPBACK if _address(node) is None else node,
        "mqtt_port": MQTT_PORT,
        "route_port": ROUTE_PORT,
        "user": LEADERS_USER,
        "meta_user": META_USER,
        "password": password,
    }
    return json.dumps(made, indent=2) + "\n"


def _leaders_user(name: str, password: str, request: str, connections: Sequence[str]) -> dict[str, object]:
    """Return a user who may do nothing but one request of JetStream's API."""
    allowed = {"publish": [f"$JS.API.{request}"], "subscribe": [_LEADERS_INBOX]}
    return {"user": name, "password": password, "permissions": allowed, "allowed_connection_types": connections}


def _monitor_host(node: str) -> str:
    """Return where a node answers its own machine: it may be one of several on this one."""
    address = _address(node)
    return node if address is not None and address.is_loopback else LOOPBACK


def _address(node: str) -> IPv4Address | IPv6Address | None:
    """Return the address of a node; None if it has a name."""
    try:
        return ip_address(node)
    except ValueError:
        return None

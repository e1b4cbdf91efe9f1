"""Who may use the broker that `neuroone up` starts: this machine's programs, or whoever has a login."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from neuroone import logins
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.topics import ROOT
from neuroone.mqtt.address import BrokerAddress
from neuroone.service.local_address import LOOPBACK

FOLDER: Final = "logins"
"""The folder of the logins, beside the broker's state."""
IDENTITIES: Final = (*logins.SERVICES, logins.READER, logins.UP)
_HERE: Final = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 (what people may name)
"""Where programs of this machine reach a broker that listens on all addresses."""
_SUBJECTS: Final = str.maketrans({"/": ".", "+": "*", "#": ">"})
"""What NATS writes in place of MQTT's characters."""
_DELIVERY: Final = "$MQTT/sub/#"
"""The filter by which NATS delivers what was published with QoS 1; no client of MQTT may subscribe to it."""

CONNECTIONS: Final = ("MQTT", "MQTT_WS")
"""How NATS lets a login in: over its own protocol it would hear all that is delivered with QoS 1, of every site."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the broker listens, and whose logins it takes: without ``logins`` everybody who reaches it may use it.

    ``folder`` has the logins. ``ws_port`` is that of MQTT over WebSocket, if there is one.
    """

    host: str
    port: int
    ws_port: int | None = None
    folder: Path | None = None
    logins: Mapping[str, BrokerAddress] | None = None

    def of(self, name: str) -> BrokerAddress:
        """Return the address by which a program of this machine reaches the broker, with its login."""
        login = BrokerAddress("", 0) if self.logins is None else self.logins[name]
        return replace(login, host=_HERE.get(self.host, self.host), port=self.port)

    def mosquitto(self) -> dict[str, str]:
        """Return Mosquitto's lines about it."""
        if self.logins is None or self.folder is None:
            return {"access": "allow_anonymous true", "browsers": ""}
        files = (self.folder / logins.BROKER).as_posix()
        lines = f"allow_anonymous false\npassword_file {files}/{logins.PASSWORDS}\nacl_file {files}/{logins.ACL}"
        browsers = f"listener {self.ws_port} {self.host}\nprotocol websockets\n" if self.ws_port else ""
        return {"access": lines, "browsers": browsers}

    def nats(self) -> dict[str, str]:
        """Return the lines of the NATS server about it."""
        if self.logins is None:
            return {"access": "", "browsers": ""}
        users = json.dumps([nats_user(name, login.password or "") for name, login in self.logins.items()])
        browsers = f'websocket {{ host: "{self.host}", port: {self.ws_port}, no_tls: true }}\n' if self.ws_port else ""
        return {"access": f"authorization {{ users: {users} }}\n", "browsers": browsers}


def make(host: str, port: int, ws_port: int | None, broker_folder: Path) -> Access:
    """Return who may use a broker, and make the logins that it needs.

    Only on this machine's own address it needs none, and even there if browsers reach it: any page that is open on
    this machine could connect. Raises NeuroOneError.
    """
    if ws_port is None and ip_address(host).is_loopback:
        return Access(host, port)
    folder = broker_folder / FOLDER
    try:
        made = logins.make_logins(folder, BrokerAddress(_HERE.get(host, host), port), IDENTITIES, {})
    except OSError as error:
        raise NeuroOneError(f"the broker's logins in {folder} cannot be read or made ({error})") from None
    return Access(host, port, ws_port, folder, made)


def nats_user(name: str, password: str) -> dict[str, object]:
    """Return a user of the NATS server, who may do there what Mosquitto's access list allows."""
    writes = logins.writes(name)
    root = logins.root_of(name)  # for NATS `#` leaves out the level above it
    subscribe = [root, f"{root}/#", _DELIVERY, *(each for each in writes if not each.startswith(ROOT))]
    publish = {"allow": [each.translate(_SUBJECTS) for each in writes]} if writes else {"deny": [">"]}
    allowed = {"subscribe": [each.translate(_SUBJECTS) for each in subscribe], "publish": publish}
    return {"user": name, "password": password, "permissions": allowed, "allowed_connection_types": CONNECTIONS}

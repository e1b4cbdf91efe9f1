"""The brokers that `neuroone up` can start: Mosquitto, and the NATS server that pip installs."""

import os
import shutil
import socket
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.packets import Connect
from neuroone.service import programs
from neuroone.service.private_files import private
from neuroone.up import mosquitto_state
from neuroone.up.broker_access import Access

MOSQUITTO: Final = "mosquitto"
NATS: Final = "nats"
KINDS: Final = (MOSQUITTO, NATS)
AUTOSAVE_S: Final = 30
"""How often Mosquitto writes its whole state, changed or not: docs/decisions/0011."""
MOSQUITTO_STATE: Final = "mosquitto.db"
"""The file that Mosquitto keeps its state in."""
_SBIN: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where packages install Mosquitto; few users have these in their PATH."""

_MOSQUITTO_CONF: Final = """\
{user}listener {port} {host}
{access}
persistence true
persistence_location {folder}/
autosave_interval {autosave_s}
max_queued_messages 0
max_queued_bytes 500000000
max_inflight_messages 2000
max_packet_size 69632
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
connection_messages false
{browsers}"""
"""The settings of deploy/mosquitto/mosquitto.conf, which explains them, for one machine."""

_NATS_CONF: Final = """\
server_name: neuroone
host: "127.0.0.1"
port: -1
jetstream {{ store_dir: "{folder}/jetstream", sync_interval: always, max_file: 1TB }}
mqtt {{ host: "{host}", port: {port}, ack_wait: "5s", max_ack_pending: 2000 }}
log_file: "{folder}/nats.log"
logfile_size_limit: 1000000
logfile_max_num: 2
{browsers}{access}"""
"""``port: -1`` takes any free port for NATS's own protocol, which nothing uses here. NATS redelivers after ``ack_wait``
and not at a reconnect: a recorder's batch takes far less than 5 s. ``max_ack_pending`` is what our clients say to other
brokers (`RECEIVE_MAXIMUM`): NATS counts it over all subscriptions of a client, and what is beyond it comes late, after
``ack_wait``; at 500, which is also what a publisher has in flight, a client that acknowledged at once met it. NATS logs
a lot, and logs an error for each MQTT 5 connection, which every service tries first: its log goes to a file.
``sync_interval``: what is acknowledged outlives a power cut. ``max_file``: the disk is the limit. A NATS server that
has reached its own limit refuses all connections, also that of the recorder, which would empty it; without this line
the limit is 75 % of what is free at its start (docs/decisions/0011)."""

_ACCEPTED: Final = b"\x20\x02\x00\x00"


@dataclass(frozen=True, slots=True)
class BrokerProgram:
    """An installed broker. ``kind`` is one of KINDS."""

    kind: str
    path: Path

    def command(self, folder: Path, host: str, port: int, access: Access | None = None) -> list[str]:
        """Write the broker's configuration into ``folder``, where it also keeps its state; return its command line."""
        folder.mkdir(parents=True, exist_ok=True)
        conf = folder / f"{self.kind}.conf"
        # If root starts it, Mosquitto switches to a user of its own, who may not write into our folder.
        user = "user root\n" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        access = access or Access(host, port)
        places = {"host": host, "port": port, "folder": folder.as_posix()}
        if self.kind == MOSQUITTO:
            filled = _MOSQUITTO_CONF.format(user=user, autosave_s=AUTOSAVE_S, **places, **access.mosquitto())
        else:
            filled = _NATS_CONF.format(**places, **access.nats())
        conf.unlink(missing_ok=True)
        with open(conf, "x", encoding="utf-8", opener=private) as stream:  # NATS has the passwords in it
            stream.write(filled)
        return [str(self.path), "-c", str(conf)]

    def prepare(self, folder: Path) -> None:
        """Make the state in ``folder`` readable, before each start."""
        if self.kind == MOSQUITTO:
            mosquitto_state.mend_and_log(folder / MOSQUITTO_STATE)


def find(kind: str | None = None) -> BrokerProgram | None:
    """Find the broker of that kind; without a kind, Mosquitto before NATS. Return None if it is not installed.

    The folder without Python comes first with its own NATS, to be the same on every computer.
    """
    contents = programs.contents()
    for each in (KINDS if contents is None else reversed(KINDS)) if kind is None else (kind,):
        if each == MOSQUITTO:
            path = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), *_SBIN)))
        else:
            ours = contents or sysconfig.get_path("scripts")
            path = shutil.which("nats-server", path=ours) or shutil.which("nats-server")
        if path is not None:
            return BrokerProgram(each, Path(path))
    return None


def answers(address: BrokerAddress) -> bool:
    """Return True if a broker there accepts an MQTT 3.1.1 connection with the login of the address, if it has one."""
    connect = Connect(client_id="ready", keep_alive_s=10, user=address.user, password=address.password)
    try:
        with socket.create_connection((address.host, address.port), timeout=1.0) as connection:
            connection.sendall(connect.encode(v5=False))
            return connection.recv(len(_ACCEPTED)) == _ACCEPTED
    except OSError:
        return False

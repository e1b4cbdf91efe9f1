"""Keep the leaders of a cluster where the death of a node does least (docs/decisions/0046).

NATS elects a new leader 4 to 9 s after the old one's last word. A service that connects needs the leader of the
sessions, and to subscribe that of the meta group. `neuroone cluster` gives no service the last node's address, so both
are to be led there: its death disconnects nobody, and that of another node leaves what its services need to connect
to the next one. Messages are to be led by another node than the last: else its death would end connections too.

Each node looks only after what it leads itself, by a login of its own, and does nothing while another one is behind.
"""

import json
import socket
import ssl
import struct
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SETTINGS = Path("leaders.json")
"""In the folder of a node, which is the current directory. Without it nothing is done."""
META = "meta"
SESSIONS, MESSAGES, RETAINED = "$MQTT_sess", "$MQTT_msgs", "$MQTT_rmsgs"
TIMEOUT_S = 2
"""Of this machine's own server; a health check has 5 s."""
MOVE_PERIOD_S = 20
"""A leader that does not get where it should be is not asked more often: each move may delay readings by a second."""
LAG_MAX = 100
"""Entries that a node which follows may lack. While messages come, one is always on its way."""
LAST_HEARD_MAX_NS = 2_000_000_000
"""Two heartbeats."""
STATE = Path(tempfile.gettempdir())
READY_FILE = STATE / "leaders-ready"
INBOX = "_INBOX.leaders"


def settings() -> dict[str, Any]:
    """Return what `neuroone cluster` says about this node; nothing if it is of an earlier version."""
    try:
        return dict(json.loads(SETTINGS.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def keeps_up(replica: Mapping[str, Any]) -> bool:
    """Return True if a node that follows has what the leader has, but for what is on its way."""
    is_near = 0 < replica.get("lag", 0) <= LAG_MAX and replica.get("active", 0) < LAST_HEARD_MAX_NS
    return not replica.get("offline") and (replica["current"] or is_near)


def moves(node: str, nodes: Sequence[str], groups: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return which groups this node leads that are to be led by another one, and by which."""
    found = {}
    for name, group in groups.items():
        others = {each["name"]: keeps_up(each) for each in group.get("replicas") or ()}
        if group.get("leader") != node or not others or not all(others.values()) or not {*others} <= {*nodes}:
            continue
        *front, last = sorted((node, *others), key=nodes.index)
        messages = groups.get(MESSAGES, {}).get("leader")
        goals = {
            META: last,
            SESSIONS: last,
            MESSAGES: node if node in front else front[0],
            RETAINED: front[0] if messages == last else messages,
        }
        goal = goals.get(name, node)
        if goal != node and (goal == last or goal in front):
            found[name] = str(goal)
    return found


def groups_of(jsz: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the leader and the followers of each group, from the answer of the monitoring port."""
    streams = [stream for account in jsz.get("account_details") or () for stream in account.get("stream_detail") or ()]
    # The meta group last: without its leader no other one can be asked to go.
    return {**{each["name"]: each.get("cluster") or {} for each in streams}, META: jsz.get("meta_cluster") or {}}


def step_down(port: int, user: str, password: str, group: str, goal: str) -> None:
    """Ask the leader of a group, which is this machine's server, to let another node lead. Raises OSError."""
    subject = "$JS.API.META.LEADER.STEPDOWN" if group == META else f"$JS.API.STREAM.LEADER.STEPDOWN.{group}"
    request = json.dumps({"placement": {"preferred": goal}})
    login = json.dumps({"user": user, "pass": password, "verbose": False})
    words = f"CONNECT {login}\r\nSUB {INBOX} 1\r\nPUB {subject} {INBOX} {len(request)}\r\n{request}\r\n"
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection,
        connection.makefile("rwb") as stream,
    ):
        stream.write(words.encode())
        stream.flush()
        for line in stream:
            if line.startswith(b"-ERR"):
                raise OSError(line.decode(errors="replace"))
            if line.startswith(b"MSG"):
                answer = json.loads(stream.readline())
                if not answer.get("success"):
                    raise OSError(str(answer.get("error")))
                return
    raise OSError("the server hung up")


def connect(given: Mapping[str, Any]) -> None:
    """Connect once by MQTT, so that the server makes ready what it needs for the first service. Raises OSError.

    For that it needs every leader. A service that comes here because another node died would have to wait for those.
    """
    number = given["nodes"].index(given["node"])  # the name may hold dots, which NATS takes in no client id
    fields = (f"{given['user']}-{number}", given["user"], given["password"])
    body = b"\0\4MQTT\4\xc2\0\x3c" + b"".join(struct.pack("!H", len(each)) + each.encode() for each in fields)
    tls = ssl.create_default_context(cafile="ca.crt")
    with (
        socket.create_connection((given["host"], given["mqtt_port"]), TIMEOUT_S) as plain,
        tls.wrap_socket(plain, server_hostname=given["node"]) as connection,
    ):
        connection.sendall(bytes((0x10, len(body) % 128 | 0x80, len(body) // 128)) + body)
        if connection.recv(4) != b"\x20\2\0\0":
            raise OSError("the server does not accept a connection yet")
        connection.sendall(b"\xe0\0")


def monitored(given: Mapping[str, Any], path: str) -> Any:
    """Return what the monitoring port says. Raises OSError or ValueError."""
    with urllib.request.urlopen(f"{given['monitor']}{path}", timeout=TIMEOUT_S) as answer:  # noqa: S310 (always http)
        return json.load(answer)


def keep(given: Mapping[str, Any]) -> None:
    """Move what this node leads and should not; for each start of the server, connect once. Raises OSError."""
    server = monitored(given, "/varz")
    if not READY_FILE.exists() or READY_FILE.read_text(encoding="ascii") != server["start"]:
        connect(given)
        READY_FILE.write_text(server["start"], encoding="ascii")
    groups = groups_of(monitored(given, "/jsz?accounts=true&streams=true"))
    for group, goal in moves(given["node"], given["nodes"], groups).items():
        moved = STATE / f"leaders-moved-{group}"
        if moved.exists() and time.time() - moved.stat().st_mtime < MOVE_PERIOD_S:
            continue
        moved.touch()
        user = given["meta_user"] if group == META else given["user"]
        step_down(server["port"], user, given["password"], group, goal)
        sys.stderr.write(f"{goal} is to lead {group}\n")


def keep_if_possible() -> None:
    """Do as `keep`; a fault of it is no fault of the node."""
    given = settings()
    try:
        if given:
            keep(given)
    except (OSError, ValueError, LookupError) as fault:
        sys.stderr.write(f"leaders in {Path.cwd()}: {fault}\n")

"""End a node that reaches no other one, and start it when it does (docs/decisions/0046).

NATS has no pre-vote: a node that was cut off has asked for votes all the time, and when its network is back, each
group deposes its leader for the sake of those votes and elects another one 4 to 9 s later. A node that ends less than
4 s after the last word of the others has asked for none. Alone it can keep nothing, so nobody misses it.
"""

import concurrent.futures
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

import leaders

PERIOD_S = 0.5
SILENT_NS = 2_000_000_000
"""Two heartbeats of the other nodes did not arrive."""
REACH_TIMEOUT_S = 1.0
"""For another machine to answer; with `SILENT_NS` and `PERIOD_S` less than the 4 s after which NATS asks for votes."""


def is_silent(jsz: Mapping[str, Any]) -> bool:
    """Return True if this node hears no other one. It says of each one that it hears how long ago that was."""
    ages_ns = [each["active"] for each in (jsz.get("meta_cluster") or {}).get("replicas") or () if each["active"]]
    return bool(ages_ns) and min(ages_ns) > SILENT_NS


def is_there(host: str, port: int) -> bool:
    """Return True if a machine answers, be it that nothing listens there."""
    try:
        socket.create_connection((host, port), REACH_TIMEOUT_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def reaches_any(hosts: Iterable[str], port: int) -> bool:
    """Return True if at least one machine answers."""
    hosts = list(hosts)
    with concurrent.futures.ThreadPoolExecutor(len(hosts)) as pool:
        return any(pool.map(lambda host: is_there(host, port), hosts))


def is_alone(given: Mapping[str, Any]) -> bool:
    """Return True if this node hears no other one and no machine with one answers. Raises OSError or ValueError."""
    if not is_silent(leaders.monitored(given, "/jsz")):
        return False
    routes = leaders.monitored(given, "/routez").get("routes") or ()
    hosts = {each["ip"] for each in routes}  # a name could need a server for names, which it does not reach either
    return bool(hosts) and not reaches_any(hosts, given["route_port"])


def wait_until_it_reaches_one(given: Mapping[str, Any]) -> None:
    """Return as soon as a machine of another node answers; at once for a node of an earlier version."""
    others = [each for each in given.get("nodes", ()) if each != given["node"]]
    while others and not reaches_any(others, given["route_port"]):
        time.sleep(PERIOD_S)

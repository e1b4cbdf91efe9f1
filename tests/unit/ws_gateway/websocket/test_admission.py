"""Which connections there is room for, and which one makes room."""

import contextlib
import socket
from typing import cast

import pytest

from neuroone.contract.errors import SettingsError
from tests.support.brokers import free_port
from ws_gateway.websocket.admission import SILENT_MIN_S, Admission
from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.server import listening_sockets


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def connection() -> Connection:
    return cast(Connection, object())


def client(admission: Admission, address: str, site: str = "") -> Connection:
    new = connection()
    assert admission.add(new) is None
    admission.open(new, site, address)
    return new


def test_a_client_that_is_silent_for_long_makes_room_at_its_address():
    """The one that has been silent for longest; students, other addresses and new clients stay."""
    clock = Clock()
    admission = Admission(3, clock)
    student, first, second = (client(admission, "school") for _ in range(3))
    client(admission, "other")
    admission.on_first_message(student)
    assert admission.make_room("", "school") == (False, None)
    assert admission.make_room("another site", "school") == (True, None)
    clock.now_s = SILENT_MIN_S
    assert admission.make_room("", "school") == (True, first)
    admission.release(first)
    assert admission.make_room("", "school") == (True, None)
    assert admission.clients_of("", "school") == 2
    admission.open(first, "", "school")
    admission.on_first_message(first)
    assert admission.make_room("", "school") == (True, second)
    admission.release(first)
    admission.remove(first)
    assert (len(admission), admission.clients) == (3, 3)


def test_sockets_without_a_request_make_room_first():
    """Where there are more connections than files; then silent clients of the address that has most."""
    clock = Clock()
    admission = Admission(100, clock)
    admission.connections_max = 3
    idle = connection()
    assert admission.add(idle) is None
    silent = [client(admission, "a"), client(admission, "a")]
    new = connection()
    assert admission.add(new) is idle
    admission.remove(idle)
    admission.open(new, "", "b")
    late = connection()
    assert admission.add(late) is late  # nobody has been silent for long
    admission.remove(late)
    clock.now_s = SILENT_MIN_S
    assert admission.add(connection()) is silent[0]


def test_nothing_is_kept_of_those_who_left():
    admission = Admission(1, Clock())
    for number in range(10):
        admission.remove(client(admission, f"address {number}"))
    assert (len(admission), admission.clients) == (0, 0)
    assert admission._silent == {None: {}}
    assert not admission._places


def test_the_site_with_most_clients_makes_room_for_another_one() -> None:
    """Before there are no connections left for requests; not for its own client, nor for one of a site as large."""
    admission = Admission(1000, Clock(), has_sites=True)
    admission.connections_max = 16
    large = [client(admission, f"address {number % 3}", "large") for number in range(10)]
    client(admission, "b", "small")
    assert admission.make_room("third", "c") == (True, None)
    large += [client(admission, "a", "large") for _ in range(3)]
    assert admission.make_room("large", "a") == (False, None)
    for site in ("third", "small"):
        assert admission.make_room(site, "a") == (True, large[-1])
        admission.release(large[-1])
        admission.remove(large.pop())
        client(admission, "a", site)
    assert (admission.clients_at("large"), admission.clients_at("small"), admission.clients) == (11, 2, 14)
    while len(large) > 7:
        admission.remove(large.pop())
    for _ in range(5 - 1):
        client(admission, "b", "small")
    assert admission.make_room("small", "b") == (False, None)


def test_the_address_of_all_is_all_of_both_kinds():
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with contextlib.ExitStack() as opened:
        port = free_port()
        for each in listening_sockets(["::"], port):
            opened.enter_context(each)
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), 5).close()


def test_several_addresses_can_be_listened_on():
    with contextlib.ExitStack() as opened:
        port = free_port()
        for each in listening_sockets(["127.0.0.1", "127.0.0.2"], port):
            opened.enter_context(each)
        for host in ("127.0.0.1", "127.0.0.2"):
            socket.create_connection((host, port), 5).close()
        with pytest.raises(SettingsError, match="cannot listen on port"):
            listening_sockets(["127.0.0.3", "127.0.0.1"], port)


@pytest.mark.parametrize(
    "hosts",
    [
        ["127.0.0.1", "127.0.0.1"],
        ["localhost", "127.0.0.1"],
        ["0.0.0.0", "127.0.0.1"],
        ["127.0.0.1", "0.0.0.0"],
        ["0.0.0.0", "::"],
        ["::", "0.0.0.0"],
        ["::", "127.0.0.1"],
        ["::1", "::", "localhost"],
        ["", "::"],
    ],
)
def test_addresses_may_contain_each_other(hosts):
    """Each is listened on once, as one of all or by itself."""
    if any(":" in host for host in hosts) and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with contextlib.ExitStack() as opened:
        port = free_port()
        for each in listening_sockets(hosts, port):
            opened.enter_context(each)
        for host in {"127.0.0.1", *(["::1"] if any(":" in host for host in hosts) else [])}:
            socket.create_connection((host, port), 5).close()

"""What systemd hears of a service, at a socket of its kind."""

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neuroone.service.systemd import AWAY, BROKER_WAIT, CONNECTED, SOCKET, Report, notify

Listen = Callable[[str], Callable[[], list[str]]]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="for Linux servers")


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listen]:
    """Listen at an address; yield what reads the messages that have come."""
    sockets: list[socket.socket] = []

    def begin(address: str) -> Callable[[], list[str]]:
        monkeypatch.setenv(SOCKET, address)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sockets.append(listening)
        listening.bind(address.replace("@", "\0"))
        listening.setblocking(False)

        def messages() -> list[str]:
            found = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(listening.recv(4096).decode())
            return found

        return messages

    yield begin
    for each in sockets:
        each.close()


def test_a_service_is_ready_once_it_is_connected(listen: Listen, tmp_path: Path) -> None:
    """And says each second that it lives, and how it is when that changes."""
    messages, connected = listen(f"{tmp_path}/notify"), [False]
    report = Report(lambda: connected[0])
    report.on_alive()
    report.on_alive()
    assert messages() == [f"WATCHDOG=1\nSTATUS={AWAY}", "WATCHDOG=1"]
    connected[0] = True
    report.on_alive()
    report.on_alive()
    assert messages() == [f"WATCHDOG=1\nSTATUS={CONNECTED}\nREADY=1", "WATCHDOG=1"]
    connected[0] = False
    report.on_alive()
    assert messages() == [f"WATCHDOG=1\nSTATUS={AWAY}"]


def test_a_broker_that_is_away_does_not_hold_up_the_start_for_ever(listen: Listen, tmp_path: Path) -> None:
    messages, report = listen(f"{tmp_path}/notify"), Report(lambda: False)
    for _ in range(BROKER_WAIT):
        report.on_alive()
    assert "READY" not in "".join(messages())
    report.on_alive()
    assert messages() == ["WATCHDOG=1\nREADY=1"]


def test_what_systemd_did_not_get_is_sent_again(
    listen: Listen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(lambda: True)
    for address in ("", "vsock:2:1", f"{tmp_path}/nobody", f"/{'x' * 200}"):
        monkeypatch.setenv(SOCKET, address)
        assert not notify("READY=1")
        report.on_alive()
    messages = listen(f"{tmp_path}/notify")
    report.on_alive()
    assert messages() == [f"WATCHDOG=1\nSTATUS={CONNECTED}\nREADY=1"]


def test_a_systemd_that_is_busy_holds_up_nobody(listen: Listen, tmp_path: Path) -> None:
    messages = listen(f"{tmp_path}/notify")
    while notify("WATCHDOG=1"):
        pass
    assert messages()
    assert notify("WATCHDOG=1")


def test_an_abstract_socket_is_found(listen: Listen, tmp_path: Path) -> None:
    messages = listen(f"@{tmp_path}")
    assert notify("STOPPING=1")
    assert messages() == ["STOPPING=1"]

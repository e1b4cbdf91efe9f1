"""Send each reading as OSC (Open Sound Control) over UDP to programs for sound, light and games."""

import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

from neuroone.contract.errors import SettingsError
from neuroone.contract.messages import BANDS, Reading
from neuroone.contract.topics import Topic
from neuroone.service import extras
from neuroone.service.settings import port_number

ROOT: Final = "/neuroone"


class Target(NamedTuple):
    """Where a program listens."""

    host: str
    port: int


def target(text: str) -> Target:
    """Parse ``HOST:PORT``. Raises ValueError."""
    host, _, port = text.rpartition(":")
    try:
        if not host:
            raise ValueError
        return Target(host.strip("[]"), port_number(port))
    except ValueError:
        raise ValueError("must be HOST:PORT, like 127.0.0.1:9000") from None


def connected(targets: Sequence[Target]) -> list[socket.socket]:
    """Open a socket for each target. Raises SettingsError, also if python-osc is missing."""
    extras.check("--osc", "pythonosc", "osc")
    sockets = []
    for host, port in targets:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            sender = socket.socket(family, socket.SOCK_DGRAM)
            sender.setblocking(False)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.connect(address)
        except OSError as error:
            raise SettingsError((f"--osc: {host}:{port} cannot be used ({error.strerror})",)) from None
        sockets.append(sender)
    return sockets


class OscSender:
    """Send readings without waiting. ``lost`` counts the datagrams that the network did not take."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        self.lost = 0

    def on_reading(self, topic: Topic, reading: Reading) -> None:
        """Send a reading: attention, meditation, the eight bands, and the signal quality if there is one."""
        source = f"{ROOT}/{topic['group']}/{topic['source']}"
        values = {"attention": [reading.attention], "meditation": [reading.meditation]}
        values["bands"] = [getattr(reading, band) for band in BANDS]
        if reading.poor_signal is not None:
            values["poor_signal"] = [reading.poor_signal]
        for name, numbers in values.items():
            datagram = _message(f"{source}/{name}", numbers)
            for each in self._sockets:
                try:
                    each.send(datagram)
                except OSError:  # nobody listens there now
                    self.lost += 1

    def close(self) -> None:
        """Send nothing more."""
        for each in self._sockets:
            each.close()


def _message(address: str, numbers: Sequence[int]) -> bytes:
    from pythonosc.osc_message_builder import OscMessageBuilder  # in the extra osc

    message = OscMessageBuilder(address)
    for number in numbers:
        message.add_arg(float(number))
    return message.build().dgram

"""Serve simulated headsets on pseudo-terminals or TCP ports, as the bridge meets real ones."""

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from neuroone.service.lifecycle import Stop
from serial_bridge.ports.simulated import SimulatedHeadset
from serial_bridge.settings import SimulateSettings

if os.name == "posix":
    import pty
    import termios
    import tty

TICK_S: Final = 0.008
"""Time between two writes: four raw frames, as a UART's buffer or a radio passes them on."""


class PtyLine:
    """A pseudo-terminal. At a wrong speed it passes noise, as a real port does."""

    def __init__(self, rng: random.Random, link: Path | None = None) -> None:
        self._rng = rng
        self._link = link
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.device)
            self.device = str(link)

    def write(self, stream: bytes, baud: int) -> None:
        """Send; at another speed than the reader's the bytes become noise."""
        with contextlib.suppress(BlockingIOError):
            is_noise = not self._is_set_to(baud)
            os.write(self._master, bytes(self._rng.randrange(0x80) for _ in stream) if is_noise else stream)

    def read(self, baud: int) -> bytes:
        """Return the bytes that were sent at this speed."""
        try:
            received = os.read(self._master, 1024)
        except BlockingIOError:
            return b""
        return received if self._is_set_to(baud) else b""

    def close(self) -> None:
        """Close the terminal and remove its symbolic link."""
        os.close(self._slave)
        os.close(self._master)
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def _is_set_to(self, baud: int) -> bool:
        return bool(termios.tcgetattr(self._slave)[5] == getattr(termios, f"B{baud}"))


class TcpLine:
    """A TCP port; every program that connects receives the same bytes."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((host, port))
        self._listener.setblocking(False)
        self._clients: list[socket.socket] = []
        self.device = f"socket://{host}:{self._listener.getsockname()[1]}"

    def write(self, stream: bytes, baud: int) -> None:
        """Send to every connected program; TCP has no speed."""
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            client.setblocking(False)
            self._clients.append(client)
        self._each(lambda client: client.send(stream))

    def read(self, baud: int) -> bytes:
        """Return the bytes that all programs sent."""
        return b"".join(self._each(lambda client: client.recv(1024)))

    def close(self) -> None:
        """Close all connections."""
        for each in (self._listener, *self._clients):
            each.close()

    def _each(self, call: Callable[[socket.socket], Any]) -> list[Any]:
        """Return what the call returns for each program; those that are gone are dropped."""
        results = []
        for client in tuple(self._clients):
            try:
                results.append(call(client))
            except BlockingIOError:
                continue
            except OSError:
                self._clients.remove(client)
                client.close()
        return results


Line: TypeAlias = PtyLine | TcpLine


def open_line(settings: SimulateSettings, n: int) -> Line:
    """Open the line of headset ``n``: a TCP port, or a pseudo-terminal. Raises OSError."""
    if settings.tcp is not None:
        return TcpLine(settings.tcp + n)
    if os.name != "posix":
        raise OSError("this system has no pseudo-terminals: use --tcp")
    link = settings.link
    if link is not None and settings.headsets > 1:
        link = link.with_name(f"{link.name}{n}")
    return PtyLine(random.Random(n), link)


def serve(headsets: list[tuple[SimulatedHeadset, Line]], stop: Stop) -> None:
    """Let the headsets send until stopped; deadlines are absolute, so that there is no drift."""
    due_s = began_s = time.monotonic()
    while not stop.is_set():
        due_s += TICK_S
        now_s = time.monotonic() - began_s
        for headset, line in headsets:
            headset.receive(line.read(headset.baud))
            if stream := headset.advance(now_s):
                line.write(stream, headset.baud)
        time.sleep(max(0.0, due_s - time.monotonic()))

"""Carry a connection over TLS, within the limits of those without (docs/decisions/0018 and 0031).

asyncio's own TLS hands a connection over after its handshake only: before it, nobody counts it, paces it or lets it
make room for others. Here a connection counts from its beginning. It is read in the same small pieces, and at most one
record of TLS (16 KiB) waits to be decrypted.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.paced_reading import PIECE_BYTES, Turns

HANDSHAKE_MAX_BYTES: Final = 32 * 1024
"""A browser sends 2 KiB with its post-quantum key; as much as a request may have is enough for any."""
HANDSHAKE_READS_MAX: Final = 256
"""Pieces of a handshake; honest ones come in three or four. Each costs about 20 us, so one connection costs 5 ms."""
_HANDSHAKE_RECORD: Final = 0x16
"""First byte of a TLS handshake (RFC 8446, 5.1); no HTTP request begins with it."""


class TlsTransport(asyncio.BufferedProtocol, asyncio.Transport):
    """TLS between a socket and a connection: the socket's protocol, and the connection's transport.

    A client that speaks plain HTTP is handed through; ``connection.is_plain_on_tls`` then says so.
    ``context`` returns the TLS settings, with the certificate of the moment.
    """

    __slots__ = (
        "_connection",
        "_context",
        "_incoming",
        "_is_paused",
        "_is_plain",
        "_is_shaken",
        "_is_waiting",
        "_outgoing",
        "_reads",
        "_received_bytes",
        "_socket",
        "_tls",
        "_turns",
    )

    def __init__(self, connection: Connection, context: Callable[[], ssl.SSLContext], turns: Turns) -> None:
        self._connection: Connection | None = connection
        self._context = context
        self._turns = turns
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._is_shaken = False
        self._is_plain = False
        self._is_paused = False
        self._is_waiting = False
        self._reads = 0
        self._received_bytes = 0

    # What the socket calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._socket = cast(asyncio.Transport, transport)
        if self._connection is not None:
            self._connection.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: D102
        return self._turns.buffer

    def buffer_updated(self, nbytes: int) -> None:  # noqa: D102
        if self._connection is None or self._socket.is_closing():
            return
        if not self._received_bytes and self._turns.buffer[0] != _HANDSHAKE_RECORD:
            self._is_plain = self._connection.is_plain_on_tls = True
        if self._is_plain:
            self._connection.buffer_updated(nbytes)
            return
        self._incoming.write(self._turns.buffer[:nbytes])
        if self._is_shaken:
            self._read(nbytes)
            return
        self._reads += 1
        self._received_bytes += nbytes
        if self._reads > HANDSHAKE_READS_MAX or self._received_bytes > HANDSHAKE_MAX_BYTES:
            self.abort()
        elif not self._connection.is_paced:
            self._shake_hands()
        elif not self._is_waiting:
            self._is_waiting = True
            self._turns.wait(self._shake_hands, self._connection.owner)

    def eof_received(self) -> bool | None:  # noqa: D102
        return None if self._connection is None else self._connection.eof_received()

    def pause_writing(self) -> None:  # noqa: D102
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:  # noqa: D102
        if self._connection is not None:
            self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        connection, self._connection = self._connection, None  # no cycle is left for the garbage collector
        tls, self._tls = self._tls, None
        if connection is not None:
            if tls is not None and not self._is_shaken:
                connection.on_bad_tls()
            connection.connection_lost(exc)

    # What the connection calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, encrypted."""
        if self._is_plain:
            self._socket.write(data)
        elif self._tls is not None and self._is_shaken and not self._socket.is_closing():
            try:
                self._tls.write(data)
            except ssl.SSLError:
                self.abort()
            else:
                self._flush()

    def write_eof(self) -> None:
        """Tell the other side that nothing follows."""
        self._say_end()
        self._socket.write_eof()

    def can_write_eof(self) -> bool:
        """Return True: both sides of a connection may end apart."""
        return True

    def close(self) -> None:
        """Send what was written, then close."""
        if not self._socket.is_closing():
            self._say_end()
        self._socket.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._socket.abort()

    def is_closing(self) -> bool:
        """Return True if the connection is at its end."""
        return self._socket.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known about the socket."""
        return self._socket.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how much may wait to be sent."""
        self._socket.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Read nothing more, also nothing of what is here and not decrypted yet."""
        self._is_paused = True
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Read on, first what is here already."""
        if self._is_paused:
            self._is_paused = False
            self._socket.resume_reading()
            if self._is_shaken:
                asyncio.get_running_loop().call_soon(self._read)

    def _shake_hands(self) -> None:
        self._is_waiting = False
        if self._connection is None or self._socket.is_closing():
            return
        if self._tls is None:
            self._tls = self._context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            self._flush()  # the reason, as an alert
            self._socket.close()
        else:
            self._is_shaken = True
            self._flush()
            self._read()

    def _read(self, received_bytes: int = PIECE_BYTES) -> None:
        """Hand on what can be decrypted, until the connection wants no more.

        Few bytes that are no whole record cost a connection as much as a piece without the end of a frame.
        """
        while self._tls is not None and self._connection is not None and not self._is_paused:
            buffer = self._connection.get_buffer(-1)
            size, is_end = 0, False
            try:
                while size < len(buffer):
                    read = self._tls.read(len(buffer) - size, buffer[size:])
                    if not read:
                        is_end = True
                        break
                    size += int(read)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                is_end = True
            except ssl.SSLError:
                self._flush()
                self.abort()
                return
            self._flush()  # TLS may have to answer: new keys
            if size or (received_bytes < PIECE_BYTES and not is_end):
                self._connection.buffer_updated(size)
            if is_end:
                self._on_end()
            if is_end or size < len(buffer):
                return

    def _on_end(self) -> None:
        """Do what a socket does when the other side has ended."""
        if self._connection is not None and not self._socket.is_closing() and not self._connection.eof_received():
            self.close()

    def _say_end(self) -> None:
        if self._tls is not None and self._is_shaken:
            with contextlib.suppress(ssl.SSLError):  # it wants to read the other side's end, which may come later
                self._tls.unwrap()
            self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._socket.is_closing():
            self._socket.write(self._outgoing.read())

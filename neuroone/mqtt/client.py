"""Connect a service to the broker in the event loop: thousands of readings a second, without a thread.

This carries bytes; `neuroone.mqtt.session` decides what they say.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Message
from neuroone.contract.topics import Topic
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.packets import BadPacket, Decoder, Packet
from neuroone.mqtt.presence import Replaced
from neuroone.mqtt.reasons import ConnectionLost, HungUp, NoAnswer
from neuroone.mqtt.session import Sent, Session

TICK_S: Final = 0.5
"""Bounds how late pings and health are."""
FLUSH_PERIOD_S: Final = 0.005
"""Time between two writes to the broker. A system call for each of thousands of messages a second would cost us and the
broker as much as the messages themselves."""
TLS_KEPT_S: Final = 3600.0
"""The system's certificates are read again after so long, a file of our own when it has changed. Reading them takes
20 ms of the event loop: a gateway of 100 schools whose broker is away would do little else."""
GOODBYE_S: Final = 1.0
"""For the broker's ack of the last message, "offline"."""
SILENCE_S: Final = 2
"""A machine that confirms no byte for so long, of several with a broker, is cut off: its kernel does so also while the
broker is busy. TCP sends again after 0.2, 0.6 and 1.4 s. (`TCP_USER_TIMEOUT` would also end the connection to a broker
that reads nothing, as NATS does for seconds while it subscribes.)"""
_TCP_INFO: Final = struct.Struct("2xB21xI28xI")
"""Of Linux's tcp_info: retransmits, segments without an ack, and ms since the last ack."""

log = logging.getLogger(__name__)


class AsyncClient:
    """A service's client of the broker; all methods and callbacks belong to the event loop's thread.

    ``options`` are those of `Session`. While ``has_room`` returns False nothing is read, until `resume_reading`, and
    TCP holds the broker back: Mosquitto 2.0.11 forgets the receive maximum after its first wait for acks, and sends
    everything it has. ``on_fatal`` is called once, when the service must end: another run has its place, or a fault of
    ours that is in the log with its traceback.
    """

    def __init__(
        self,
        addresses: Sequence[BrokerAddress],
        identity: Identity,
        *,
        on_fatal: Callable[[NeuroOneError], None] = lambda error: None,
        has_room: Callable[[], bool] = lambda: True,
        ca_file: Path | None = None,
        health_file: Path | None = None,
        **options: Any,
    ) -> None:
        self.identity = identity
        self.fault: NeuroOneError | None = None
        """Why the last connection, or try to connect, ended."""
        self.session = Session(addresses, identity, wall_clock=time.time, **options)
        self.counters = self.session.counters
        self.counters.update(delivered_bad=0, faults=0)
        self._on_fatal = on_fatal
        self._has_room = has_room
        self._ca_file = ca_file
        self._health_file = health_file
        self._connection: _Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()

    def start(self) -> None:
        """Start connecting in the background."""
        self.session.presence.start(time.monotonic())
        self._task = asyncio.create_task(self._run())

    @property
    def is_connected(self) -> bool:
        """True while the broker is there and has our birth."""
        return self.session.is_connected

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return self.session.waiting

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        """Send a message with the QoS and retain of its topic; return False if it is dropped.

        QoS 1 waits for the broker while it is away, within the bounds of the outbox; QoS 0, and what is beyond the
        bounds, is dropped and counted. Retained messages are published again at every connection. ``on_ack`` is
        called once the broker has the message, and must not block.
        """
        accepted = self.session.publications.publish(topic, message, on_ack)
        self.session.pump()
        return accepted

    def put(self, outgoing: Outgoing) -> bool:
        """Send a message that is encoded already; return False if it is dropped."""
        accepted = self.session.publications.outbox.put(outgoing)
        self.session.pump()
        return accepted

    def leave_to_broker(self, topic: Topic) -> None:
        """Publish the state of a topic no more after a reconnect: the broker has it, and others may change it."""
        self.session.publications.outbox.leave_to_broker(str(topic))

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Tell the broker that deliveries of QoS 1 are safe here: see `Session.ack`."""
        self.session.ack(deliveries)

    def report_fault(self, words: str | None) -> None:
        """Publish in the service's state what keeps it from its work, or that nothing does any more."""
        self.session.set_fault("service", words)

    def resume_reading(self) -> None:
        """Read on: there is room again."""
        if self._connection is not None:
            self._connection.resume_reading()

    async def close(self, timeout_s: float) -> bool:
        """Hand the rest to the broker, publish offline and leave; return True if the broker has acknowledged all."""
        self.session.is_closing = True
        self.session.pump()
        await self._drain(timeout_s)
        has_all = not self.session.waiting
        if self.session.is_connected:
            self.session.say_goodbye()
            await self._drain(GOODBYE_S)
        self.session.leave()
        connection = self._connection
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if connection is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.is_gone.wait(), GOODBYE_S)
        return has_all

    async def _drain(self, timeout_s: float) -> None:
        """Wait until nothing is left to send, or the client has ended."""
        self._drained.clear()
        if self.session.waiting and self._task is not None and not self._task.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), timeout_s)

    async def _run(self) -> None:
        try:
            while True:
                attempt = self.session.attempts.next
                await asyncio.sleep(attempt.delay_s)
                try:
                    await self._connect(attempt.address, v5=attempt.v5)
                except (ConnectionLost, BadPacket) as fault:
                    # That a broker hangs up says something about it only before it has accepted us.
                    self.fault = ConnectionLost(str(fault)) if self.session.is_connected else fault
                    self.session.lost(fault)
        except Replaced as error:
            fatal: NeuroOneError = error
        except Exception as error:  # a service without its broker must not look alive
            self.counters["faults"] += 1
            log.exception("a fault in the connection to the broker: the service ends")
            fatal = NeuroOneError(f"the connection to the broker failed: {error!r}")
        finally:
            self._drained.set()
            try:
                self.session.close_connection()
            except Exception as error:  # noqa: BLE001 (it must not keep the end from the service)
                log.error("a fault of ours at the end of the connection to the broker: %r", error)
        self._on_fatal(fatal)

    async def _connect(self, address: BrokerAddress, *, v5: bool) -> None:
        """Carry one connection from its first byte to its end, which is always an exception."""
        connection = self._connection = _Connection(self._on_packets, self.session.pump, self._has_room, v5=v5)
        try:
            opened = await self._open_socket(connection, address)
            self.session.open(connection.write, connection.can_write, time.monotonic())
            while not connection.lost.done():
                if self.session.attempts.has_others and is_cut_off(opened):
                    raise NoAnswer("its machine confirms nothing")
                if self.session.tick(time.monotonic(), is_paused=connection.is_paused):
                    self._touch_health_file()
                await asyncio.wait((connection.lost,), timeout=TICK_S)
            connection.lost.result()
        except Replaced:
            self.session.leave()  # else the broker publishes our Last Will over the other run's state
            raise
        finally:
            connection.close()

    async def _open_socket(self, connection: "_Connection", address: BrokerAddress) -> socket.socket:
        try:
            tls = _tls_of(self._ca_file) if address.tls else None
            async with asyncio.timeout(self.session.attempts.connect_timeout_s):
                loop = asyncio.get_running_loop()
                transport, _ = await loop.create_connection(lambda: connection, address.host, address.port, ssl=tls)
            opened: socket.socket = transport.get_extra_info("socket")
            if self.session.attempts.has_others:
                probe_often(opened)
            return opened
        except OSError as error:  # TimeoutError is one
            raise _lost(error, words_of(error)) from error

    def _on_packets(self, packets: list[Packet]) -> None:
        self.session.receive(packets, time.monotonic())
        if not self.session.waiting:
            self._drained.set()

    def _touch_health_file(self) -> None:
        if self._health_file is None:
            return
        fault = None
        try:
            self._health_file.touch()
        except OSError as error:
            fault = f"the health file cannot be written ({error.strerror})"
        if self.session.set_fault("health_file", fault) and fault is not None:
            log.error("%s", fault)


def probe_often(connection: socket.socket) -> None:
    """Let the kernel end a connection that is idle while its other side confirms nothing, as far as it can."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {"TCP_KEEPIDLE": 1, "TCP_KEEPALIVE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": SILENCE_S}.items():
        if hasattr(socket, name):  # each system has some of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def is_cut_off(connection: socket.socket) -> bool:
    """Return True if the other side of a connection has confirmed nothing of what was sent for `SILENCE_S`."""
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:  # it is closed
        return False
    retransmits, unacked, silent_ms = _TCP_INFO.unpack(info)
    return bool(retransmits and unacked and silent_ms >= 1000 * SILENCE_S)


def _lost(error: OSError, words: str) -> ConnectionLost:
    """Return why a connection failed: a machine that does not answer is another thing than one that refuses."""
    is_silent = isinstance(error, TimeoutError) or error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
    return NoAnswer(words) if is_silent else ConnectionLost(words)


def _tls_of(ca_file: Path | None) -> ssl.SSLContext:
    """Return the settings of TLS. Raises OSError."""
    changed = int(time.monotonic() / TLS_KEPT_S) if ca_file is None else ca_file.stat().st_mtime_ns
    return _new_tls(ca_file, changed)


@lru_cache(maxsize=4)
def _new_tls(ca_file: Path | None, changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def words_of(error: OSError) -> str:
    """Return why a connection cannot be opened, in plain words: asyncio writes addresses as Python does."""
    if numbers := dict.fromkeys(re.findall(r"\[Errno (\d+)\]", str(error))):  # of several addresses, several errors
        return ", ".join(os.strerror(int(each)) for each in numbers)
    return error.strerror or str(error) or "no answer"


class _Connection(asyncio.Protocol):
    """One TCP connection to the broker: packets in, bytes out, those of a moment in one write."""

    def __init__(
        self,
        on_packets: Callable[[list[Packet]], None],
        on_writable: Callable[[], None],
        has_room: Callable[[], bool],
        *,
        v5: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.is_gone = asyncio.Event()
        self.is_paused = False
        self._is_full = False
        self._on_packets = on_packets
        self._on_writable = on_writable
        self._has_room = has_room
        self._v5 = v5
        self._decoder = Decoder(v5=v5)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._flushed_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def can_write(self) -> bool:
        """Return False while the socket takes no more: what waits then belongs into the outbox, which is bounded."""
        return not self._is_full

    def write(self, packet: Sent) -> None:
        """Send a packet at the end of this turn of the loop, or of the time between two writes."""
        if not self._unsent:
            self._loop.call_at(self._flushed_s + FLUSH_PERIOD_S, self._flush)
        self._unsent.append(packet.encode(self._v5))

    def resume_reading(self) -> None:
        """Read on after `has_room` was False."""
        if self.is_paused and self._transport is not None and not self._transport.is_closing():
            self.is_paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what was written and close the socket."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
        else:
            self.is_gone.set()
        self._fail(ConnectionLost("it was closed"))

    def data_received(self, received: bytes) -> None:
        if self.lost.done():
            return
        try:
            self._on_packets(self._decoder.feed(received))
            if not self._has_room() and self._transport is not None and not self.lost.done():
                self.is_paused = True
                self._transport.pause_reading()
        except Exception as fault:  # noqa: BLE001 (whoever waits for `lost` handles it)
            self._fail(fault)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone.set()
        lost = _lost(exc, str(exc)) if isinstance(exc, OSError) else None
        self._fail(lost if isinstance(lost, NoAnswer) else HungUp(str(exc or "it closed the connection")))

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        try:
            self._on_writable()
        except Exception as fault:  # noqa: BLE001 (as above)
            self._fail(fault)

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self._transport.is_closing():
            self._flushed_s = self._loop.time()
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _fail(self, fault: Exception) -> None:
        if not self.lost.done():
            self.lost.set_exception(fault)
            self.lost.exception()  # it may be that nobody is left to ask

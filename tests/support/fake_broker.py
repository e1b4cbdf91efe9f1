"""A scripted MQTT broker on a real socket: it states, refuses and breaks what no real broker does on request."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from neuroone.mqtt.packets import (
    QOS,
    BadPacket,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from tests.support import broker_packets
from tests.support.broker_packets import ClientDecoder, Sent
from tests.support.brokers import LOOPBACK

P = TypeVar("P", bound=Sent)
Answer = Packet | bytes | None
"""A packet, the bytes of a malformed one, or None for no answer."""
HANG_UP = b"hang up"


def accept(connect: Connect) -> Answer:
    """Accept every connection and state no limit."""
    return ConnAck(0)


def grant(subscribe: Subscribe) -> Answer:
    """Grant every filter."""
    return SubAck(subscribe.packet_id, tuple(options & QOS for _, options in subscribe.filters))


def acknowledge(publish: Publish) -> Answer:
    """Acknowledge every message of QoS 1."""
    return PubAck(publish.packet_id)


@dataclass
class Script:
    """What the broker answers. A test may change it at any time; HANG_UP closes the connection."""

    connect: Callable[[Connect], Answer] = accept
    subscribe: Callable[[Subscribe], Answer] = grant
    publish: Callable[[Publish], Answer] = acknowledge
    speaks_v5: bool = True
    is_silent: bool = False
    delivers: bool = True


@dataclass
class Connection:
    """One client's connection, with everything that it sent."""

    sock: socket.socket
    decoder: ClientDecoder = field(default_factory=ClientDecoder)
    packets: list[Sent] = field(default_factory=list)
    filters: dict[str, int] = field(default_factory=dict)
    is_open: bool = True

    @property
    def connect(self) -> Connect | None:
        """The client's first packet, once it is there."""
        return next((packet for packet in self.packets if isinstance(packet, Connect)), None)

    def of(self, kind: type[P]) -> list[P]:
        """The packets of one kind so far."""
        return [packet for packet in list(self.packets) if isinstance(packet, kind)]

    def send(self, packet: Packet | bytes) -> None:
        """Send a packet, or bytes that may be malformed."""
        encoded = packet if isinstance(packet, bytes) else broker_packets.encode(packet, self.decoder.v5)
        with contextlib.suppress(OSError):
            self.sock.sendall(encoded)

    def hang_up(self) -> None:
        """Close the connection without a word."""
        self.is_open = False
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class FakeBroker:
    """Listens on a port of this machine; every connection has a thread. Retained messages are kept and delivered."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.connections: list[Connection] = []
        self.retained: dict[str, Publish] = {}
        self.faults: list[str] = []
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"mqtt://{LOOPBACK}:{self.port}"

    @property
    def accepted(self) -> list[Connection]:
        """The connections that have subscribed: their clients take the broker for a good one."""
        return [connection for connection in list(self.connections) if connection.of(Subscribe)]

    def of(self, kind: type[P]) -> list[P]:
        """The packets of one kind on all connections so far."""
        return [packet for connection in list(self.connections) for packet in connection.of(kind)]

    def start(self) -> None:
        """Begin to accept connections."""
        self._spawn(self._accept)

    def stop(self) -> None:
        """Close everything. Raises AssertionError where a client broke the rules of MQTT."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self.connections):
            connection.hang_up()
        for thread in list(self._threads):
            thread.join(10)
        assert not self.faults

    def _spawn(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                connection = Connection(sock)
                self.connections.append(connection)
                self._spawn(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: Connection) -> None:
        with connection.sock, contextlib.suppress(OSError):
            while connection.is_open and (received := connection.sock.recv(65536)):
                try:
                    packets = connection.decoder.feed(received)
                except BadPacket as fault:
                    self.faults.append(str(fault))
                    break
                for packet in packets:
                    with self._lock:
                        connection.packets.append(packet)
                        self._answer(connection, packet)
        connection.is_open = False

    def _answer(self, connection: Connection, packet: Sent) -> None:
        if self.script.is_silent:
            return
        answer: Answer = None
        if isinstance(packet, Connect):
            if connection.decoder.v5 and not self.script.speaks_v5:
                connection.hang_up()
                return
            answer = self.script.connect(packet)
        elif isinstance(packet, Subscribe):
            answer = self.script.subscribe(packet)
        elif isinstance(packet, Publish):
            answer = self.script.publish(packet) if packet.packet_id else None
        elif isinstance(packet, Unsubscribe):
            reasons = (0,) * len(packet.filters) if connection.decoder.v5 else ()
            answer = UnsubAck(packet.packet_id, reasons)
        elif isinstance(packet, PingReq):
            answer = PingResp()
        elif isinstance(packet, Disconnect):
            connection.hang_up()
        if answer == HANG_UP:
            connection.hang_up()
        elif answer is not None:
            connection.send(answer)
        if self.script.delivers:
            self._deliver(connection, packet)

    def _deliver(self, connection: Connection, packet: Sent) -> None:
        if isinstance(packet, Subscribe):
            connection.filters.update(packet.filters)
            for topic, message in list(self.retained.items()):
                if any(matches(filter, topic) for filter, _ in packet.filters):
                    connection.send(message)
        elif isinstance(packet, Publish):
            if packet.retained:
                self.retained[packet.topic] = Publish(packet.topic, packet.payload, True)
            for other in list(self.connections):
                if other.is_open and any(matches(filter, packet.topic) for filter in other.filters):
                    other.send(Publish(packet.topic, packet.payload))


def matches(filter: str, topic: str) -> bool:
    """Return True if the filter selects the topic."""
    wanted, levels = filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted, levels = wanted[:-1], levels[: len(wanted) - 1]
    return len(wanted) == len(levels) and all(a in ("+", b) for a, b in zip(wanted, levels, strict=True))


@contextmanager
def fake_broker(script: Script | None = None) -> Iterator[FakeBroker]:
    """Run a scripted broker."""
    broker = FakeBroker(script)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()

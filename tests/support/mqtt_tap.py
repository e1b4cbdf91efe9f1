"""A proxy between a service and its broker that notes what the service acknowledged and published."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from neuroone.contract.json import decode
from neuroone.contract.messages import Message
from neuroone.contract.topics import parse
from neuroone.mqtt.packets import ConnAck, Decoder, PubAck, Publish
from tests.support.broker_packets import ClientDecoder
from tests.support.brokers import LOOPBACK, free_port

CHUNK_BYTES = 65536


def content_of(message: Publish) -> Message:
    """Return what a message says. Raises ContractError."""
    return decode(parse(message.topic).rule.message, message.payload)


@dataclass
class _Link:
    """One connection through the tap."""

    service: socket.socket
    broker: socket.socket
    from_service: ClientDecoder = field(default_factory=ClientDecoder)
    from_broker: Decoder | None = None
    delivered: dict[int, Publish] = field(default_factory=dict)


class MqttTap:
    """Listens at ``url``. ``acknowledged`` are the messages that the service acknowledged, in that order."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._listener = socket.create_server((LOOPBACK, free_port()))
        self.url = f"mqtt://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self.acknowledged: list[Publish] = []
        self.published: list[Publish] = []
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._is_open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End every connection."""
        self._is_open = False
        self._listener.close()
        for link in self._links:
            for end in (link.service, link.broker):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def drain(self) -> None:
        """Return when everything that the service has sent is noted; it must be stopped or dead."""
        while True:
            with self._lock:
                waiting = select.poll()  # select() knows handles up to 1024 only
                for link in self._links:
                    if link.service.fileno() >= 0:
                        waiting.register(link.service, select.POLLIN)
                if not waiting.poll(0):
                    return
            time.sleep(0.001)

    def _accept(self) -> None:
        while self._is_open:
            try:
                service = self._listener.accept()[0]
            except OSError:
                continue
            try:
                broker = socket.create_connection((LOOPBACK, self._broker_port))
            except OSError:
                service.close()
                continue
            link = _Link(service, broker)
            self._links.append(link)
            for source, target, note in (
                (service, broker, self._note_service),
                (broker, service, self._note_broker),
            ):
                threading.Thread(target=self._pump, args=(link, source, target, note), daemon=True).start()

    def _pump(
        self, link: _Link, source: socket.socket, target: socket.socket, note: Callable[[_Link, bytes], None]
    ) -> None:
        try:
            waiting = select.poll()
            waiting.register(source, select.POLLIN)
            while True:
                waiting.poll()
                with self._lock if source is link.service else contextlib.nullcontext():
                    content = source.recv(CHUNK_BYTES)
                    if content:
                        note(link, content)
                if not content:
                    break
                target.sendall(content)
        except (OSError, ValueError):
            pass
        finally:
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            source.close()

    def _note_service(self, link: _Link, content: bytes) -> None:
        for packet in link.from_service.feed(content):
            if isinstance(packet, PubAck) and packet.packet_id in link.delivered:
                self.acknowledged.append(link.delivered.pop(packet.packet_id))
            elif isinstance(packet, Publish):
                self.published.append(packet)

    def _note_broker(self, link: _Link, content: bytes) -> None:
        if link.from_broker is None:
            link.from_broker = Decoder(v5=link.from_service.v5)
        for packet in link.from_broker.feed(content):
            if isinstance(packet, Publish) and packet.packet_id:
                link.delivered[packet.packet_id] = packet
            elif isinstance(packet, ConnAck):
                link.delivered.clear()

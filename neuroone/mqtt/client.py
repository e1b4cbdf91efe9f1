"""A service's connection to the broker in the event loop: it carries thousands of readings a second.

Behaves as `ThreadedClient` does (birth, Last Will, retained states and everything unacknowledged again
after a reconnect, MQTT 5 or else 3.1.1) without a thread of its own, and with few microseconds a message.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.json import encode
from neuroone.contract.messages import Message, ServiceStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt import packets
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.backoff import Backoff
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outbox, Outgoing
from neuroone.mqtt.presence import HEALTH_PERIOD_S, HEARTBEAT_PERIOD_S, TAKEN_OVER, HealthReport, Presence, Replaced
from neuroone.mqtt.session import ACK_TIMEOUT_S, KEEPALIVE_S, RECEIVE_MAXIMUM, REFUSED, SESSION_EXPIRY_S, Delivery

WINDOW: Final = 500
"""QoS 1 messages in flight at once: what Mosquitto is configured to take."""
CONNECT_TIMEOUT_S: Final = 5.0
"""For the TCP and TLS handshakes, and again for the broker's CONNACK."""
GOODBYE_S: Final = 1.0
"""For the broker's ack of the last word, "offline"."""
RETAINED_MAX: Final = 20_000
"""States that are published again after a reconnect, the longest unchanged forgotten first: about 20 MB."""
TICK_S: Final = 0.5
_UNSUPPORTED_VERSIONS: Final = (0x84, 0x01)
"""A broker's "no" to MQTT 5, in the words of 5 and of 3.1.1."""

log = logging.getLogger(__name__)


class _Lost(Exception):
    """The connection ended; the text says why."""


class _NoMqtt5(_Lost):
    """The broker may not speak MQTT 5."""


class AsyncClient:
    """Connect a service to the broker in the event loop; all methods and callbacks belong to the loop's thread.

    ``on_acked`` is told of each reading that the broker has (`Outgoing.reading`). ``replay`` says what the broker
    acknowledged on an earlier connection and must get again on a new one, before anything newer. While ``wait_for`` is
    true after a reconnect, only retained states go out.

    A ``durable`` bus has a session that outlives it and acks a delivery of QoS 1 only when told to, by `ack`, in the
    order of delivery; ``obsolete`` filters are taken out of that session. While ``has_room`` says no, nothing is read,
    until `read_on`, and TCP holds the broker back: Mosquitto 2.0.11 forgets the receive maximum after its first wait
    for acks, and sends all it has.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        identity: Identity,
        *,
        subscriptions: Mapping[str, int],
        on_delivery: Callable[[Delivery], None],
        on_link: Callable[[bool], None] = lambda up: None,
        on_fatal: Callable[[NeuroOneError], None] = lambda error: None,
        on_acked: Callable[[Outgoing], None] = lambda outgoing: None,
        vitals: Callable[[], HealthReport] = HealthReport,
        replay: Callable[[], Iterable[Outgoing]] = tuple,
        wait_for: Callable[[], bool] = lambda: False,
        durable: bool = False,
        obsolete: Iterable[str] = (),
        has_room: Callable[[], bool] = lambda: True,
        ca_file: Path | None = None,
        health_file: Path | None = None,
        backoff: Backoff = Backoff(),
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.identity = identity
        self._broker = broker
        self._subscriptions = dict(subscriptions)
        self._on_delivery = on_delivery
        self._on_link = on_link
        self._on_fatal = on_fatal
        self._on_acked = on_acked
        self._vitals = vitals
        self._replay = replay
        self._wait_for = wait_for
        self._durable = durable
        self._obsolete = tuple(obsolete)
        self._has_room = has_room
        self._ca_file = ca_file
        self._health_file = health_file
        self._backoff = backoff
        self._rng = rng or random.Random()
        self._clock = clock
        self._presence = Presence(identity)
        self._retained: OrderedDict[str, Outgoing] = OrderedDict()
        self._outbox = Outbox(window=WINDOW)
        self._connection: _Connection | None = None
        self._connections = 0
        self._packet_id = 0
        self._free = 0
        self._v5 = True
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._drained = asyncio.Event()
        self._started_s = 0.0
        self._next_beat_s = 0.0
        self._next_health_s = 0.0
        self._last_ack_s = 0.0
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "published",
                "acked",
                "refused",
                "delivered",
                "delivered_bad",
                "dropped",
                "dropped_qos0",
                "replayed",
                "connects",
                "callback_errors",
            ),
            0,
        )

    def start(self) -> None:
        """Start connecting in the background."""
        self._started_s = time.monotonic()
        self._task = asyncio.create_task(self._run())

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there and has our birth."""
        return self._connection is not None

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return len(self._outbox)

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        """Send a message with the QoS and retain of its topic; False when it was dropped."""
        return self.put(
            Outgoing(str(topic), encode(message), topic.rule.qos, topic.rule.retained, on_ack),
        )

    def put(self, outgoing: Outgoing) -> bool:
        """Send a message that is encoded already; False when it was dropped."""
        if outgoing.retained and not outgoing.payload:  # it takes the state off the broker: nothing to say again
            self._retained.pop(outgoing.topic, None)
            if self._connection is None:
                return False
        elif outgoing.retained:
            self._retained[outgoing.topic] = outgoing
            self._retained.move_to_end(outgoing.topic)
            if len(self._retained) > RETAINED_MAX:
                self._retained.popitem(last=False)
            if self._connection is None:
                return True
        elif outgoing.qos == 0 and self._connection is None:
            self.counters["dropped_qos0"] += 1
            return False
        if not self._outbox.put(outgoing):
            self.counters["dropped"] += 1
            if self.counters["dropped"] == 1:
                log.error("the broker is away or too slow: what waits for it is full, and new messages are dropped")
            return False
        self.counters["published"] += 1
        self._drained.clear()
        self.pump()
        return True

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Tell the broker that deliveries of QoS 1 are safe here. Only on a durable bus; in order."""
        connection = self._connection
        if connection is not None:
            for delivery in deliveries:
                if delivery.needs_ack_of(self._connections):
                    connection.write(packets.puback(delivery.packet_id))

    def say_fault(self, fault: str | None) -> None:
        """Say on the service's own topic what keeps it from its work, or that nothing does any more."""
        if fault != self._presence.fault:
            self._presence.fault = fault
            if self._connection is not None:
                self._outbox.put(self._state(ServiceStatus.ONLINE))
                self.pump()

    def read_on(self) -> None:
        """There is room again."""
        if self._connection is not None:
            self._connection.read_on()

    def replay(self, owed: Iterable[Outgoing]) -> None:
        """Send once more what the broker had already, and what may be sent now."""
        for outgoing in owed:
            self.counters["replayed" if self._outbox.put(outgoing) else "dropped"] += 1
        self.pump()

    def pump(self) -> None:
        """Send what may be sent now. Call also when ``wait_for`` may have become false."""
        connection = self._connection
        if connection is None:
            return
        while not connection.is_full and (self._free > 0 or not self._wait_for()):
            outgoing = self._outbox.next()
            if outgoing is None:
                return
            self._free -= 1
            packet_id = self._next_packet_id() if outgoing.qos else 0
            self._outbox.sent(packet_id, outgoing)
            connection.write(
                packets.publish(
                    outgoing.topic,
                    outgoing.payload,
                    v5=self._v5,
                    qos=outgoing.qos,
                    retain=outgoing.retained,
                    packet_id=packet_id,
                )
            )

    async def close(self, timeout_s: float) -> bool:
        """Hand the rest to the broker, say offline and leave; whether the broker acknowledged everything."""
        self._closing = True
        if self._connection is not None:
            await self._drain(timeout_s)
        everything = not len(self._outbox)
        if self._connection is not None:
            self._outbox.put(self._state(ServiceStatus.OFFLINE))
            self._free = len(self._outbox)
            self.pump()
            await self._drain(GOODBYE_S)
        if self._connection is not None:
            self._connection.write(packets.disconnect())
            self._connection.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        return everything

    async def _drain(self, timeout_s: float) -> None:
        self._drained.clear()
        if len(self._outbox):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), timeout_s)

    async def _run(self) -> None:
        attempt = 0
        while not self._closing:
            connects = self.counters["connects"]
            try:
                await self._connect_and_talk()
            except Replaced as error:
                self._on_fatal(error)
                return
            except _NoMqtt5:
                self._v5 = False
                continue
            except (OSError, TimeoutError, packets.BadPacket, _Lost) as error:
                why = str(error) or "no answer"
            attempt = 0 if self.counters["connects"] > connects else attempt + 1
            level = logging.WARNING if attempt <= 1 else logging.DEBUG
            log.log(level, "no broker at %s (%s); trying again until it is there", self._broker, why)
            await asyncio.sleep(self._backoff.delay_s(attempt, self._rng))

    async def _connect_and_talk(self) -> None:
        """One connection from its first byte to its end, which is always an exception."""
        self._connections += 1
        tls = ssl.create_default_context(cafile=self._ca_file) if self._broker.tls else None
        connection = _Connection(self._take, v5=self._v5, on_room=self.pump, has_room=self._has_room)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().create_connection(
                lambda: connection, self._broker.host, self._broker.port, ssl=tls
            )
        ticking = None
        try:
            connection.write(self._connect_packet())
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                answer = await connection.answer
            if answer.reason in _UNSUPPORTED_VERSIONS and self._v5:
                raise _NoMqtt5("it does not speak MQTT 5")
            if answer.reason:
                raise _Lost(f"it refuses us, reason {answer.reason:#x}")
            self._greet(connection, answer)
            ticking = asyncio.create_task(self._tick(connection))
            await asyncio.wait((connection.lost, ticking), return_when=asyncio.FIRST_COMPLETED)
            (ticking if ticking.done() else connection.lost).result()
        finally:
            if ticking is not None:
                ticking.cancel()
            connection.close()
            if self._connection is not None:
                self._connection = None
                self._on_link(False)

    def _connect_packet(self) -> bytes:
        return packets.connect(
            v5=self._v5,
            client_id=self.identity.client_id,
            keepalive_s=KEEPALIVE_S,
            receive_maximum=RECEIVE_MAXIMUM,
            session_expiry_s=SESSION_EXPIRY_S if self._durable else 0,
            will_topic=self._presence.state_topic,
            will_payload=self._state(ServiceStatus.OFFLINE).payload,
            user=self._broker.user,
            password=self._broker.password,
        )

    def _greet(self, connection: "_Connection", answer: packets.ConnAck) -> None:
        """Once a connection: subscribe, say that we are here, and publish what is retained, then what is owed."""
        filters = {**self._subscriptions, self._presence.state_topic: 1}
        if self._obsolete:
            connection.write(packets.unsubscribe(self._next_packet_id(), self._obsolete, v5=self._v5))
        connection.write(packets.subscribe(self._next_packet_id(), filters.items(), v5=self._v5))
        self._outbox.window = min(WINDOW, answer.receive_maximum)
        birth = self._state(ServiceStatus.ONLINE)
        replayed = tuple(self._replay())
        self.counters["replayed"] += len(replayed)
        self.counters["dropped_qos0"] += self._outbox.rewind((birth, *self._retained.values(), *replayed))
        self._free = 1 + len(self._retained)
        self._last_ack_s = time.monotonic()
        self._connection = connection
        self.counters["connects"] += 1
        log.info("connected to the broker at %s with MQTT %s", self._broker, "5" if self._v5 else "3.1.1")
        self._on_link(True)
        self.pump()

    def _take(self, packet: packets.Packet) -> None:
        if isinstance(packet, packets.Publish):
            self._deliver(packet)
        elif isinstance(packet, packets.PubAck):
            outgoing = self._outbox.acked(packet.packet_id)
            if outgoing is None:
                return
            self._last_ack_s = time.monotonic()
            if packet.reason >= REFUSED:
                self.counters["refused"] += 1
                if self.counters["refused"] == 1:
                    log.error("the broker refuses what we publish (%#x): see its access list", packet.reason)
            else:
                self.counters["acked"] += 1
                if outgoing.reading is not None:
                    self._on_acked(outgoing)
                if outgoing.on_ack is not None:
                    outgoing.on_ack()
            self.pump()
            if not len(self._outbox):
                self._drained.set()
        elif isinstance(packet, packets.Disconnect):
            if packet.reason == TAKEN_OVER:
                raise Replaced
            raise _Lost(f"it ended the connection, reason {packet.reason:#x}")

    def _deliver(self, packet: packets.Publish) -> None:
        is_own = packet.topic == self._presence.state_topic
        if packet.packet_id and self._connection is not None and (is_own or not self._durable):
            self._connection.write(packets.puback(packet.packet_id))
        if is_own:
            if self._presence.is_outdated(packet.payload, self._connections) and not self._closing:
                self._outbox.put(self._state(ServiceStatus.ONLINE))
                self.pump()
            return
        self.counters["delivered"] += 1
        try:
            self._on_delivery(
                Delivery(packet.topic, packet.payload, packet.retained, packet.packet_id, self._connections)
            )
        except Exception:  # a fault of ours must not end the connection
            self.counters["callback_errors"] += 1
            log.exception("a fault while handling what the broker said")

    async def _tick(self, connection: "_Connection") -> None:
        """Pings, health, and the end of a connection that has gone silent. Raises _Lost."""
        pinged_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s - connection.heard_s > 1.5 * KEEPALIVE_S and not connection.is_paused:
                raise _Lost("it says nothing")
            if not self._outbox.in_flight:
                self._last_ack_s = now_s
            elif now_s - self._last_ack_s > ACK_TIMEOUT_S:
                raise _Lost("it stopped acknowledging")
            if now_s - pinged_s >= KEEPALIVE_S / 2:
                pinged_s = now_s
                connection.write(packets.pingreq())
            self._report(now_s)
            self.pump()
            await asyncio.sleep(TICK_S)

    def _report(self, now_s: float) -> None:
        if now_s < self._next_beat_s:
            return
        self._next_beat_s = now_s + HEARTBEAT_PERIOD_S
        vitals = self._vitals()
        if self._health_file is not None and vitals.working:
            self._health_file.touch()
        if now_s < self._next_health_s:
            return
        self._next_health_s = now_s + HEALTH_PERIOD_S
        now = datetime.fromtimestamp(self._clock(), UTC)
        uptime_s = now_s - self._started_s
        health = self._presence.health(now, uptime_s, self.counters, self._outbox.gauges(), vitals)
        self.publish(self._presence.health_topic, health)

    def _next_packet_id(self) -> int:
        self._packet_id = self._packet_id % 0xFFFF + 1  # the window is small: an id is free again when it comes round
        return self._packet_id

    def _state(self, status: ServiceStatus) -> Outgoing:
        return self._presence.state(status, self._connections)


class _Connection(asyncio.Protocol):
    """One TCP connection to the broker: packets in, bytes out, those of one turn of the loop in one write."""

    def __init__(
        self,
        take: Callable[[packets.Packet], None],
        *,
        v5: bool,
        on_room: Callable[[], None],
        has_room: Callable[[], bool],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[packets.ConnAck] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.is_full = False
        self.is_paused = False
        self.heard_s = time.monotonic()
        self._has_room = has_room
        self._loop = loop
        self._take = take
        self._on_room = on_room
        self._decoder = packets.Decoder(v5=v5)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def write(self, packet: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(packet)

    def close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._fail(_Lost("it was closed"))
        self.lost.exception()  # nobody may be left to ask

    def data_received(self, received: bytes) -> None:
        self.heard_s = time.monotonic()
        try:
            for packet in self._decoder.feed(received):
                if isinstance(packet, packets.ConnAck):
                    if not self.answer.done():
                        self.answer.set_result(packet)
                else:
                    self._take(packet)
        except (packets.BadPacket, Replaced, _Lost) as fault:
            self._fail(fault)
        if not self._has_room() and self._transport is not None and not self.lost.done():
            self.is_paused = True
            self._transport.pause_reading()

    def read_on(self) -> None:
        if self.is_paused and self._transport is not None and not self._transport.is_closing():
            self.is_paused = False
            self.heard_s = time.monotonic()
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        # NATS just hangs up on a CONNECT of MQTT 5.
        self._fail(_Lost(str(exc or "it closed the connection")))

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._on_room()

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _fail(self, fault: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(fault)
            self.answer.exception()
        if not self.lost.done():
            self.lost.set_exception(fault)
            self.lost.exception()

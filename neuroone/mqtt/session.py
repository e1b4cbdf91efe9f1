"""Hold a service's conversation with the broker: packets and the time in, packets and calls out.

Does no I/O and reads no clock. What must survive a connection (messages without an ack, retained states, subscriptions)
is kept on this side, and each connection starts from it anew. References are to the OASIS standard MQTT 5.0.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import ServiceStatus
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.backoff import Attempts, Backoff
from neuroone.mqtt.delivery import Delivery, LiveStates
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outbox, Outgoing
from neuroone.mqtt.packets import (
    UNSUPPORTED_VERSION,
    BadPacket,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Unsubscribe,
    Will,
)
from neuroone.mqtt.presence import TWIN, HealthReport, Presence, Probe, Replaced
from neuroone.mqtt.publications import Publications
from neuroone.mqtt.reasons import BAD_LOGIN, ConnectionLost, HungUp, LoginRefused, NoAnswer, reason_name
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.mqtt.subscriptions import Subscriptions

KEEPALIVE_S: Final = 20
"""A broker that is silent for 1.5 times this is gone; the same as the WebSocket pings."""
RECEIVE_MAXIMUM: Final = 2000
"""QoS 1 messages the broker may send before our acks: bounds what waits between a recorder's network and its disk."""
ACK_TIMEOUT_S: Final = 30.0
"""A broker that leaves a message unacknowledged for so long has lost the connection without saying so."""
SESSION_EXPIRY_S: Final = 7 * 24 * 3600
"""How long the broker keeps messages for a durable service that is away: a week of holidays."""
FAULT_LOG_PERIOD_S: Final = 60.0
"""At most one traceback of a faulty delivery is logged in this time."""
TWIN_LEAVES_S: Final = 2.0
"""For a twin to say that it is leaving anyway, as the monitor's old connection does when it makes a new one."""
STABLE_S: Final = 5.0
"""A connection that lasted so long was a good one: the next failure waits as short as the first."""
TAKEN_OVER: Final = 0x8E
RETAIN_NOT_SUPPORTED: Final = 0x9A
QOS_NOT_SUPPORTED: Final = 0x9B
"""Reason codes that are handled here (2.4)."""

log = logging.getLogger(__name__)

Sent = Connect | Disconnect | PingReq | PubAck | Publish | Subscribe | Unsubscribe
"""What a session sends."""


class _Again(ConnectionLost):
    """The same broker is to be tried once more, at once."""


class _NoMqtt5(_Again):
    """The broker does not speak MQTT 5."""


@dataclass(slots=True)
class _Connection:
    """One connection from its first byte to its end."""

    send: Callable[[Sent], None]
    can_send: Callable[[], bool]
    began_s: float
    heard_s: float
    pinged_s: float
    acked_s: float
    live: LiveStates
    keepalive_s: float = KEEPALIVE_S
    probe: Probe | None = None
    is_accepted: bool = False
    birth_came_back: bool = False
    twin_due_s: float = float("inf")


class Session:
    """A service's session with the broker, over as many connections as it takes.

    The broker keeps the session of a ``durable`` service while it is away; such a service acknowledges deliveries of
    QoS 1 itself, by `ack`, and probes before each connection whether another run of it is alive. ``replay`` keeps
    readings until a recorder has them. ``on_refused`` gets messages that the broker will not accept, however often they
    are sent. A fault in ``on_delivery`` costs that message; a fault in any other callback ends the service.
    """

    def __init__(
        self,
        addresses: Sequence[BrokerAddress],
        identity: Identity,
        *,
        wall_clock: Callable[[], float],
        subscriptions: Mapping[str, int] | None = None,
        on_delivery: Callable[[Delivery], None] = lambda delivery: None,
        on_link: Callable[[bool], None] = lambda up: None,
        on_refused: Callable[[Outgoing], None] = lambda outgoing: None,
        health: Callable[[], HealthReport] = HealthReport,
        durable: bool = False,
        obsolete: Iterable[str] = (),
        replay: ReplayBuffer | None = None,
        outbox: Outbox | None = None,
        backoff: Backoff = Backoff(),
    ) -> None:
        self.identity = identity
        counted = ("delivered", "connects", "callback_errors", "late_states", "live_states_forgotten")
        self.counters = dict.fromkeys(counted, 0)
        self.attempts = Attempts(addresses, backoff)
        outbox = Outbox() if outbox is None else outbox
        self.publications = Publications(outbox, replay, on_refused, self.counters)
        self.presence = Presence(identity, wall_clock)
        self.is_closing = False
        self._on_delivery = on_delivery
        self._on_link = on_link
        self._health = health
        self._durable = durable
        filters = {**self.publications.filters(identity.site), **(subscriptions or {})}
        filters[self.presence.state_topic] = 0 if durable else 1
        next_packet_id = self.publications.outbox.next_packet_id
        self.subscriptions = Subscriptions(filters, obsolete, next_packet_id, self.counters)
        self._connection: _Connection | None = None
        self._is_probed = False
        self._will_qos_and_retain = (1, True)
        self._fault_logged_s = float("-inf")

    # The service calls these.

    @property
    def is_connected(self) -> bool:
        """True while the broker is there and has our birth."""
        connection = self._connection  # other threads may ask
        return connection is not None and connection.is_accepted and connection.probe is None

    @property
    def has_states(self) -> bool:
        """True once the broker has sent the retained states: our birth, published after subscribing, has come back."""
        return self._connection is not None and self._connection.birth_came_back

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return len(self.publications.outbox)

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Tell the broker that deliveries of QoS 1 are safe here. For durable services, in the order of delivery."""
        if self._connection is not None and self.is_connected:
            for delivery in deliveries:
                if delivery.packet_id and delivery.connection == self.counters["connects"]:
                    self._connection.send(PubAck(delivery.packet_id))

    def subscribe(self, filter: str, qos: int) -> None:
        """Add a subscription, now and at every later connection."""
        self._send_if_connected(self.subscriptions.add(filter, qos))

    def unsubscribe(self, filter: str) -> None:
        """Remove a subscription."""
        self._send_if_connected(self.subscriptions.remove(filter))
        self.set_fault("subscriptions", self.subscriptions.fault)

    def set_fault(self, source: str, words: str | None) -> bool:
        """Publish in the service's state what keeps one part of it from its work, or None; return True if it is new."""
        is_new = self.presence.set_fault(source, words)
        if is_new and self.is_connected:
            self._put_state(ServiceStatus.ONLINE)
            self.pump()
        return is_new

    # The edge calls these, in the order of a connection's life.

    def open(self, send: Callable[[Sent], None], can_send: Callable[[], bool], now_s: float) -> None:
        """Begin a connection that carries packets with ``send`` while ``can_send`` allows more."""
        live = LiveStates(self.counters)
        self._connection = connection = _Connection(send, can_send, now_s, now_s, now_s, now_s, live)
        identity, address = self.identity, self.attempts.next.address
        will = None
        if self._durable and not self._is_probed:
            connection.probe = Probe(identity, self.presence)
        elif not self.publications.outbox.is_closed:
            last_word = self.presence.state(ServiceStatus.OFFLINE, self.counters["connects"] + 1)
            will = Will(last_word.topic, last_word.payload, *self._will_qos_and_retain)
        is_durable = self._durable and connection.probe is None
        client_id = identity.client_id if is_durable else identity.run_client_id + self.attempts.id_suffix
        send(
            Connect(
                client_id=client_id + address.id_suffix,
                keep_alive_s=KEEPALIVE_S,
                clean_start=not is_durable,
                session_expiry_s=SESSION_EXPIRY_S if is_durable else 0,
                receive_maximum=RECEIVE_MAXIMUM,
                will=will,
                user=address.user,
                password=address.password,
            )
        )

    def receive(self, packets: Iterable[Packet], now_s: float) -> None:
        """Handle what the broker sent, then send what may be sent. Raises ConnectionLost, BadPacket or Replaced."""
        connection = self._connection
        if connection is None:
            return
        connection.heard_s = now_s
        for packet in packets:
            if not connection.is_accepted:
                self._on_first_packet(connection, packet, now_s)
            elif connection.probe is not None:
                self._on_probe_packet(connection, connection.probe, packet, now_s)
            elif isinstance(packet, Publish):
                self._on_publish(connection, packet, now_s)
            elif isinstance(packet, PubAck):
                connection.acked_s = now_s
                self.publications.on_puback(packet, now_s)
            else:
                self._on_other_packet(connection, packet, now_s)
        self.pump()

    def tick(self, now_s: float, *, is_paused: bool = False) -> bool:
        """Do what is due; call about twice a second, with ``is_paused`` while nothing is read.

        Returns True when the service's health file is to be touched. Raises ConnectionLost.
        """
        connection = self._connection
        if connection is None:
            return False
        if is_paused:
            connection.heard_s = connection.acked_s = now_s
        self._check_silence(connection, now_s)
        if now_s >= connection.twin_due_s:
            raise Replaced(TWIN)
        if connection.is_accepted and now_s - connection.pinged_s >= connection.keepalive_s / 2:
            connection.pinged_s = now_s
            connection.send(PingReq())
        if connection.probe is not None and connection.is_accepted:
            self._end_probe_if_done(connection.probe, now_s)
        if not self.is_connected:
            return False
        if now_s - connection.began_s >= STABLE_S:
            self.attempts.failures = 0
        self.publications.tick(now_s)
        if (packet := self.subscriptions.retry(now_s)) is not None:
            connection.send(packet)
        is_working = self._report(now_s)
        self.pump()
        return is_working

    def pump(self) -> None:
        """Send what may be sent now."""
        connection = self._connection
        if connection is None or not self.is_connected:
            return
        waits = not self.is_closing and self.publications.waits_for_recorder()
        while connection.can_send():
            packet = self.publications.outbox.next(states_only=waits)
            if packet is None:
                return
            connection.send(packet)

    def say_goodbye(self) -> None:
        """Publish the offline state, as the last message."""
        if self.is_connected:
            self._put_state(ServiceStatus.OFFLINE)
            self.pump()

    def leave(self) -> None:
        """Send DISCONNECT, so that the broker drops the Last Will."""
        if self._connection is not None:
            self._connection.send(Disconnect())

    def lost(self, fault: NeuroOneError) -> None:
        """Note why a connection, or the try to make one, failed, and choose the next try."""
        attempts, was_there = self.attempts, self.is_connected
        was_connected = self._connection is not None and self._connection.is_accepted
        hung_up = isinstance(fault, HungUp) and self._connection is not None and not was_connected
        self.close_connection()
        if isinstance(fault, _Again):
            attempts.again(v5=attempts.next.v5 and not isinstance(fault, _NoMqtt5))
        elif hung_up and attempts.next.v5:
            attempts.again(v5=False)  # some brokers hang up on a version that they do not speak
        else:
            level = logging.WARNING if was_connected or attempts.is_first_round else logging.DEBUG
            log.log(level, "no broker at %s (%s); trying again until it is there", attempts.next.address, fault)
            attempts.failed(fault, was_connected=was_connected, hung_up=hung_up)
            # Another run would have ended our connection; one that comes now waits PROBE_ALIVE_S: we are back before.
            self._is_probed = was_there and attempts.has_others and isinstance(fault, NoAnswer)

    def close_connection(self) -> None:
        """Forget the connection."""
        was_connected = self.is_connected
        self._connection = None
        if was_connected:
            self.publications.outbox.unlink()
            self._on_link(False)

    def _on_first_packet(self, connection: _Connection, packet: Packet, now_s: float) -> None:
        if not isinstance(packet, ConnAck):
            raise BadPacket(f"the broker answers CONNECT with {type(packet).__name__}")
        if packet.reason:
            self._on_refused_connect(packet)
        if packet.session_present and (connection.probe is not None or not self._durable):
            raise BadPacket("the broker speaks of a session after a clean start")  # (3.2.2.1.1)
        connection.is_accepted = True
        connection.acked_s = now_s
        if packet.keep_alive_s:
            connection.keepalive_s = min(KEEPALIVE_S, packet.keep_alive_s)
        if connection.probe is not None:
            filters = tuple(connection.probe.filters.items())
            connection.send(Subscribe(self.publications.outbox.next_packet_id(), filters))
        else:
            self._greet(connection, packet)

    def _on_refused_connect(self, answer: ConnAck) -> None:
        """Raise what follows: try again at once with less (3.1.1, another Last Will), or later."""
        reason = answer.reason
        if reason in UNSUPPORTED_VERSION and self.attempts.next.v5:
            raise _NoMqtt5("it does not speak MQTT 5")
        qos, retain = self._will_qos_and_retain
        smaller = {QOS_NOT_SUPPORTED: (0, retain), RETAIN_NOT_SUPPORTED: (qos, False)}.get(reason, (qos, retain))
        if smaller != self._will_qos_and_retain:
            self._will_qos_and_retain = smaller
            raise _Again("it does not accept this Last Will")
        kind = LoginRefused if reason in BAD_LOGIN else ConnectionLost
        raise kind(f"it refuses us: {reason_name(reason, answer.reason_text)}")

    def _greet(self, connection: _Connection, answer: ConnAck) -> None:
        """Subscribe, publish that we are here, and send again what the broker may not have."""
        self.counters["connects"] += 1
        for packet in self.subscriptions.begin():
            connection.send(packet)
        self.presence.set_fault("subscriptions", None)
        if self._durable and answer.session_expiry_s is not None and answer.session_expiry_s < SESSION_EXPIRY_S:
            log.warning("the broker keeps messages for %d s only while this service is away", answer.session_expiry_s)
        self.publications.begin(answer, self.presence.state(ServiceStatus.ONLINE, self.counters["connects"]))
        attempt = self.attempts.next
        log.info("connected to the broker at %s with MQTT %s", attempt.address, "5" if attempt.v5 else "3.1.1")
        self._on_link(True)

    def _on_publish(self, connection: _Connection, packet: Publish, now_s: float) -> None:
        is_own = packet.topic == self.presence.state_topic
        is_late = connection.live.is_late(packet.topic, retained=packet.retained)
        self.publications.on_publish(packet)
        if packet.packet_id and (is_own or is_late or not self._durable):
            connection.send(PubAck(packet.packet_id))
        if is_own:
            self._on_own_state(connection, packet, now_s)
            return
        if is_late:
            return
        self.counters["delivered"] += 1
        delivery = Delivery(packet.topic, packet.payload, packet.retained, packet.packet_id, self.counters["connects"])
        self.publications.on_delivery(delivery)
        try:
            self._on_delivery(delivery)
        except Exception:
            self.counters["callback_errors"] += 1
            if now_s - self._fault_logged_s >= FAULT_LOG_PERIOD_S:
                self._fault_logged_s = now_s
                log.exception("a fault while handling a message of the broker; the message is left out")

    def _on_own_state(self, connection: _Connection, packet: Publish, now_s: float) -> None:
        """Answer a state on our own topic that is not the one we published last.

        A retained or offline state is that of a dead run or a late will: ours is published again. An online one of
        another run that is not retained proves a living twin, and the older of both leaves (the one whose birth the
        broker delivered first) unless the other says offline within TWIN_LEAVES_S. A durable service has no twin while
        it is connected, for both would have one client id; what its session kept from an earlier run proves nothing.
        """
        if self.is_closing:
            return
        if self.presence.is_current(packet.payload, self.counters["connects"]):
            connection.birth_came_back = True
            return
        if not self._durable and not packet.retained and self.presence.is_twin(packet.payload):
            if connection.birth_came_back:
                connection.twin_due_s = min(connection.twin_due_s, now_s + TWIN_LEAVES_S)
            return
        connection.twin_due_s = float("inf")
        self._put_state(ServiceStatus.ONLINE)

    def _on_other_packet(self, connection: _Connection, packet: Packet, now_s: float) -> None:
        if isinstance(packet, SubAck):
            connection.acked_s = now_s
            self.subscriptions.on_suback(packet, now_s)
            self.set_fault("subscriptions", self.subscriptions.fault)
        elif isinstance(packet, Disconnect):
            if packet.reason == TAKEN_OVER:
                raise Replaced(TWIN)
            raise _ended(packet)
        elif isinstance(packet, ConnAck):
            raise BadPacket("the broker sent a second CONNACK")

    def _on_probe_packet(self, connection: _Connection, probe: Probe, packet: Packet, now_s: float) -> None:
        if isinstance(packet, Publish):
            if packet.packet_id:
                connection.send(PubAck(packet.packet_id))
            probe.on_publish(packet)
            self._end_probe_if_done(probe, now_s)
        elif isinstance(packet, SubAck):
            probe.on_suback(now_s)
        elif isinstance(packet, Disconnect):
            raise _ended(packet)

    def _end_probe_if_done(self, probe: Probe, now_s: float) -> None:
        if probe.is_done(now_s):
            self._is_probed = True
            self.leave()
            raise _Again("no other run is alive")

    def _check_silence(self, connection: _Connection, now_s: float) -> None:
        if not connection.is_accepted:
            if now_s - connection.began_s > self.attempts.connect_timeout_s:
                raise NoAnswer("it accepted the connection and sends nothing")
        elif now_s - connection.heard_s > 1.5 * connection.keepalive_s:
            raise NoAnswer("it sends nothing")
        is_owed = self.publications.outbox.in_flight or self.subscriptions.is_unanswered
        if not is_owed and connection.probe is None:
            connection.acked_s = now_s
        elif now_s - connection.acked_s > self.attempts.patience_s(ACK_TIMEOUT_S):
            raise NoAnswer("it stopped acknowledging")

    def _report(self, now_s: float) -> bool:
        """Publish the health when it is due; return True when the health file is to be touched."""
        if not self.presence.heartbeat_is_due(now_s):
            return False
        report = self._health()
        health = self.presence.health(now_s, self.counters, self.publications.gauges(), report)
        if health is not None:
            self.publications.publish(self.presence.health_topic, health)
        return report.working

    def _put_state(self, status: ServiceStatus) -> None:
        self.publications.outbox.put(self.presence.state(status, self.counters["connects"]))

    def _send_if_connected(self, packet: Sent) -> None:
        if self._connection is not None and self.is_connected:
            self._connection.send(packet)


def _ended(packet: Disconnect) -> ConnectionLost:
    return ConnectionLost(f"it ended the connection: {reason_name(packet.reason, packet.reason_text)}")

"""A service's connection to the MQTT broker: the only place that knows paho.

One thread of its own does all the talking; every method here may be called from any thread. The bus
connects in the background and again for ever, with a jittered, capped delay. Each connection is a
fresh paho client: what must survive a connection (what waits for the broker's ack, what is retained)
is kept here, so none of paho's own resending is relied upon. MQTT 5 is spoken where the broker does,
3.1.1 otherwise.
"""

import contextlib
import logging
import random
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.json import encode
from neuroone.contract.messages import Message, Reading, ServiceStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.backoff import Backoff
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import WINDOW, Outbox, Outgoing
from neuroone.mqtt.presence import HEALTH_PERIOD_S, HEARTBEAT_PERIOD_S, TAKEN_OVER, HealthReport, Presence, Replaced
from neuroone.mqtt.replay import RECORDER, ReplayBuffer
from neuroone.mqtt.session import ACK_TIMEOUT_S, KEEPALIVE_S, RECEIVE_MAXIMUM, REFUSED, Delivery

CONNECT_TIMEOUT_S: Final = 5.0
"""For the TCP and TLS handshakes, and again for the broker's CONNACK."""
GOODBYE_S: Final = 1.0
"""For the broker's ack of the last word, "offline"."""
_TICK_S: Final = 0.5
"""The longest sleep of the bus's thread; bounds how late pings and health are."""
_UNSUPPORTED_VERSION: Final = 0x84

log = logging.getLogger(__name__)


class _Lost(Exception):
    """The connection ended; the text says why."""


class _NoMqtt5(_Lost):
    """The broker may not speak MQTT 5."""


class ThreadedClient:
    """Connect a service to the broker from a thread of its own.

    ``subscriptions`` are filters with their QoS, made anew at every connect. ``on_delivery`` is called in the bus's
    thread and must not block; ``on_link`` likewise, with whether the broker is there. A ``ledger``
    keeps the readings that the broker has until a recorder marked them, and they go out again after a reconnect; it
    belongs to the bus's thread.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        identity: Identity,
        *,
        subscriptions: Mapping[str, int] | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
        on_link: Callable[[bool], None] | None = None,
        on_fatal: Callable[[NeuroOneError], None] | None = None,
        vitals: Callable[[], HealthReport] = HealthReport,
        ledger: ReplayBuffer | None = None,
        ca_file: Path | None = None,
        health_file: Path | None = None,
        outbox: Outbox | None = None,
        backoff: Backoff = Backoff(),
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.identity = identity
        self.broker = broker
        self._subscriptions = dict(subscriptions or {})
        if ledger is not None:
            for rule, ids in ((topics.SERVICE_STATE, {"service": RECORDER}), (topics.RECORDED, {})):
                self._subscriptions.setdefault(topics.every(rule, identity.site, **ids), rule.qos)
        self._on_delivery = on_delivery
        self._on_link = on_link
        self._on_fatal = on_fatal
        self._vitals = vitals
        self._ledger = ledger
        self._unheld = 0
        self._ca_file = ca_file
        self._health_file = health_file
        self._outbox = Outbox() if outbox is None else outbox
        self._backoff = backoff
        self._rng = random.Random() if rng is None else rng
        self._clock = clock
        self._presence = Presence(identity)
        self._retained: dict[str, Outgoing] = {}
        self._retained_lock = threading.Lock()
        self._commands: deque[Callable[[mqtt.Client], object]] = deque()
        self._started_s = 0.0
        self._last_ack_s = 0.0
        self._next_beat_s = 0.0
        self._next_health_s = 0.0
        self._connection = 0
        self._v5 = True
        self._link_up = threading.Event()
        self._closing = threading.Event()
        self._leaving = threading.Event()
        self._waker: _Waker | None = None
        self._thread: threading.Thread | None = None
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "published",
                "acked",
                "refused",
                "delivered",
                "dropped",
                "dropped_qos0",
                "connects",
                "callback_errors",
                "replayed",
            ),
            0,
        )

    def start(self) -> None:
        """Start connecting in the background."""
        self._started_s = time.monotonic()
        self._waker = waker = _Waker()
        self._thread = threading.Thread(target=self._run, args=(waker,), name="bus", daemon=True)
        self._thread.start()

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there and has our birth."""
        return self._link_up.is_set()

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait for the broker; say whether it is there."""
        return self._link_up.wait(timeout_s)

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return len(self._outbox)

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        """Send a message with the QoS and retain of its topic.

        QoS 1 waits for the broker while it is away, within the bounds of the outbox; QoS 0 and
        beyond the bounds is dropped and counted, and the answer is False. ``on_ack`` is called in
        the bus's thread, and must not block. Retained messages are published again at every connect.
        """
        reading = None
        if self._ledger is not None and isinstance(message, Reading):
            reading = ((topic["group"], topic["source"], message.session), message.seq)
        outgoing = Outgoing(str(topic), encode(message), topic.rule.qos, topic.rule.retained, on_ack, reading)
        if outgoing.retained:
            with self._retained_lock:
                self._retained[outgoing.topic] = outgoing
                if not self.is_connected:
                    return True
        elif outgoing.qos == 0 and not self.is_connected:
            self.counters["dropped_qos0"] += 1
            return False
        if not self._outbox.put(outgoing):
            self.counters["dropped"] += 1
            if self.counters["dropped"] == 1:
                log.error("the broker is away or too slow: what waits for it is full, and new messages are dropped")
            return False
        self.counters["published"] += 1
        self._wake()
        return True

    def subscribe(self, filter: str, qos: int) -> None:
        """Add a subscription, now and at every later connect."""
        self._subscriptions[filter] = qos
        self._commands.append(lambda client: client.subscribe(filter, qos))
        self._wake()

    def unsubscribe(self, filter: str) -> None:
        """Take a subscription away."""
        self._subscriptions.pop(filter, None)
        self._commands.append(lambda client: client.unsubscribe(filter))
        self._wake()

    def close(self, timeout_s: float = 5.0) -> bool:
        """Hand the rest to the broker, say offline and leave, within ``timeout_s``.

        Says whether the broker acknowledged everything. Retained messages are not taken back: publish their last
        state first.
        """
        thread, waker = self._thread, self._waker
        if thread is not None and waker is not None:
            self._closing.set()
            waker.wake()
            thread.join(timeout_s)
            self._leaving.set()
            waker.wake()
            thread.join(CONNECT_TIMEOUT_S + GOODBYE_S)
            self._thread = self._waker = None
            waker.close()
        return self.waiting == 0

    def _run(self, waker: "_Waker") -> None:
        try:
            self._connect_for_ever(waker)
        except Exception as error:
            # A service without its bus must not look alive.
            log.exception("a fault in the connection to the broker")
            self._call(self._on_fatal, NeuroOneError(f"the connection to the broker failed: {error!r}"))
        finally:
            self._say_link_down()

    def _connect_for_ever(self, waker: "_Waker") -> None:
        attempt = 0
        while not self._has_left():
            connects = self.counters["connects"]
            try:
                self._connect_and_talk(waker)
                return
            except Replaced as error:
                self._call(self._on_fatal, error)
                return
            except _NoMqtt5:
                self._v5 = False
                continue
            except (OSError, ValueError, _Lost) as error:
                why = str(error)
            finally:
                self._say_link_down()
            attempt = 0 if self.counters["connects"] > connects else attempt + 1
            level = logging.WARNING if attempt <= 1 else logging.DEBUG
            log.log(level, "no broker at %s (%s); trying again until it is there", self.broker, why)
            self._pause(waker, self._backoff.delay_s(attempt, self._rng))

    def _connect_and_talk(self, waker: "_Waker") -> None:
        """One connection from its first byte to its end. Returns when the bus has left in order."""
        self._connection += 1
        talk = _Talk()
        client = self._new_client(talk)
        client.connect(self.broker.host, self.broker.port, KEEPALIVE_S, **self._connect_options())
        with selectors.DefaultSelector() as selector:
            selector.register(waker.end, selectors.EVENT_READ, waker)
            try:
                while not talk.said_goodbye:
                    self._turn(client, talk, selector)
            except _Lost:
                # Some brokers hang up on a version that they do not speak instead of saying so.
                if not talk.answered and not self.counters["connects"]:
                    self._v5 = not self._v5
                raise
            finally:
                client.disconnect()

    def _turn(self, client: mqtt.Client, talk: "_Talk", selector: selectors.BaseSelector) -> None:
        sock = talk.socket_of(client)
        _watch(selector, sock, selectors.EVENT_READ | client.want_write() * selectors.EVENT_WRITE)
        readable = _pending_bytes(sock) > 0
        for key, events in selector.select(0 if readable else _TICK_S):
            if isinstance(key.data, _Waker):
                key.data.drain()
            elif events & selectors.EVENT_READ:
                readable = True
        while readable:
            client.loop_read()
            readable = client.socket() is sock and _pending_bytes(sock) > 0
        if talk.acks:  # also those before the end of the connection: Mosquitto 2.0.11 hangs up after it refused
            self._take_acks(talk)
        talk.socket_of(client)
        if talk.accepted:
            self._greet(client, talk)
            while self._commands:
                self._commands.popleft()(client)
            self._take_acks(talk)
            self._send(client)
            self._report()
            self._leave_if_done(client, talk)
        elif time.monotonic() - talk.began_s > CONNECT_TIMEOUT_S:
            raise _Lost("it took the connection and says nothing")
        if client.want_write():
            client.loop_write()
        client.loop_misc()

    def _new_client(self, talk: "_Talk") -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.identity.client_id,
            protocol=mqtt.MQTTv5 if self._v5 else mqtt.MQTTv311,
            clean_session=None if self._v5 else True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(0)
        if self.broker.user is not None:
            client.username_pw_set(self.broker.user, self.broker.password)
        if self.broker.tls:
            client.tls_set(ca_certs=None if self._ca_file is None else str(self._ca_file))
        will = self._state(ServiceStatus.OFFLINE)
        client.will_set(will.topic, will.payload, will.qos, will.retained)
        client.on_socket_open = _no_delay
        client.on_connect = talk.on_connect
        client.on_disconnect = talk.on_disconnect
        client.on_publish = talk.on_publish
        client.on_message = self._on_message
        return client

    def _connect_options(self) -> dict[str, Any]:
        if not self._v5:
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        return {"clean_start": True, "properties": properties}

    def _greet(self, client: mqtt.Client, talk: "_Talk") -> None:
        """Once a connection: subscribe, say that we are here, and publish what is retained anew."""
        if talk.greeted:
            return
        talk.greeted = True
        self._commands.clear()
        self._outbox.window = min(WINDOW, talk.receive_maximum)
        for filter, qos in {**self._subscriptions, self._presence.state_topic: 1}.items():
            client.subscribe(filter, qos)
        with self._retained_lock:
            states = [self._state(ServiceStatus.ONLINE), *self._retained.values()]
            self._unheld = len(states)
            kept = [] if self._ledger is None else self._ledger.replay()
            self.counters["replayed"] += len(kept)
            self.counters["dropped_qos0"] += self._outbox.rewind([*states, *kept])
            self._link_up.set()
        if self._ledger is not None:
            self._ledger.linked(True)
        self.counters["connects"] += 1
        log.info("connected to the broker at %s with MQTT %s", self.broker, "5" if self._v5 else "3.1.1")
        self._call(self._on_link, True)

    def _take_acks(self, talk: "_Talk") -> None:
        for packet_id, reason in talk.acks:
            outgoing = self._outbox.acked(packet_id)
            if outgoing is None:
                continue
            self._last_ack_s = time.monotonic()
            if reason >= REFUSED:
                self.counters["refused"] += 1
                if self.counters["refused"] == 1:
                    log.error("the broker refuses what we publish (%#x): see its access list", reason)
            else:
                self.counters["acked"] += 1
                if self._ledger is not None and outgoing.reading is not None:
                    self._ledger.acked(*outgoing.reading, outgoing)
                self._call(outgoing.on_ack)
        talk.acks.clear()
        if not self._outbox.in_flight:
            self._last_ack_s = time.monotonic()
        elif time.monotonic() - self._last_ack_s > ACK_TIMEOUT_S:
            raise _Lost("it stopped acknowledging")

    def _send(self, client: mqtt.Client) -> None:
        # A socket that does not take more holds back the outbox, which is bounded; paho's own queue is not.
        while not client.want_write() and not self._holds_back():
            outgoing = self._outbox.next()
            if outgoing is None:
                return
            sent = client.publish(outgoing.topic, outgoing.payload, outgoing.qos, outgoing.retained)
            if sent.rc != mqtt.MQTT_ERR_SUCCESS:
                self._outbox.unsent(outgoing)
                return
            self._outbox.sent(sent.mid, outgoing)
            self._unheld -= 1

    def _holds_back(self) -> bool:
        """Whether readings wait for the recorder to be back after a reconnect; the states before them do not."""
        return self._ledger is not None and self._unheld <= 0 and self._ledger.waits_for_recorder()

    def _report(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_beat_s:
            return
        self._next_beat_s = now_s + HEARTBEAT_PERIOD_S
        if self._ledger is not None:
            self._ledger.look()
        vitals = self._vitals()
        if self._health_file is not None and vitals.working:
            self._health_file.touch()
        if now_s < self._next_health_s:
            return
        self._next_health_s = now_s + HEALTH_PERIOD_S
        kept = {} if self._ledger is None else self._ledger.gauges()
        now = datetime.fromtimestamp(self._clock(), UTC)
        uptime_s = now_s - self._started_s
        health = self._presence.health(now, uptime_s, self.counters, {**self._outbox.gauges(), **kept}, vitals)
        self.publish(self._presence.health_topic, health)

    def _leave_if_done(self, client: mqtt.Client, talk: "_Talk") -> None:
        if not self._closing.is_set() or (len(self._outbox) and not self._leaving.is_set()):
            return
        if talk.leaving_since_s is None:
            talk.leaving_since_s = time.monotonic()
            self._outbox.put(self._state(ServiceStatus.OFFLINE))
            self._send(client)
        elif not len(self._outbox) or time.monotonic() - talk.leaving_since_s > GOODBYE_S:
            talk.said_goodbye = True

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == self._presence.state_topic:
            outdated = self._presence.is_outdated(bytes(message.payload), self._connection)
            if outdated and not self._closing.is_set():
                self._outbox.put(self._state(ServiceStatus.ONLINE))
            return
        delivery = Delivery(message.topic, bytes(message.payload), message.retain, message.mid, self._connection)
        self.counters["delivered"] += 1
        if self._ledger is not None:
            with contextlib.suppress(ContractError):
                self._ledger.take(*delivery.open())
            for outgoing in self._ledger.owed():
                self.counters["replayed" if self._outbox.put(outgoing) else "dropped"] += 1
        self._call(self._on_delivery, delivery)

    def _say_link_down(self) -> None:
        if self._link_up.is_set():
            self._link_up.clear()
            if self._ledger is not None:
                self._ledger.linked(False)
            self._call(self._on_link, False)

    def _call(self, callback: Callable[..., object] | None, *arguments: Any) -> None:
        """Call out; whatever goes wrong there is counted and logged, and does not end the connection."""
        if callback is None:
            return
        try:
            callback(*arguments)
        except Exception:
            self.counters["callback_errors"] += 1
            log.exception("a fault while handling what the broker said")

    def _state(self, status: ServiceStatus) -> Outgoing:
        return self._presence.state(status, self._connection)

    def _has_left(self) -> bool:
        """Whether there is nothing to connect for any more."""
        return self._leaving.is_set() or (self._closing.is_set() and not len(self._outbox))

    def _pause(self, waker: "_Waker", delay_s: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(waker.end, selectors.EVENT_READ)
            until_s = time.monotonic() + delay_s
            while not self._has_left() and (left_s := until_s - time.monotonic()) > 0:
                if selector.select(left_s):
                    waker.drain()

    def _wake(self) -> None:
        if (waker := self._waker) is not None:
            waker.wake()


class _Waker:
    """Ends a wait of a selector from another thread."""

    def __init__(self) -> None:
        self.end, self._other_end = socket.socketpair()
        self.end.setblocking(False)
        self._other_end.setblocking(False)

    def wake(self) -> None:
        # A full pipe has wake-ups enough, and a closed one nobody to wake.
        with contextlib.suppress(OSError):
            self._other_end.send(b"\0")

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.end.recv(4096):
                pass

    def close(self) -> None:
        self.end.close()
        self._other_end.close()


class _Talk:
    """What paho's callbacks have said of one connection."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.answered = False
        self.accepted = False
        self.greeted = False
        self.said_goodbye = False
        self.leaving_since_s: float | None = None
        self.receive_maximum = WINDOW
        self.acks: list[tuple[int, int]] = []
        self.fault: Exception | None = None

    def on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.answered = True
        if reason.value == _UNSUPPORTED_VERSION:
            self.fault = _NoMqtt5("it does not speak MQTT 5")
        elif reason.is_failure:
            self.fault = _Lost(f"it refuses us: {reason}")
        else:
            self.receive_maximum = getattr(properties, "ReceiveMaximum", WINDOW)
            self.accepted = True

    def on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.value == TAKEN_OVER and flags.is_disconnect_packet_from_server:
            self.fault = Replaced()
        elif self.fault is None:
            self.fault = _Lost(
                f"it left: {reason}" if flags.is_disconnect_packet_from_server else "the connection broke"
            )

    def on_publish(self, client: Any, userdata: Any, packet_id: int, reason: Any, properties: Any) -> None:
        self.acks.append((packet_id, reason.value))

    def socket_of(self, client: mqtt.Client) -> Any:
        """The connection's socket. Raises what ended the connection when there is none any more."""
        sock = client.socket()
        if self.fault is not None:
            raise self.fault
        if sock is None:
            raise _Lost("it closed the connection")
        return sock


def _no_delay(client: mqtt.Client, userdata: Any, sock: Any) -> None:
    # paho leaves Nagle's algorithm on: with QoS 1 it costs 30 to 40 ms at every hop.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _watch(selector: selectors.BaseSelector, sock: Any, events: int) -> None:
    """Wait for these events of the socket from now on; for 0, leave it alone."""
    key = selector.get_map().get(sock)
    if key is None and events:
        selector.register(sock, events)
    elif key is not None and not events:
        selector.unregister(sock)
    elif key is not None and key.events != events:
        selector.modify(sock, events)


def _pending_bytes(sock: Any) -> int:
    """Bytes that TLS has decrypted already, which a selector does not see."""
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0

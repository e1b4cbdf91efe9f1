"""Ask the network for `neuroone doctor`: listen to the broker for some seconds, and try the WebSocket port."""

import contextlib
import http.client
import queue
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from neuroone.contract import topics
from neuroone.contract.errors import ContractError
from neuroone.contract.messages import Health, Message, Reading, ServiceState, ServiceStatus, StreamState
from neuroone.contract.topics import Topic
from neuroone.doctor.checks import Answer, BrokerAnswer, Instance
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.delivery import Delivery

VERSION_TOPIC: Final = "$SYS/broker/version"
ANSWER_TIMEOUT_S: Final = 5.0
REFUSED_PROTOCOL: Final = ("Unsupported protocol version", "Unacceptable protocol version")


@dataclass(slots=True)
class Received:
    """The broker's answer, and the newest messages that it sent."""

    answer: BrokerAnswer
    services: dict[tuple[str, str], ServiceState] = field(default_factory=dict)
    healths: dict[tuple[str, str], tuple[Health, float]] = field(default_factory=dict)
    streams: dict[str, StreamState] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)

    @property
    def instances(self) -> list[Instance]:
        """Return the services, each with what its health report tells."""
        found = []
        for key, state in sorted(self.services.items()):
            health, skew_s = self.healths.get(key, (None, None))
            works = None if health is None or "disk_works" not in health.gauges else bool(health.gauges["disk_works"])
            found.append(Instance(*key, state.status, skew_s, works))
        return found

    @property
    def is_complete(self) -> bool:
        """Return True if every online service has published its health."""
        online = {key for key, state in self.services.items() if state.status is ServiceStatus.ONLINE}
        return bool(online) and online <= self.healths.keys()

    def on_delivery(self, delivery: Delivery, now_s: float) -> None:
        """Keep a message that arrived at ``now_s`` (seconds since 1970); ignore an invalid one."""
        with contextlib.suppress(ContractError):
            topic, message = delivery.open()
            self._keep(topic, message, now_s)

    def _keep(self, topic: Topic, message: Message, now_s: float) -> None:
        match message:
            case ServiceState():
                self.services[topic["service"], topic["instance"]] = message
            case Health():
                key = topic["service"], topic["instance"]
                self.healths[key] = (message, message.time.timestamp() - now_s)
            case StreamState():
                self.streams[f"{topic['group']}/{topic['source']}"] = message
            case Reading():
                self.readings[f"{topic['group']}/{topic['source']}"] = message


def listen(
    address: BrokerAddress, ca_file: Path | None, site: str, seconds: float, is_over: Callable[[], bool]
) -> Received:
    """Log in and listen until every service has published its health or the time is over. Publish nothing."""
    events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    received = Received(BrokerAnswer(str(address), "timeout"))
    for version in (mqtt.MQTTv5, mqtt.MQTTv311):
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=version)
        client.on_connect = lambda client, userdata, flags, reason, properties: events.put(("connect", reason))
        client.on_subscribe = lambda client, userdata, mid, reasons, properties: events.put(("subscribe", reasons))
        client.on_message = lambda client, userdata, message: events.put(("message", message))
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        try:
            if address.tls:
                client.tls_set_context(ssl.create_default_context(cafile=ca_file))
            client.connect(address.host, address.port)
        except OSError as error:
            received.answer = BrokerAnswer(str(address), fault_of(error), str(error))
            return received
        client.loop_start()
        try:
            reason = events.get(timeout=ANSWER_TIMEOUT_S)[1]
            if str(reason) in REFUSED_PROTOCOL and version == mqtt.MQTTv5:
                continue
            if reason.is_failure:
                received.answer = BrokerAnswer(str(address), "login", str(reason))
                return received
            client.subscribe([(f"{topics.ROOT}/{site}/#", 1)])
            may_read = not any(reason.is_failure for reason in _wait_subscribed(events, received))
            client.subscribe(VERSION_TOPIC)
            received.answer = BrokerAnswer(str(address), may_read=may_read)
            _receive(events, received, time.monotonic() + seconds if may_read else time.monotonic() + 1, is_over)
        except queue.Empty:
            pass
        finally:
            client.disconnect()
            client.loop_stop()
        return received
    return received


def _wait_subscribed(events: "queue.SimpleQueue[tuple[str, Any]]", received: Received) -> Sequence[Any]:
    while True:
        kind, value = events.get(timeout=ANSWER_TIMEOUT_S)
        if kind == "subscribe":
            return list(value)
        if kind == "message":
            _on_message(received, value)


def _receive(
    events: "queue.SimpleQueue[tuple[str, Any]]", received: Received, until_s: float, is_over: Callable[[], bool]
) -> None:
    while (left_s := until_s - time.monotonic()) > 0 and not received.is_complete and not is_over():
        with contextlib.suppress(queue.Empty):
            kind, value = events.get(timeout=min(left_s, 0.2))
            if kind == "message":
                _on_message(received, value)


def _on_message(received: Received, message: mqtt.MQTTMessage) -> None:
    if message.topic == VERSION_TOPIC:
        version = message.payload.decode("utf-8", "replace")
        received.answer = BrokerAnswer(received.answer.address, may_read=received.answer.may_read, version=version)
    elif message.payload:
        delivery = Delivery(message.topic, bytes(message.payload), message.retain, message.mid, 1)
        received.on_delivery(delivery, time.time())


def try_websocket(url: str, ca_file: Path | None = None) -> Answer:
    """Try a WebSocket handshake at an address, and ask the gateway whether it is connected to its broker."""
    try:
        with _request(url, ca_file, _UPGRADE) as response:
            status = response.status
        ready = None
        if status == http.client.SWITCHING_PROTOCOLS:
            with _request(url, ca_file, {}, path="/readyz") as response:
                ready = response.status
    except (OSError, http.client.HTTPException) as error:
        fault = fault_of(error) if isinstance(error, OSError) else "no_upgrade"
        return Answer(url, fault=fault, detail=str(error))
    return Answer(url, status=status, ready=ready)


_UPGRADE: Final[Mapping[str, str]] = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "bmV1cm9vbmUgZG9jdG9yIQ==",  # any 16 bytes (RFC 6455 section 4.1)
}


@contextlib.contextmanager
def _request(
    url: str, ca_file: Path | None, headers: Mapping[str, str], path: str | None = None
) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme in ("wss", "https"):
        trust = ssl.create_default_context(cafile=ca_file)
        connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=ANSWER_TIMEOUT_S, context=trust)
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path or parts.path or "/", headers=dict(headers))
        yield connection.getresponse()
    finally:
        connection.close()


def fault_of(error: OSError) -> str:
    """Return why a connection failed, as a fault that the checks know."""
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, socket.gaierror):
        return "name"
    return "refused" if isinstance(error, ConnectionRefusedError | ConnectionResetError) else "timeout"

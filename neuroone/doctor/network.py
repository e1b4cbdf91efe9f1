"""Ask the network for `neuroone doctor`: listen to the broker for some seconds, and try the WebSocket port."""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from neuroone.contract import topics
from neuroone.contract.errors import ContractError
from neuroone.contract.messages import Health, Reading, ServiceState, ServiceStatus, StreamState
from neuroone.contract.shards import shard_from
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
            gauges = {} if health is None else health.gauges
            works = bool(gauges["disk_works"]) if "disk_works" in gauges else None
            shard = shard_from(state.shard, state.shards)
            found.append(Instance(*key, state.status, skew_s, works, shard, state.fault or "", gauges))
        return found

    @property
    def is_complete(self) -> bool:
        """Return True if every online service has published its health."""
        online = {key for key, state in self.services.items() if state.status is ServiceStatus.ONLINE}
        return bool(online) and online <= self.healths.keys()

    def on_delivery(self, delivery: Delivery, now_s: float) -> None:
        """Keep a message that arrived at ``now_s`` (seconds since 1970); ignore an invalid one."""
        try:
            topic, message = delivery.open()
        except ContractError:
            return
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

    def on_message(self, message: mqtt.MQTTMessage) -> None:
        """Keep what the broker delivered, or the broker's version."""
        if message.topic == VERSION_TOPIC:
            self.answer = replace(self.answer, version=message.payload.decode("utf-8", "replace"))
        elif message.payload:
            delivery = Delivery(message.topic, bytes(message.payload), message.retain, message.mid, 1)
            self.on_delivery(delivery, time.time())


def listen(
    address: BrokerAddress, ca_file: Path | None, site: str, seconds: float, is_over: Callable[[], bool]
) -> Received:
    """Log in and listen until every service has published its health or the time is over. Publish nothing."""
    received = Received(BrokerAnswer(str(address), "timeout"))
    reasons: list[ReasonCode] = []
    for version in (mqtt.MQTTv5, mqtt.MQTTv311):
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=version)
        client.on_connect = lambda client, userdata, flags, reason, properties: reasons.append(reason)
        client.on_subscribe = lambda client, userdata, mid, granted, properties: reasons.extend(granted)
        client.on_message = lambda client, userdata, message: received.on_message(message)
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        try:
            if address.tls:
                client.tls_set_context(ssl.create_default_context(cafile=ca_file))
            client.connect(address.host, address.port)
        except OSError as error:
            received.answer = BrokerAnswer(str(address), fault_of(error), str(error))
            return received
        reasons.clear()
        _loop(client, ANSWER_TIMEOUT_S, lambda: bool(reasons))
        if not reasons or str(reasons[0]) not in REFUSED_PROTOCOL:
            break
    if reasons and reasons[0].is_failure:
        received.answer = BrokerAnswer(str(address), "login", str(reasons[0]))
    elif reasons:
        client.subscribe([(f"{topics.ROOT}/{site}/#", 1)])
        _loop(client, ANSWER_TIMEOUT_S, lambda: len(reasons) > 1)
        if len(reasons) > 1:
            received.answer = BrokerAnswer(str(address), may_read=not reasons[1].is_failure)
            client.subscribe(VERSION_TOPIC)
            time_s = seconds if received.answer.may_read else 1.0
            _loop(client, time_s, lambda: received.is_complete or is_over())
    client.disconnect()
    return received


def _loop(client: mqtt.Client, seconds: float, is_done: Callable[[], bool]) -> None:
    """Handle what arrives until it is done, the time is over or the connection is lost."""
    until_s = time.monotonic() + seconds
    while not is_done() and (left_s := until_s - time.monotonic()) > 0:
        if client.loop(min(left_s, 0.2)) != mqtt.MQTT_ERR_SUCCESS:
            return


def try_websocket(url: str, ca_file: Path | None = None) -> Answer:
    """Try a WebSocket handshake at an address, and ask the gateway whether it is connected to its broker."""
    try:
        status, certificate = _status(url, ca_file, urlsplit(url).path or "/", _UPGRADE)
        ready = _status(url, ca_file, "/readyz", {})[0] if status == http.client.SWITCHING_PROTOCOLS else None
    except (OSError, http.client.HTTPException) as error:
        fault = fault_of(error) if isinstance(error, OSError) else "no_upgrade"
        return Answer(url, fault=fault, detail=str(error))
    if not certificate:
        return Answer(url, status=status, ready=ready)
    begins_s, ends_s = (ssl.cert_time_to_seconds(str(certificate[key])) for key in ("notBefore", "notAfter"))
    return Answer(url, status=status, ready=ready, life_s=ends_s - begins_s, left_s=ends_s - time.time())


_UPGRADE: Final[Mapping[str, str]] = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "bmV1cm9vbmUgZG9jdG9yIQ==",  # any 16 bytes (RFC 6455 section 4.1)
}


def _status(
    url: str, ca_file: Path | None, path: str, headers: Mapping[str, str]
) -> tuple[int, Mapping[str, object] | None]:
    """Return the HTTP status of the answer, and the server's certificate. Raises OSError and HTTPException."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "wss":
        trust = ssl.create_default_context(cafile=ca_file)
        connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=ANSWER_TIMEOUT_S, context=trust)
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=ANSWER_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.connect()
        certificate = connection.sock.getpeercert() if isinstance(connection.sock, ssl.SSLSocket) else None
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status, certificate


def fault_of(error: OSError) -> str:
    """Return why a connection failed, as a fault that the checks know."""
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, socket.gaierror):
        return "name"
    return "refused" if isinstance(error, ConnectionRefusedError | ConnectionResetError) else "timeout"

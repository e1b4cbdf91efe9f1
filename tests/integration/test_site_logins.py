"""What the login of one school may do with the topics of another one, on real brokers: nothing."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from websockets.sync.client import connect

from neuroone.contract.topics import ROOT, TOPICS, TopicRule
from neuroone.up import brokers
from neuroone.up.broker_access import Access
from tests.support.brokers import LOOPBACK
from tests.support.site_broker import OURS, THEIRS, site_broker
from tests.support.waiting import wait_for

pytestmark = pytest.mark.broker
IDS = {"group": "6B", "source": "Ana", "service": "ws_gateway", "instance": "one"}
INDIRECT = [
    *(f"{ROOT}/{THEIRS}/#", f"{ROOT}/#", f"{ROOT}/+/#", "#", "+/#", "neuroone/+/school-b/#"),
    *(f"{ROOT}/+/streams/+/+/reading", "$share/all/neuroone/v1/school-b/#"),
    *("$MQTT/#", "$MQTT/sub/#", "$MQTT/msgs/#", "$MQTT/rmsgs/#", "$JS/#", "$SYS/#"),
]
"""Other filters than a topic's own, by which one may try; those that begin with $ lead to what NATS keeps inside."""


@pytest.fixture(scope="module", params=brokers.KINDS)
def access(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """Run a broker with the logins of two schools."""
    with site_broker(request.param, tmp_path_factory.mktemp("broker")) as access:
        yield access


class Client:
    """A client of MQTT 3.1.1, as any program of others is. ``heard`` is what came; ``granted`` how it may listen."""

    def __init__(self, access: Access, login: str, transport: str) -> None:
        address = access.of(login)
        self.heard: list[tuple[str, bytes]] = []
        self.granted: list[int] = []
        self._mqtt = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            transport=transport,  # type: ignore[arg-type]
            reconnect_on_failure=False,  # Mosquitto 2.0 ends the connection of who publishes what is not allowed
        )
        self._mqtt.username_pw_set(address.user, address.password)
        self._mqtt.on_message = lambda client, userdata, message: self.heard.append(
            (message.topic, bytes(message.payload))
        )
        self._mqtt.on_subscribe = self._on_subscribe
        port = access.ws_port if transport == "websockets" else address.port
        self._mqtt.connect(LOOPBACK, port or 0)
        self._mqtt.loop_start()
        wait_for(self._mqtt.is_connected, "connection")

    def _on_subscribe(self, client: Any, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        self.granted += [each.value for each in reasons]

    def subscribe(self, *filters: str) -> None:
        """Ask for topics, and wait for the answer, yes or no."""
        for qos in (0, 1):
            for each in filters:
                before = len(self.granted)
                self._mqtt.subscribe(each, qos)
                wait_for(lambda before=before: len(self.granted) > before, "answer")  # type: ignore[misc]

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and do not ask what became of it: a broker may answer as if it had taken the message."""
        self._mqtt.publish(topic, payload, qos, retain)

    def wait_for(self, payload: bytes, topics: int = 1) -> None:
        """Wait until this has come on so many topics."""
        wait_for(lambda: len({topic for topic, each in self.heard if each == payload}) == topics, "message")

    def close(self) -> None:
        self._mqtt.disconnect()
        self._mqtt.loop_stop()


@contextlib.contextmanager
def client(access: Access, login: str, transport: str = "tcp") -> Iterator[Client]:
    """A connected client."""
    connected = Client(access, login, transport)
    try:
        yield connected
    finally:
        connected.close()


def of(rule: TopicRule, site: str) -> str:
    """Return a topic of a rule."""
    return f"{ROOT}/{site}/{rule.shape.format_map(IDS)}"


def is_theirs(topic: str) -> bool:
    return THEIRS in topic


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_a_school_publishes_on_no_topic_of_another_one(access: Access, transport: str) -> None:
    """Neither live nor retained, on the topics of the contract and on others below the site."""
    refused = [*(of(rule, THEIRS) for rule in TOPICS), f"{ROOT}/{THEIRS}", f"{ROOT}/{THEIRS}/else"]
    with client(access, "reader") as hears_all:
        hears_all.subscribe(f"{ROOT}/#")
        for topic, qos in itertools.product(refused, (0, 1)):
            with client(access, f"site-{OURS}", transport) as ours:
                ours.publish(topic, b"not allowed", qos=qos, retain=topic.endswith("state"))
        with client(access, f"site-{OURS}", transport) as ours:
            ours.publish(of(TOPICS[0], OURS), b"the end")
            hears_all.wait_for(b"the end")
        assert not [topic for topic, _ in hears_all.heard if is_theirs(topic)]
    with client(access, f"site-{THEIRS}") as theirs:  # nor is anything there for who comes later
        theirs.subscribe(f"{ROOT}/{THEIRS}/#")
        theirs.publish(of(TOPICS[0], THEIRS), b"the end")
        theirs.wait_for(b"the end")
        assert b"not allowed" not in [payload for _, payload in theirs.heard]


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_a_school_hears_no_topic_of_another_one(access: Access, transport: str) -> None:
    """Neither what is retained before nor what is sent later, by no filter."""
    with client(access, f"site-{THEIRS}") as theirs, client(access, f"site-{OURS}", transport) as ours:
        theirs.subscribe(f"{ROOT}/{THEIRS}/#")
        for rule in TOPICS:
            theirs.publish(of(rule, THEIRS), b"retained before", retain=True)
        theirs.wait_for(b"retained before", len(TOPICS))
        ours.subscribe(*(of(rule, THEIRS) for rule in TOPICS), *INDIRECT, f"{ROOT}/{OURS}/#")
        for rule in TOPICS:
            theirs.publish(of(rule, THEIRS), b"sent later", qos=rule.qos, retain=rule.retained)
        theirs.wait_for(b"sent later", len(TOPICS))
        ours.publish(of(TOPICS[0], OURS), b"the end")
        ours.wait_for(b"the end")
        assert not [topic for topic, payload in ours.heard if is_theirs(topic) or payload != b"the end"]
        for rule in TOPICS:
            theirs.publish(of(rule, THEIRS), b"", retain=True)


def test_a_services_login_of_the_district_hears_every_school(access: Access) -> None:
    """So that the tests above would notice messages that arrive."""
    with client(access, "reader") as reader, client(access, f"site-{THEIRS}") as theirs:
        reader.subscribe(f"{ROOT}/#")
        theirs.publish(of(TOPICS[0], THEIRS), b"said")
        reader.wait_for(b"said")


def test_no_login_speaks_the_protocol_of_nats(tmp_path: Path) -> None:
    """There whoever may get messages of QoS 1 at all could get those of every school."""
    with site_broker("nats", tmp_path) as access:
        login = access.of(f"site-{OURS}")
        words = {"user": login.user, "pass": login.password, "verbose": True}
        with connect(f"ws://{LOOPBACK}:{access.ws_port}/", proxy=None) as nats:
            assert b"INFO" in nats.recv(10)
            nats.send(f"CONNECT {json.dumps(words)}\r\nSUB $MQTT.sub.> 1\r\nPING\r\n".encode())
            assert b"Authorization Violation" in nats.recv(10)

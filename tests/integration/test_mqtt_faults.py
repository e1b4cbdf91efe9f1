"""What a client does when a broker refuses, limits, breaks rules or goes silent: both edges, on a scripted broker."""

import asyncio
import json
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.json import decode, encode
from neuroone.contract.messages import BANDS, NAME_MAX_CHARS, Reading, ServiceState, ServiceStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt import outbox
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.backoff import Backoff
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.packets import (
    PACKET_MAX_BYTES,
    ConnAck,
    Connect,
    Decoder,
    Disconnect,
    Packet,
    PingReq,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
)
from neuroone.mqtt.presence import Replaced
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up import brokers
from tests.support import broker_packets
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.bus_listener import identity
from tests.support.fake_broker import HANG_UP, Answer, Connection, FakeBroker, Script, fake_broker, grant
from tests.support.gateways import happens
from tests.support.messages import reading

ANA = topics.reading("local", "ABC123", "Ana")
BIA = topics.reading("local", "ABC123", "Bia")
READINGS = topics.every(topics.READING, "local")
STATE = str(topics.service_state("local", "ws_gateway", "test"))
WITHIN_S = 20.0
"""Every case needs less than 6 s on an idle machine."""
RETRY_AT_ONCE = Backoff(first_s=0.01, cap_s=0.01)
Client = AsyncClient | ThreadedClient


@pytest.fixture(params=[AsyncClient, ThreadedClient], ids=["event-loop", "thread"])
def edge(request: pytest.FixtureRequest) -> type[Client]:
    """Each client in turn."""
    edge: type[Client] = request.param
    return edge


@pytest.fixture
def broker() -> Any:
    """A broker that does nothing wrong until it is told to."""
    with fake_broker() as broker:
        yield broker


@asynccontextmanager
async def client_on(
    edge: type[Client], *urls: str, service: str = "ws_gateway", **options: Any
) -> AsyncIterator[Client]:
    """Run a client; it leaves in order, and no fault of its own may have occurred."""
    values: dict[str, Any] = {"subscriptions": {READINGS: 1}, "backoff": RETRY_AT_ONCE, **options}
    client = edge(BrokerAddresses.parse(",".join(urls)), identity(service), **values)
    client.start()
    try:
        yield client
        assert client.counters["faults"] == 0
    finally:
        if isinstance(client, AsyncClient):
            await client.close(0.1)
        else:
            client.close(0.1)


async def connected(client: Client) -> None:
    """Wait until the client is connected."""
    await happens(lambda: client.is_connected, WITHIN_S)


async def reaches(items: Callable[[], Sequence[object]], count: int) -> None:
    """Wait until there are so many."""
    await happens(lambda: len(items()) >= count, WITHIN_S)


def stating(**limits: Any) -> Callable[[Connect], Answer]:
    """A broker that accepts connections and states these limits."""
    return lambda connect: ConnAck(0, **limits)


def refusing(topic: Topic, reason: int, times: float = float("inf")) -> Callable[[Publish], Answer]:
    """A broker that refuses the first messages of one topic."""
    refused = 0

    def answer(publish: Publish) -> Answer:
        nonlocal refused
        if publish.topic != str(topic) or refused >= times:
            return PubAck(publish.packet_id)
        refused += 1
        return PubAck(publish.packet_id, reason)

    return answer


def published(broker: FakeBroker, topic: Topic | str) -> list[Publish]:
    """What arrived on one topic so far."""
    return [publish for publish in broker.of(Publish) if publish.topic == str(topic)]


def state(broker: FakeBroker) -> ServiceState | None:
    """The client's retained state."""
    retained = broker.retained.get(STATE)
    return None if retained is None else decode(ServiceState, retained.payload)


def fault(broker: FakeBroker) -> str | None:
    """The fault in the client's retained state."""
    now = state(broker)
    return None if now is None else now.fault


# Refusals.


@pytest.mark.parametrize(("speaks_v5", "reason", "words"), [(True, 0x87, "Not authorized"), (False, 0x80, "0x80")])
async def test_a_refused_subscription_is_a_fault_in_words_until_the_broker_grants_it(
    edge: type[Client], broker: FakeBroker, speaks_v5: bool, reason: int, words: str
) -> None:
    def refuse(subscribe: Subscribe) -> Answer:
        wanted = subscribe.filters
        return SubAck(subscribe.packet_id, tuple(reason if filter == READINGS else qos for filter, qos in wanted))

    broker.script = Script(subscribe=refuse, speaks_v5=speaks_v5)
    async with client_on(edge, broker.url) as client:
        await happens(lambda: words in (fault(broker) or ""), WITHIN_S)
        assert READINGS in (fault(broker) or "")
        assert client.is_connected
        assert client.counters["subscriptions_refused"] >= 1
        broker.script.subscribe = grant
        await happens(lambda: state(broker) is not None and fault(broker) is None, WITHIN_S)
        assert client.counters["connects"] == 1
        assert broker.connections[-1].of(Subscribe)[-1].filters == ((READINGS, 1),)


async def test_a_refused_message_is_sent_again_and_holds_no_other_stream_up(
    edge: type[Client], broker: FakeBroker
) -> None:
    broker.script.publish = refusing(ANA, 0x97, times=2)
    acked: list[str] = []
    async with client_on(edge, broker.url) as client:
        await connected(client)
        client.publish(ANA, reading(seq=0), partial(acked.append, "Ana"))
        client.publish(BIA, reading(seq=0), partial(acked.append, "Bia"))
        await happens(lambda: len(acked) == 2, WITHIN_S)
        assert acked == ["Bia", "Ana"]
        assert client.counters["refused"] == 2
        assert client.waiting == 0
        assert len({publish.payload for publish in published(broker, ANA)}) == 1


async def test_a_message_over_quota_is_kept_as_long_as_the_quota_lasts(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.publish = refusing(ANA, 0x97)
    given_up: list[Outgoing] = []
    async with client_on(edge, broker.url, on_refused=given_up.append) as client:
        await connected(client)
        client.publish(ANA, reading(seq=0))
        for seq in range(20):
            client.publish(BIA, reading(seq=seq))
        await happens(lambda: client.counters["refused"] >= 2 and client.waiting == 1, WITHIN_S)
        assert not given_up
        broker.script.publish = refusing(ANA, 0x97, times=0)
        await happens(lambda: client.waiting == 0, WITHIN_S)


async def test_a_message_that_no_try_will_help_is_given_up_and_reported(
    edge: type[Client], broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RETRY", Backoff(first_s=0.01, cap_s=30.0))  # 15 s otherwise
    broker.script.publish = refusing(ANA, 0x90)
    given_up: list[Outgoing] = []
    acked: list[str] = []
    async with client_on(edge, broker.url, on_refused=given_up.append) as client:
        await connected(client)
        client.publish(ANA, reading(seq=0), partial(acked.append, "Ana"))
        await happens(lambda: given_up, WITHIN_S)
        assert [each.topic for each in given_up] == [str(ANA)]
        assert client.counters["given_up"] == 1
        assert client.waiting == 0
        assert len(published(broker, ANA)) > 1
    assert not acked


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ConnAck(0x87), "Not authorized"),
        (ConnAck(0x86), "Bad user name or password"),
        (ConnAck(0x97), "Quota exceeded"),
    ],
)
async def test_a_refused_connection_is_logged_in_words_and_tried_again(
    edge: type[Client], broker: FakeBroker, caplog: pytest.LogCaptureFixture, answer: ConnAck, words: str
) -> None:
    broker.script.connect = lambda connect: answer
    async with client_on(edge, broker.url) as client:
        await happens(lambda: len(broker.of(Connect)) >= 3 and words in caplog.text, WITHIN_S)
        broker.script.connect = stating()
        await connected(client)


# Versions.


async def test_a_broker_that_hangs_up_on_mqtt_5_is_spoken_to_in_3_1_1(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.speaks_v5 = False
    async with client_on(edge, broker.url) as client:
        await connected(client)
        assert [connection.decoder.v5 for connection in broker.connections] == [True, False]
        broker.script.speaks_v5 = True
        broker.connections[-1].hang_up()
        await happens(lambda: client.counters["connects"] == 2, WITHIN_S)
        assert broker.connections[-1].decoder.v5


@pytest.mark.parametrize("refusal", [ConnAck(0x84), bytes.fromhex("20 02 00 01")], ids=["in-5", "in-3.1.1"])
async def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_3_1_1(
    edge: type[Client], broker: FakeBroker, refusal: Answer
) -> None:
    broker.script.connect = lambda connect: refusal if broker.connections[-1].decoder.v5 else ConnAck(0)
    async with client_on(edge, broker.url) as client:
        await connected(client)
        assert not broker.connections[-1].decoder.v5
        client.publish(ANA, reading())
        await happens(lambda: published(broker, ANA) and client.waiting == 0, WITHIN_S)


# Limits that the broker states.


async def test_pings_follow_the_keep_alive_that_the_broker_states(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.connect = stating(keep_alive_s=4)
    async with client_on(edge, broker.url) as client:
        await connected(client)
        began_s = asyncio.get_running_loop().time()
        await happens(lambda: len(broker.of(PingReq)) >= 2, 4 + WITHIN_S)
        assert asyncio.get_running_loop().time() - began_s < 4 + WITHIN_S / 2
        assert client.counters["connects"] == 1


async def test_a_message_above_the_maximum_packet_size_is_not_sent(
    edge: type[Client], broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.script.connect = stating(packet_max_bytes=1000)
    given_up: list[Outgoing] = []
    async with client_on(edge, broker.url, on_refused=given_up.append) as client:
        await connected(client)
        for seq in range(2):
            client.publish(ANA, reading(seq=seq, name="\U0001f9e0" * NAME_MAX_CHARS))
        client.publish(BIA, reading())
        await happens(lambda: published(broker, BIA) and client.waiting == 0, WITHIN_S)
        await happens(lambda: len(given_up) == 2, WITHIN_S)
        assert not published(broker, ANA)
        assert client.counters["dropped_too_large"] == 2
        assert client.counters["connects"] == 1
        assert caplog.text.count("1000 bytes") == 1


async def test_a_receive_maximum_of_0_ends_the_connection(
    edge: type[Client], broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.script.connect = lambda connect: bytes.fromhex("20 06 00 00 03 21 0000")
    async with client_on(edge, broker.url) as client:
        await happens(lambda: len(broker.connections) >= 2, WITHIN_S)
        assert not broker.accepted
        broker.script.connect = stating()
        await connected(client)
        assert "Receive Maximum: it is 0" in caplog.text


async def test_a_receive_maximum_of_1_lets_one_message_wait_for_its_ack(edge: type[Client], broker: FakeBroker) -> None:
    broker.script = Script(connect=stating(receive_maximum=1, keep_alive_s=1), publish=lambda publish: None)
    async with client_on(edge, broker.url) as client:
        await happens(lambda: broker.of(Publish), WITHIN_S)
        connection = broker.connections[-1]
        for seq in range(3):
            client.publish(ANA, reading(seq=seq))
        for acked in range(3):
            await reaches(partial(broker.of, PingReq), len(broker.of(PingReq)) + 2)
            sent = [publish for publish in connection.of(Publish) if publish.packet_id]
            assert len(sent) == acked + 1
            connection.send(PubAck(sent[-1].packet_id))
            await reaches(partial(published, broker, ANA), len(sent))


async def test_a_maximum_qos_of_0_is_kept_to(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.connect = stating(maximum_qos=0)
    async with client_on(edge, broker.url) as client:
        await connected(client)
        client.publish(ANA, reading())
        await happens(lambda: published(broker, ANA) and published(broker, STATE), WITHIN_S)
        assert not any(publish.packet_id for publish in broker.of(Publish))
        assert client.waiting == 0


async def test_nothing_is_retained_where_the_broker_does_not_offer_it(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.connect = stating(retain_available=False)
    async with client_on(edge, broker.url) as client:
        await connected(client)
        await happens(lambda: published(broker, STATE), WITHIN_S)
        assert not any(publish.retained for publish in broker.of(Publish))


@pytest.mark.parametrize(("reason", "will"), [(0x9A, (1, False)), (0x9B, (0, True))], ids=["retain", "QoS-1"])
async def test_a_last_will_that_the_broker_cannot_keep_is_sent_with_less(
    edge: type[Client], broker: FakeBroker, reason: int, will: tuple[int, bool]
) -> None:
    def answer(connect: Connect) -> Answer:
        return ConnAck(0 if connect.will and (connect.will.qos, connect.will.retain) == will else reason)

    broker.script.connect = answer
    async with client_on(edge, broker.url) as client:
        await connected(client)


# A broker that breaks the rules.

BREAKS = {
    "a PUBLISH larger than we accept": lambda connection: Publish("t", bytes(PACKET_MAX_BYTES)),
    "a short PUBACK": lambda connection: bytes.fromhex("40 01 00 40 02 00 01"),
    "a PUBLISH of QoS 3": lambda connection: bytes.fromhex("36 06 0001 61 0001 00"),
    "a topic alias": lambda connection: bytes.fromhex("30 06 0000 03 23 0001"),
    "a topic that is not UTF-8": lambda connection: bytes.fromhex("30 04 0001 ff 00"),
    "AUTH": lambda connection: bytes.fromhex("f0 00"),
    "a packet for brokers": lambda connection: bytes.fromhex("82 00"),
    "a second CONNACK": lambda connection: ConnAck(0),
    "a SUBACK that nobody asked for": lambda connection: SubAck(4711, (0,)),
    "an endless length": lambda connection: bytes.fromhex("30 ff ff ff ff ff"),
    "an answer of HTTP": lambda connection: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "DISCONNECT with a reason": lambda connection: Disconnect(0x8B),
}


@pytest.mark.parametrize("break_the_rules", BREAKS.values(), ids=BREAKS)
async def test_a_broker_that_breaks_the_rules_is_left_and_connected_to_anew(
    edge: type[Client], broker: FakeBroker, break_the_rules: Callable[[Connection], Packet | bytes]
) -> None:
    delivered: list[Delivery] = []
    async with client_on(edge, broker.url, on_delivery=delivered.append) as client:
        await connected(client)
        connection = broker.connections[-1]
        connection.send(break_the_rules(connection))
        await happens(lambda: not connection.is_open, WITHIN_S)
        await happens(lambda: client.counters["connects"] == 2 and client.is_connected, WITHIN_S)
        broker.connections[-1].send(Publish(str(ANA), encode(reading())))
        await happens(lambda: delivered, WITHIN_S)
        assert [each.topic for each in delivered] == [str(ANA)]


@pytest.mark.parametrize("first", [Publish("t", b""), PubAck(1), bytes.fromhex("e0 00"), HANG_UP])
async def test_a_broker_that_answers_connect_with_anything_else_is_tried_again(
    edge: type[Client], broker: FakeBroker, first: Answer
) -> None:
    broker.script.connect = lambda connect: first
    async with client_on(edge, broker.url) as client:
        await happens(lambda: len(broker.connections) >= 3, WITHIN_S)
        broker.script.connect = stating()
        await connected(client)


async def test_a_suback_with_too_few_reasons_ends_the_connection(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.subscribe = lambda subscribe: SubAck(subscribe.packet_id, (0,))
    async with client_on(edge, broker.url) as client:
        await happens(lambda: len(broker.accepted) >= 2, WITHIN_S)
        broker.script.subscribe = grant
        await connected(client)


async def test_an_ack_of_what_was_not_sent_changes_nothing(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.publish = lambda publish: None if publish.topic == str(ANA) else PubAck(publish.packet_id)
    async with client_on(edge, broker.url) as client:
        await connected(client)
        client.publish(ANA, reading())
        await happens(lambda: published(broker, ANA), WITHIN_S)
        for packet_id in (0x7FFF, 0xFFFF):
            broker.connections[-1].send(PubAck(packet_id))
            broker.connections[-1].send(PubAck(packet_id, 0x87))
        client.publish(BIA, reading())
        await happens(lambda: published(broker, BIA) and client.waiting == 1, WITHIN_S)
        assert client.counters["connects"] == 1


VALID: list[Packet] = [
    Publish(str(ANA), encode(reading()), packet_id=9),
    PubAck(1),
    PubAck(2, 0x97),
    SubAck(1, (1, 1)),
    ConnAck(0, keep_alive_s=5),
    Disconnect(0x8B, "down"),
]


async def test_no_bytes_of_a_broker_stop_a_client(edge: type[Client], broker: FakeBroker) -> None:
    rng = random.Random(20261126)

    def rubbish() -> bytes:
        sent = bytearray(b"".join(broker_packets.encode(each, True) for each in rng.sample(VALID, 3)))
        for _ in range(rng.randrange(4)):
            sent[rng.randrange(len(sent))] = rng.randrange(256)
        return bytes(sent)

    def answer(subscribe: Subscribe) -> Answer:
        return broker_packets.encode(grant(subscribe), True) + rubbish()  # type: ignore[arg-type]

    broker.script.subscribe = answer
    errors: list[NeuroOneError] = []
    async with client_on(edge, broker.url, on_fatal=errors.append) as client:
        while len(broker.connections) < 60:
            count = len(broker.connections)
            await happens(lambda: broker.connections and broker.connections[-1].of(Subscribe), WITHIN_S)
            broker.connections[-1].send(rubbish() + bytes.fromhex("00 00"))
            await reaches(lambda: broker.connections, count + 1)
        broker.script.subscribe = grant
        broker.connections[-1].hang_up()
        await happens(lambda: broker.connections[-1].is_open and client.is_connected, WITHIN_S)
        client.publish(BIA, reading())
        await happens(lambda: published(broker, BIA), WITHIN_S)
    assert not errors


# Silence.


async def test_a_broker_that_goes_silent_is_left_after_one_and_a_half_keep_alives(
    edge: type[Client], broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.script.connect = stating(keep_alive_s=1)
    async with client_on(edge, broker.url) as client:
        await connected(client)
        broker.script.is_silent = True
        await happens(lambda: not client.is_connected, WITHIN_S)
        await happens(lambda: "it sends nothing" in caplog.text, WITHIN_S)  # it is away first, and said to be then
        broker.script.is_silent = False
        await connected(client)


async def test_a_broker_that_never_answers_connect_makes_way_for_the_next_of_the_list(
    edge: type[Client], broker: FakeBroker
) -> None:
    with fake_broker(Script(is_silent=True)) as silent:
        async with client_on(edge, silent.url, broker.url) as client:
            await connected(client)
            assert silent.connections


# The list of brokers.


async def test_the_next_broker_is_tried_when_one_is_away(edge: type[Client], broker: FakeBroker) -> None:
    away = f"mqtt://{LOOPBACK}:{free_port()}"
    async with client_on(edge, away, broker.url) as client:
        await connected(client)
        client.publish(ANA, reading(seq=0))
        await happens(lambda: client.waiting == 0, WITHIN_S)
        broker.connections[-1].hang_up()
        await happens(lambda: client.counters["connects"] == 2 and client.is_connected, WITHIN_S)


async def test_what_waits_follows_the_client_to_the_next_broker(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.publish = lambda publish: None if publish.topic == str(ANA) else PubAck(publish.packet_id)
    with fake_broker() as second:
        async with client_on(edge, broker.url, second.url) as client:
            await connected(client)
            for seq in range(5):
                client.publish(ANA, reading(seq=seq))
            await happens(lambda: len(published(broker, ANA)) == 5, WITHIN_S)
            await happens(lambda: client.waiting == 5, WITHIN_S)  # the ack of its birth comes, too
            broker.script.connect = lambda connect: ConnAck(0x89)
            broker.connections[-1].hang_up()
            await happens(lambda: client.waiting == 0, WITHIN_S)
            sent = [decode(Reading, publish.payload).seq for publish in published(second, ANA)]
            assert sent == list(range(5))
            now = state(second)
            assert now is not None
            assert now.status is ServiceStatus.ONLINE


async def test_each_broker_of_the_list_gets_its_own_login_and_version(edge: type[Client], broker: FakeBroker) -> None:
    broker.script.speaks_v5 = False
    broker.script.connect = lambda connect: ConnAck(5)
    with fake_broker() as second:
        logins = [f"mqtt://ana:1@{LOOPBACK}:{broker.port}", f"mqtt://bia:2@{LOOPBACK}:{second.port}"]
        async with client_on(edge, *logins) as client:
            await connected(client)
        first_logins = {(connect.user, connect.password) for connect in broker.of(Connect)}
        assert first_logins == {("ana", "1")}
        assert {(connect.user, connect.password) for connect in second.of(Connect)} == {("bia", "2")}
        assert second.connections[0].decoder.v5


async def test_a_list_without_any_broker_is_tried_round_and_round(
    edge: type[Client], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server((LOOPBACK, 0)) as late:
        url = f"mqtt://{LOOPBACK}:{late.getsockname()[1]}"
    async with client_on(edge, f"mqtt://{LOOPBACK}:{free_port()}", url) as client:
        await happens(lambda: caplog.text.count("no broker at") >= 2, WITHIN_S)
        assert not client.is_connected


# Other runs.


async def test_a_client_that_the_broker_threw_out_for_another_ends_and_keeps_the_others_state(
    edge: type[Client], broker: FakeBroker
) -> None:
    errors: list[NeuroOneError] = []
    async with client_on(edge, broker.url, on_fatal=errors.append) as client:
        await connected(client)
        await happens(lambda: published(broker, STATE), WITHIN_S)
        count = len(published(broker, STATE))
        broker.connections[-1].send(Disconnect(0x8E))
        await happens(lambda: errors, WITHIN_S)
        assert isinstance(errors[0], Replaced)
        assert "--instance" in str(errors[0])
    assert len(published(broker, STATE)) == count
    assert len(broker.connections) == 1


@pytest.mark.parametrize("speaks_v5", [True, False])
async def test_a_living_twin_ends_a_client_in_both_versions(
    edge: type[Client], broker: FakeBroker, speaks_v5: bool
) -> None:
    broker.script.speaks_v5 = speaks_v5
    errors: list[NeuroOneError] = []
    async with client_on(edge, broker.url, on_fatal=errors.append) as client:
        await happens(lambda: state(broker), WITHIN_S)
        mine = state(broker)
        assert mine is not None
        count = len(published(broker, STATE))
        twin = encode(msgspec.structs.replace(mine, run="another"))
        broker.connections[-1].send(Publish(STATE, twin))
        await happens(lambda: errors, WITHIN_S)
        assert isinstance(errors[0], Replaced)
        assert client.counters["connects"] == 1
    assert len(published(broker, STATE)) == count


@pytest.mark.parametrize("status", list(ServiceStatus))
async def test_a_retained_state_of_tomorrow_is_replaced_by_ours(
    edge: type[Client], broker: FakeBroker, status: ServiceStatus
) -> None:
    tomorrow = ServiceState(status=status, version="9.9.9", epoch=4102444800000, connection=1, run="another")
    broker.retained[STATE] = Publish(STATE, encode(tomorrow), retained=True)
    errors: list[NeuroOneError] = []
    async with client_on(edge, broker.url, on_fatal=errors.append) as client:
        await happens(lambda: state(broker) not in (None, tomorrow), WITHIN_S)
        count = len(published(broker, STATE))
        broker.connections[-1].send(Publish(STATE, encode(tomorrow), retained=True))
        await happens(lambda: len(published(broker, STATE)) > count, WITHIN_S)
        now = state(broker)
        assert now is not None
        assert now.status is ServiceStatus.ONLINE
        assert client.is_connected
    assert not errors


# Whole programs.


@contextmanager
def running(*command: str) -> Iterator[None]:
    """Run a program of ours; it leaves in order when told to."""
    process = subprocess.Popen([sys.executable, "-m", *command])
    try:
        yield
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(20) == 0


async def test_a_phone_gets_no_ack_of_a_reading_that_the_broker_refused(broker: FakeBroker) -> None:
    port = free_port()
    topic = topics.reading("local", "A", "Ana")
    refused: list[Publish] = []

    def answer(publish: Publish) -> Answer:
        is_first = publish.topic == str(topic) and decode(Reading, publish.payload).seq == 1
        if is_first and len(refused) < 2:
            refused.append(publish)
            return PubAck(publish.packet_id, 0x97)
        return PubAck(publish.packet_id)

    broker.script.publish = answer
    words = ("ws_gateway", "--host", LOOPBACK, "--ws-port", str(port), "--broker", broker.url)
    with running(*words):
        await happens(lambda: broker.accepted, WITHIN_S)
        async with connect(f"ws://{LOOPBACK}:{port}", subprotocols=[Subprotocol("neuroone.v1")]) as phone:
            await phone.send(json.dumps({"type": "hello", "role": "student", "name": "Ana", "code": "A"}))
            for seq in range(4):
                bands = {"seq": seq, "attention": 60, "meditation": 50, **dict.fromkeys(BANDS, 1)}
                await phone.send(json.dumps({"type": "reading", **bands}))
            acked: list[tuple[int, int]] = []
            while not acked or acked[-1][0] < 3:
                frame = json.loads(await asyncio.wait_for(phone.recv(), WITHIN_S))
                if frame["type"] == "ack":
                    acked.append((frame["seq"], len(refused)))
        assert len(refused) == 2
        assert all(seq < 1 or refusals == 2 for seq, refusals in acked)
        assert sorted(decode(Reading, publish.payload).seq for publish in published(broker, topic)) == [
            0,
            1,
            1,
            1,
            2,
            3,
        ]


async def test_a_recorder_that_may_not_subscribe_stays_and_says_so_in_its_state(
    broker: FakeBroker, tmp_path: Path
) -> None:
    def refuse(subscribe: Subscribe) -> Answer:
        wanted = subscribe.filters
        return SubAck(subscribe.packet_id, tuple(0x87 if filter == READINGS else qos for filter, qos in wanted))

    def recorders_fault() -> str:
        retained = broker.retained.get(str(topics.service_state("local", "csv_recorder", "test")))
        return "" if retained is None else decode(ServiceState, retained.payload).fault or ""

    broker.script.subscribe = refuse
    with running("csv_recorder", "--dir", str(tmp_path), "--broker", broker.url, "--instance", "test"):
        await happens(lambda: READINGS in recorders_fault() and "Not authorized" in recorders_fault(), WITHIN_S)


async def test_programs_try_the_next_broker_of_their_list(broker: FakeBroker, tmp_path: Path) -> None:
    away = f"mqtt://ana:secret@{LOOPBACK}:{free_port()}"
    both = f"{away},{broker.url}"
    with running("csv_recorder", "--dir", str(tmp_path), "--broker", both, "--broker-shuffle", "--instance", "test"):
        await happens(lambda: broker.retained, WITHIN_S)
        assert not any(connect.password for connect in broker.of(Connect))


@pytest.mark.broker
@pytest.mark.parametrize("kind", brokers.KINDS)
async def test_a_huge_stored_message_does_not_stop_a_durable_client(
    kind: str, start_broker: Callable[..., Broker]
) -> None:
    lines = ("max_packet_size 100000000",) if kind == brokers.MOSQUITTO else ()  # somebody else's broker
    real = start_broker(kind, *lines)
    delivered: list[Delivery] = []
    recorder = partial(client_on, AsyncClient, real.url, service="csv_recorder", durable=True)
    async with recorder() as client:
        await connected(client)
    huge = 1_500_000 if real.speaks_mqtt5 else 900_000  # NATS refuses more than 1 MiB by itself
    await publish_at_once(real.port, Publish(str(ANA), bytes(huge), packet_id=1))
    await publish_at_once(real.port, Publish(str(BIA), encode(reading()), packet_id=1))
    async with recorder(on_delivery=delivered.append) as client:
        await happens(lambda: str(BIA) in [each.topic for each in delivered], WITHIN_S)
        assert client.counters["connects"] == 1


async def publish_at_once(port: int, message: Publish) -> None:
    """Publish one message as a program of somebody else, and wait until the broker has it."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(Connect(client_id="somebody", keep_alive_s=60).encode(False) + message.encode(False))
    decoder = Decoder(v5=False)
    while not any(isinstance(packet, PubAck) for packet in decoder.feed(await reader.read(65536))):
        assert not reader.at_eof()
    writer.close()
    await writer.wait_closed()

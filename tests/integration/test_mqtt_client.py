"""A bus in the event loop that outlives its connections, on real brokers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from neuroone.contract import topics
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Reading, ServiceState
from neuroone.mqtt import outbox, repetition
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.backoff import Backoff
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.presence import HealthReport
from neuroone.up import brokers
from tests.support.brokers import Broker
from tests.support.bus_listener import identity, listening
from tests.support.gateways import happens
from tests.support.messages import GOLDEN, reading

pytestmark = pytest.mark.broker
READINGS = topics.reading("local", "ABC123", "Joao_Silva")
FILTER = topics.every(topics.READING, "local")
STATES = 300
"""A NATS server takes longer to keep them than to make a subscription."""


@asynccontextmanager
async def bus_on(broker: Broker, service: str = "csv_recorder", **options: Any) -> AsyncIterator[AsyncClient]:
    """A bus that is connected; it leaves in order."""
    values = {"subscriptions": {FILTER: 1}, "on_delivery": lambda delivery: None}
    bus = AsyncClient(BrokerAddresses.parse(broker.url), identity(service), **{**values, **options})
    bus.start()
    await happens(lambda: bus.is_connected)
    try:
        yield bus
    finally:
        await bus.close(10)


def seqs(deliveries: list[Delivery]) -> list[int]:
    """The seq of each reading among the deliveries."""
    opened = [each.open()[1] for each in deliveries]
    return [each.seq for each in opened if isinstance(each, Reading)]


async def test_a_durable_service_gets_what_it_missed_and_what_it_did_not_ack(broker: Broker) -> None:
    """An unacknowledged reading comes again in the next run; an acknowledged one does not."""
    first: list[Delivery] = []
    async with (
        bus_on(broker, on_delivery=first.append, durable=True) as recorder,
        bus_on(broker, "ws_gateway", subscriptions={}) as bus,
    ):
        for seq in range(4):
            bus.publish(READINGS, reading(seq=seq))
        await happens(lambda: len(seqs(first)) == 4)
        recorder.ack(first[:2])
    async with bus_on(broker, "ws_gateway", subscriptions={}) as bus:
        bus.publish(READINGS, reading(seq=4))
        await happens(lambda: bus.waiting == 0)
    second: list[Delivery] = []
    async with bus_on(broker, on_delivery=second.append, durable=True):
        await happens(lambda: len(seqs(second)) >= 3, 40)
        assert sorted(set(seqs(second))) == [2, 3, 4]


async def test_an_obsolete_subscription_is_taken_out_of_the_session(broker: Broker) -> None:
    """A recorder that is told to record less gets no more than that."""
    async with bus_on(broker, durable=True):
        pass
    got: list[Delivery] = []
    events = {topics.every(topics.EVENT, "local"): 1}
    async with (
        bus_on(broker, subscriptions=events, obsolete=[FILTER], on_delivery=got.append, durable=True),
        bus_on(broker, "ws_gateway", subscriptions={}) as bus,
    ):
        bus.publish(READINGS, reading())
        bus.publish(topics.event("local", "ABC123"), GOLDEN["group_event"])
        await happens(lambda: got)  # what was published before the event would be here before it
        assert [each.open()[1] for each in got] == [GOLDEN["group_event"]]


async def test_without_room_nothing_is_read_and_nothing_is_lost(broker: Broker) -> None:
    """What the broker holds back comes once there is room again."""
    got: list[Delivery] = []
    room = [True]
    async with (
        bus_on(broker, on_delivery=got.append, has_room=lambda: room[0], durable=True) as recorder,
        bus_on(broker, "ws_gateway", subscriptions={}) as bus,
    ):
        room[0] = False
        for seq in range(100):
            bus.publish(READINGS, reading(seq=seq))
            await happens(lambda: bus.waiting == 0)
        assert len(seqs(got)) < 100
        room[0] = True
        recorder.resume_reading()
        await happens(lambda: set(seqs(got)) == set(range(100)))


async def test_a_fault_is_said_on_the_services_own_topic(broker: Broker) -> None:
    """And taken back."""
    with listening(broker.url) as listener:
        async with bus_on(broker) as recorder:
            recorder.report_fault("the disk is full")
            await happens(lambda: any(state.fault for _, state in listener.of(ServiceState)))
            recorder.report_fault(None)
            await happens(lambda: listener.of(ServiceState)[-1][1].fault is None)


@pytest.mark.skipif(brokers.find(brokers.MOSQUITTO) is None, reason="NATS has no access list of topics")
async def test_what_the_access_list_forbids_is_not_taken_for_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, tried again and given up, and whoever waits for its ack waits on."""
    monkeypatch.setattr(outbox, "RETRY", Backoff(first_s=0.01, cap_s=30.0))
    monkeypatch.setattr(outbox, "PERMANENT_TRIES_MAX", 2)
    (tmp_path / "acl").write_text("topic readwrite neuroone/v1/local/services/#\n", encoding="ascii")
    broker = Broker(brokers.MOSQUITTO, tmp_path, f"acl_file {(tmp_path / 'acl').as_posix()}")
    broker.start()
    acked: list[str] = []
    try:
        async with bus_on(broker, "ws_gateway", subscriptions={}) as bus:
            bus.publish(READINGS, reading(), lambda: acked.append("reading"))
            await happens(lambda: bus.counters["given_up"] == 1)
            assert bus.counters["refused"] == 2
            assert bus.waiting == 0
        assert not acked
    finally:
        broker.stop()


async def test_who_subscribes_while_states_are_published_hears_of_each(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NATS forgets some of them towards a subscription that is being made."""
    monkeypatch.setattr(repetition, "REPEAT_AFTER_S", 1.0)
    monkeypatch.setattr(repetition, "REPEATED_AT_ONCE_MAX", STATES)
    heard: list[set[str]] = []
    filters = {topics.every(topics.STREAM_STATE, "local"): 1}
    async with AsyncExitStack() as clients:
        bus = await clients.enter_async_context(bus_on(broker, "ws_gateway", subscriptions={}))
        for number in range(STATES):
            bus.publish(topics.stream_state("local", "ABC123", str(number)), GOLDEN["stream_state"])
        while bus.waiting or not heard:
            heard.append(set())
            note = partial(lambda topics, delivery: topics.add(delivery.topic), heard[-1])
            await clients.enter_async_context(bus_on(broker, str(len(heard)), subscriptions=filters, on_delivery=note))
        await happens(lambda: all(len(each) == STATES for each in heard))


def test_a_client_has_every_counter_from_the_start() -> None:
    """The gateway adds to delivered_bad itself, and a metric that is not there yet has no rate."""
    client = AsyncClient(BrokerAddresses.parse("mqtt://nowhere.invalid"), identity("ws_gateway"))
    assert client.counters == dict.fromkeys(
        (
            *("acked", "callback_errors", "connects", "delivered", "delivered_bad", "dropped", "dropped_qos0"),
            *(
                "dropped_too_large",
                "faults",
                "given_up",
                "late_states",
                "live_states_forgotten",
                "published",
                "refused",
                "states_repeated",
                "replayed",
                "subscriptions_refused",
            ),
        ),
        0,
    )


def fail() -> HealthReport:
    raise OSError("a fault of ours, not of the broker")


async def test_a_fault_of_ours_ends_the_service_and_is_not_taken_for_the_brokers(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[NeuroOneError] = []
    client = AsyncClient(BrokerAddresses.parse(broker.url), identity("peer"), health=fail, on_fatal=errors.append)
    client.start()
    await happens(lambda: errors)
    assert "a fault of ours" in str(errors[0])
    assert (client.counters["faults"], caplog.text.count("Traceback")) == (1, 1)
    assert "no broker" not in caplog.text
    assert not client.is_connected
    await client.close(1)


async def test_a_health_file_that_cannot_be_written_is_a_fault_of_its_own(broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "missing" / "health"
    with listening(broker.url) as listener:
        async with bus_on(broker, health_file=file) as client:
            await happens(lambda: any("health file" in str(state.fault) for _, state in listener.of(ServiceState)))
            assert client.is_connected
            file.parent.mkdir()
            await happens(lambda: listener.of(ServiceState)[-1][1].fault is None)
            assert file.exists()

"""A session with scripted packets and a clock that is set by hand."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from neuroone.contract import topics
from neuroone.contract.json import decode, encode
from neuroone.contract.messages import Health, Missing, Recorded, RecordedStream, ServiceState, ServiceStatus
from neuroone.mqtt.address import BrokerAddress, BrokerAddresses
from neuroone.mqtt.backoff import CONNECT_TIMEOUT_S, PATIENCE_S, SEVERAL_CAP_S
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.packets import (
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
    Unsubscribe,
)
from neuroone.mqtt.presence import HEALTH_PERIOD_S, PROBE_ALIVE_S, PROBE_EMPTY_S, HealthReport, Replaced
from neuroone.mqtt.reasons import ConnectionLost, HungUp, NoAnswer
from neuroone.mqtt.repetition import REPEAT_AFTER_S
from neuroone.mqtt.replay import MENDED_PERIOD_S, ReplayBuffer
from neuroone.mqtt.session import (
    ACK_TIMEOUT_S,
    KEEPALIVE_S,
    STABLE_S,
    TWIN_LEAVES_S,
    Sent,
    Session,
)
from tests.support.messages import NOON, reading

ME = Identity("local", "csv_recorder", "main", "0.1.0", epoch=1000, run="0123456789abcdef")
STATE = "neuroone/v1/local/services/csv_recorder/main/state"
HEALTH = "neuroone/v1/local/services/csv_recorder/main/health"
RECEIPTS = "neuroone/v1/local/services/csv_recorder/main/recorded"
READING = topics.reading("local", "ABC123", "Joao_Silva")
STREAM = ("ABC123", "Joao_Silva", reading().session)
QUOTA = 0x97
P = TypeVar("P")


def state_of(run: str | None, status: ServiceStatus = ServiceStatus.ONLINE, connection: int = 1) -> bytes:
    """A state on our own topic; without a run it is one of an earlier version, with a clock of tomorrow."""
    values: dict[str, Any] = {} if run is None else {"run": run}
    return encode(ServiceState(status=status, version="0.1.0", epoch=10**15, connection=connection, **values))


class World:
    """A session, what it sends and calls, and the broker's part."""

    def __init__(self, *, urls: str = "mqtt://a:1", replay: bool = False, **options: Any) -> None:
        self.now_s = 100.0
        self.sent: list[Sent] = []
        self.calls: list[object] = []
        self.deliveries: list[Delivery] = []
        self.refused: list[Outgoing] = []
        self.replay = ReplayBuffer(lambda: self.now_s) if replay else None
        self.session = Session(
            BrokerAddresses.parse(urls),
            ME,
            on_delivery=lambda delivery: self.on_delivery(delivery),
            on_link=self.calls.append,
            on_refused=self.refused.append,
            health=lambda: HealthReport({"rows": 1}),
            wall_clock=lambda: NOON.timestamp(),
            subscriptions=options.pop("subscriptions", {"a/#": 1}),
            replay=self.replay,
            **options,
        )
        self.session.presence.start(self.now_s)
        self.on_delivery: Callable[[Delivery], None] = self.deliveries.append

    def open(self) -> Connect:
        self.sent.clear()
        self.session.open(self.sent.append, lambda: True, self.now_s)
        return self.one(Connect)

    def hear(self, *packets: Packet) -> None:
        self.session.receive(packets, self.now_s)

    def connect(self, **answer: Any) -> None:
        """Connect, and acknowledge subscriptions and birth."""
        self.open()
        self.hear(ConnAck(0, **answer))
        self.ack_everything()

    def ack_everything(self) -> None:
        for packet in tuple(self.sent):
            if isinstance(packet, Subscribe):
                self.hear(SubAck(packet.packet_id, tuple(qos for _, qos in packet.filters)))
            elif isinstance(packet, Publish) and packet.packet_id:
                self.hear(PubAck(packet.packet_id))
        self.sent.clear()

    def tick(self, after_s: float = 0.5) -> None:
        self.now_s += after_s
        self.session.tick(self.now_s)

    def hear_pings(self, for_s: float) -> None:
        for _ in range(int(for_s)):
            self.hear(PingResp())
            self.tick(1.0)

    def fail(self, fault: ConnectionLost | None = None) -> None:
        self.session.lost(fault or ConnectionLost("the test ends it"))

    def every(self, kind: type[P]) -> list[P]:
        return [packet for packet in self.sent if isinstance(packet, kind)]

    def one(self, kind: type[P]) -> P:
        (packet,) = self.every(kind)
        return packet

    def published(self, topic: str) -> list[Publish]:
        return [packet for packet in self.every(Publish) if packet.topic == topic]

    def publish(self, seq: int) -> bool:
        accepted = self.session.publications.publish(READING, reading(seq=seq))
        self.session.pump()
        return accepted

    def states(self) -> list[ServiceState]:
        return [decode(ServiceState, packet.payload) for packet in self.published(STATE)]


@pytest.fixture
def world() -> World:
    world = World()
    world.connect()
    return world


# CONNECT and the first answer.


def test_connect_names_the_run_and_leaves_a_last_will() -> None:
    world = World(urls="mqtt://ana:secret@a:1")
    connect = world.open()
    assert (connect.client_id, connect.clean_start, connect.keep_alive_s) == (
        "neuroone-local-csv_recorder-main-01234567",
        True,
        KEEPALIVE_S,
    )
    assert (connect.user, connect.password) == ("ana", "secret")
    assert connect.will is not None
    will = decode(ServiceState, connect.will.payload)
    assert (connect.will.topic, connect.will.qos, connect.will.retain) == (STATE, 1, True)
    assert (will.status, will.run, will.connection) == (ServiceStatus.OFFLINE, ME.run, 1)


def test_after_connack_it_subscribes_says_that_it_is_there_and_sends_what_waits() -> None:
    world = World(obsolete=["old/#"])
    world.publish(7)
    world.open()
    world.hear(ConnAck(0))
    kinds = [type(packet) for packet in world.sent]
    assert kinds == [Connect, Unsubscribe, Subscribe, Publish, Publish]
    assert world.one(Subscribe).filters == (("a/#", 1), (STATE, 1))
    birth = world.states()[0]
    assert (birth.status, birth.run, birth.connection) == (ServiceStatus.ONLINE, ME.run, 1)
    assert world.calls == [True]
    assert world.session.is_connected


@pytest.mark.parametrize("reason", [0x84, 0x01])
def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_3_1_1_at_once(reason: int) -> None:
    world = World()
    world.open()
    with pytest.raises(ConnectionLost) as fault:
        world.hear(ConnAck(reason))
    world.fail(fault.value)
    assert (world.session.attempts.next.v5, world.session.attempts.next.delay_s) == (False, 0.0)


def test_a_broker_that_hangs_up_is_spoken_to_in_3_1_1_and_later_in_5_again() -> None:
    world = World()
    world.open()
    world.fail(HungUp("it closed the connection"))
    assert (world.session.attempts.next.v5, world.session.attempts.next.delay_s) == (False, 0.0)
    world.connect()
    world.fail(HungUp("it closed the connection"))
    assert world.session.attempts.next.v5
    assert world.session.attempts.next.delay_s > 0


def test_the_next_address_is_tried_and_each_round_waits_longer() -> None:
    world = World(urls="mqtt://a:1,mqtt://b:2")
    tried, delays = [], []
    for _ in range(12):
        attempt = world.session.attempts.next
        tried.append(attempt.address)
        delays.append(attempt.delay_s)
        world.fail()
    assert tried == [BrokerAddress("a", 1), BrokerAddress("b", 2)] * 6
    assert delays[0] == 0
    assert delays[1] <= 0.5
    assert SEVERAL_CAP_S / 2 <= delays[-1] <= SEVERAL_CAP_S
    world.connect()
    world.tick(STABLE_S)
    world.fail()
    assert world.session.attempts.next.delay_s <= 0.5


def test_a_broker_that_ends_each_connection_at_once_is_tried_less_and_less_often() -> None:
    world = World()
    for _ in range(6):
        world.connect()
        world.fail()
    assert world.session.attempts.next.delay_s >= 5


def test_a_refused_connect_says_why(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.open()
    with pytest.raises(ConnectionLost, match="Not authorized") as fault:
        world.hear(ConnAck(0x87))
    world.fail(fault.value)
    assert "no broker at mqtt://a:1 (it refuses us: Not authorized (0x87))" in caplog.text


def test_a_reason_that_the_broker_gives_in_words_is_quoted(world: World) -> None:
    with pytest.raises(ConnectionLost, match=r"connection: Normal disconnection \(0x00\), 'bye\\nnow'"):
        world.hear(Disconnect(0, "bye\nnow"))
    world.fail()
    world.open()
    with pytest.raises(ConnectionLost, match=r"refuses us: Not authorized \(0x87\), 'x{200}'$"):
        world.hear(ConnAck(0x87, reason_text="x" * 300))


def test_a_session_that_was_not_asked_for_is_a_fault_of_the_broker() -> None:
    world = World()
    world.open()
    with pytest.raises(BadPacket, match="clean start"):
        world.hear(ConnAck(0, session_present=True))


@pytest.mark.parametrize(("reason", "expected"), [(0x9A, (1, False)), (0x9B, (0, True))])
def test_a_last_will_that_the_broker_cannot_keep_is_made_smaller(reason: int, expected: tuple[int, bool]) -> None:
    world = World()
    world.open()
    with pytest.raises(ConnectionLost) as fault:
        world.hear(ConnAck(reason))
    world.fail(fault.value)
    will = world.open().will
    assert will is not None
    assert (will.qos, will.retain) == expected
    with pytest.raises(ConnectionLost, match="refuses us"):
        world.hear(ConnAck(reason))


def test_only_connack_may_come_first_and_only_once(world: World) -> None:
    with pytest.raises(BadPacket, match="second CONNACK"):
        world.hear(ConnAck(0))
    world.fail()
    world.open()
    with pytest.raises(BadPacket, match="answers CONNECT with PingResp"):
        world.hear(PingResp())


def test_a_broker_that_does_not_answer_connect_is_left() -> None:
    world = World()
    world.open()
    world.tick(CONNECT_TIMEOUT_S)
    with pytest.raises(ConnectionLost, match="sends nothing"):
        world.tick()


# What the broker states.


def test_pings_follow_the_keep_alive_that_the_broker_states() -> None:
    world = World()
    world.connect(keep_alive_s=4)
    world.tick(1.9)
    assert not world.every(PingReq)
    world.tick(0.1)
    assert len(world.every(PingReq)) == 1
    world.hear(PingResp())
    world.tick(6.0)
    with pytest.raises(ConnectionLost, match="sends nothing"):
        world.tick(0.1)


def test_what_is_paused_is_not_silent(world: World) -> None:
    world.now_s += 10 * KEEPALIVE_S
    world.session.tick(world.now_s, is_paused=True)
    world.tick()


def test_acks_that_are_not_read_while_it_is_paused_are_not_missing(world: World) -> None:
    world.publish(0)
    for _ in range(int(ACK_TIMEOUT_S) + 2):
        world.now_s += 1.0
        world.session.tick(world.now_s, is_paused=True)
    world.tick()


def test_the_window_is_the_smaller_of_both() -> None:
    world = World()
    world.connect(receive_maximum=1)
    assert world.publish(0)
    assert world.publish(1)
    (first,) = world.published(str(READING))
    world.hear(PubAck(first.packet_id))
    assert len(world.published(str(READING))) == 2


def test_a_broker_without_qos_1_and_retain_gets_neither() -> None:
    world = World()
    world.open()
    world.hear(ConnAck(0, maximum_qos=0, retain_available=False))
    (birth,) = world.published(STATE)
    assert (birth.packet_id, birth.retained) == (0, False)
    assert world.session.waiting == 0


def test_a_message_above_the_brokers_maximum_is_dropped_counted_and_reported() -> None:
    world = World()
    world.connect(packet_max_bytes=300)
    topic = topics.reading("local", "ABC123", "Joao_Silva")
    world.session.publications.outbox.put(Outgoing(str(topic), b"x" * 1000, 1, False))
    assert world.publish(1)
    assert [each.payload for each in world.refused] == [b"x" * 1000, encode(reading(seq=1))]
    assert world.session.counters["dropped_too_large"] == world.session.counters["given_up"] == 2
    assert world.session.waiting == 0


def test_a_session_that_the_broker_keeps_for_less_time_is_worth_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    world = World(durable=True)
    probe(world)
    world.open()
    world.hear(ConnAck(0, session_expiry_s=60))
    assert "60 s only" in caplog.text


# Subscriptions.


def test_a_refused_subscription_is_a_fault_in_words_and_is_asked_for_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fail()
    world.open()
    world.hear(ConnAck(0))
    asked = world.one(Subscribe)
    world.hear(SubAck(asked.packet_id, (0x87, 1)))
    assert "a/#: Not authorized" in str(world.states()[-1].fault)
    assert world.session.counters["subscriptions_refused"] == 1
    assert world.session.is_connected
    world.tick(2.0)
    again = world.every(Subscribe)[-1]
    assert again.filters == (("a/#", 1),)
    world.hear(SubAck(again.packet_id, (0x87,)))
    assert caplog.text.count("refuses the subscription") == 1
    world.tick(2.0)
    assert world.every(Subscribe)[-1] is again
    world.tick(2.0)
    third = world.every(Subscribe)[-1]
    world.hear(SubAck(third.packet_id, (1,)))
    assert world.states()[-1].fault is None


def test_the_fault_of_a_refused_subscription_ends_with_it(world: World) -> None:
    world.session.subscribe("b/#", 0)
    world.hear(SubAck(world.one(Subscribe).packet_id, (0x87,)))
    assert "b/#" in str(world.states()[-1].fault)
    world.session.unsubscribe("b/#")
    assert world.states()[-1].fault is None


def test_a_suback_that_answers_something_else_is_a_fault_of_the_broker(world: World) -> None:
    world.session.subscribe("b/#", 0)
    asked = world.one(Subscribe)
    with pytest.raises(BadPacket, match="1 filters with 2 reasons"):
        world.hear(SubAck(asked.packet_id, (0, 0)))


def test_subscriptions_change_at_once_and_stay_changed(world: World) -> None:
    world.session.subscribe("b/#", 0)
    world.session.unsubscribe("a/#")
    assert (world.one(Subscribe).filters, world.one(Unsubscribe).filters) == ((("b/#", 0),), ("a/#",))
    world.fail()
    world.open()
    world.hear(ConnAck(0))
    assert world.one(Subscribe).filters == ((STATE, 1), ("b/#", 0))


def test_a_broker_that_never_answers_a_subscription_is_left(world: World) -> None:
    world.session.subscribe("b/#", 0)
    with pytest.raises(ConnectionLost, match="stopped acknowledging"):
        world.hear_pings(ACK_TIMEOUT_S + 2)


# Acks, refusals, replay.


def test_what_is_not_acknowledged_goes_out_again_on_the_next_connection(world: World) -> None:
    acks: list[int] = []
    for seq in range(3):
        world.session.publications.publish(READING, reading(seq=seq), lambda seq=seq: acks.append(seq))  # type: ignore[misc]
    world.session.pump()
    world.hear(PubAck(world.published(str(READING))[0].packet_id))
    world.fail()
    assert world.calls == [True, False]
    world.open()
    world.hear(ConnAck(0))
    payloads = [packet.payload for packet in world.published(str(READING))]
    assert payloads == [encode(reading(seq=1)), encode(reading(seq=2))]
    world.ack_everything()
    assert acks == [0, 1, 2]


def test_a_broker_that_stops_acknowledging_is_left(world: World) -> None:
    world.publish(0)
    with pytest.raises(ConnectionLost, match="stopped acknowledging"):
        world.hear_pings(ACK_TIMEOUT_S + 2)


def test_no_ack_and_no_receipt_covers_a_refused_reading() -> None:
    world = World(replay=True)
    assert world.replay is not None
    acked: list[int] = []
    covered: list[int] = []
    world.replay.on_acked = lambda stream, seq: acked.append(seq)
    world.replay.on_covered = lambda stream, seq: covered.append(seq)
    world.connect()
    for seq in range(4):
        world.publish(seq)
    first, second, third, fourth = world.published(str(READING))
    world.hear(PubAck(first.packet_id), PubAck(second.packet_id, QUOTA), PubAck(third.packet_id))
    assert acked == [0, 0]
    world.replay.on_receipt(receipt(2, (1, 1)))
    assert covered == [0]
    world.tick(1.0)
    again = world.published(str(READING))[-1]
    assert again.payload == second.payload
    world.hear(PubAck(again.packet_id), PubAck(fourth.packet_id))
    assert acked == [0, 0, 2, 3]
    assert world.session.counters["refused"] == 1
    world.replay.on_receipt(receipt(3))
    assert covered == [0, 3]


def test_a_reading_that_is_given_up_is_never_covered() -> None:
    world = World(replay=True)
    assert world.replay is not None
    acked: list[int] = []
    world.replay.on_acked = lambda stream, seq: acked.append(seq)
    world.connect(packet_max_bytes=1000)
    large = reading(seq=1, name="x" * 60)
    world.publish(0)
    topic = str(READING)
    world.session.publications.outbox.put(
        Outgoing(topic, encode(large) + b" " * 1000, 1, False, reading=(STREAM, large.seq))
    )
    world.publish(2)
    world.ack_everything()
    assert acked == [0, 0]
    assert [each.reading for each in world.refused] == [(STREAM, 1)]


def receipt(seq: int, *holes: tuple[int, int]) -> Recorded:
    group, source, session = STREAM
    missing = tuple(Missing(first=first, last=last) for first, last in holes)
    gaps = sum(last - first + 1 for first, last in holes)
    stream = RecordedStream(
        group=group, source=source, session=session, seq=seq, rows=1, duplicates=0, gaps=gaps, missing=missing
    )
    return Recorded(time=NOON, streams=(stream,))


def test_what_came_during_a_second_fault_soon_after_the_first_goes_out_again_later() -> None:
    """Not at once, for a disk's fault may come and go; but nobody else would ever send it."""
    world = World(replay=True)
    recorder = "neuroone/v1/local/services/csv_recorder/other/state"
    world.connect()

    def say(fault: str | None) -> None:
        online = ServiceState(status=ServiceStatus.ONLINE, version="0.1.0", epoch=1, connection=1, run="r", fault=fault)
        world.hear(Publish(recorder, encode(online)))

    for fault in (None, "the broker refuses the subscription", None, "the broker refuses the subscription"):
        say(fault)
    world.publish(0)
    world.ack_everything()
    say(None)
    world.tick()
    assert world.published(str(READING)) == []
    world.tick(MENDED_PERIOD_S)
    assert [packet.payload for packet in world.published(str(READING))] == [encode(reading(seq=0))]
    world.ack_everything()
    world.tick(MENDED_PERIOD_S)
    assert world.published(str(READING)) == []


def test_readings_wait_for_the_recorder_after_a_reconnect_and_states_do_not() -> None:
    world = World(replay=True)
    online = ServiceState(status=ServiceStatus.ONLINE, version="0.1.0", epoch=1, connection=1, run="r")
    recorder = Publish("neuroone/v1/local/services/csv_recorder/other/state", encode(online))
    world.connect()
    world.hear(recorder)
    world.publish(0)
    world.ack_everything()
    world.fail()
    world.open()
    world.hear(ConnAck(0))
    assert world.published(STATE)
    assert not world.published(str(READING))
    world.hear(recorder)
    assert [packet.payload for packet in world.published(str(READING))] == [encode(reading(seq=0))]


def test_a_fault_in_one_delivery_costs_that_message_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def fail(delivery: Delivery) -> None:
        raise RuntimeError("a fault of ours")

    world.on_delivery = fail
    for _ in range(3):
        world.hear(Publish("a/b", b"1", packet_id=9))
    assert world.session.counters["callback_errors"] == 3
    assert caplog.text.count("Traceback") == 1
    world.on_delivery = world.deliveries.append
    world.hear(Publish("a/b", b"2"))
    assert [each.payload for each in world.deliveries] == [b"2"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_retained_state_that_comes_after_a_live_one_is_late(durable: bool) -> None:
    """NATS may deliver the end of an earlier run after the birth of the next; on another connection it is news."""
    world, topic = World(durable=durable), STATE.replace("csv_recorder", "ws_gateway")
    ends, born = state_of("a1", ServiceStatus.OFFLINE), state_of("b2")

    def connect() -> None:
        if durable:
            probe(world)
        world.connect()

    connect()
    world.hear(Publish(topic, ends, True, 7), Publish(topic, born, False, 8))
    world.sent.clear()
    world.hear(Publish(topic, ends, True, 9), Publish(topic.replace("main", "other"), ends, True, 10))
    assert [each.payload for each in world.deliveries] == [ends, born, ends]
    assert world.session.counters["late_states"] == 1
    assert PubAck(9) in world.sent  # the broker sends it no more
    world.fail()
    connect()
    world.hear(Publish(topic, ends, True, 1))
    assert world.deliveries[-1].payload == ends


def test_a_state_is_published_once_more_unless_there_is_a_newer_one(world: World) -> None:
    """NATS forgets it towards a subscription that is being made."""
    outbox = world.session.publications.outbox
    world.hear_pings(REPEAT_AFTER_S + 1)  # the birth's turn
    world.ack_everything()
    for number in range(3):
        outbox.put(Outgoing(f"{number}/state", b"online", 1, True))
    world.session.pump()
    world.ack_everything()
    outbox.leave_to_broker("0/state")
    outbox.put(Outgoing("1/state", b"offline", 1, True))
    world.hear(Publish("2/state", b"of another service"))
    world.hear_pings(REPEAT_AFTER_S + 1)
    assert [[packet.payload for packet in world.published(f"{number}/state")] for number in range(3)] == [
        [b"online"],
        [b"offline"],
        [],
    ]
    assert world.session.counters["states_repeated"] == 2


def test_a_fault_in_another_callback_is_not_swallowed(world: World) -> None:
    def fail() -> None:
        raise RuntimeError("a fault of ours")

    world.session.publications.publish(READING, reading(), fail)
    world.session.pump()
    with pytest.raises(RuntimeError):
        world.ack_everything()


def test_a_durable_service_acknowledges_by_itself() -> None:
    world = World(durable=True)
    probe(world)
    world.open()
    world.hear(ConnAck(0))
    world.hear(Publish("a/b", b"1", packet_id=9))
    assert not world.every(PubAck)
    world.session.ack(world.deliveries)
    assert world.one(PubAck) == PubAck(9)
    world.fail()
    world.connect()
    world.session.ack(world.deliveries)
    assert not world.every(PubAck)


# Health and faults.


def test_health_comes_with_the_clients_and_the_services_numbers(world: World) -> None:
    assert world.session.tick(world.now_s) is True
    world.tick(1.0)
    assert len(world.published(HEALTH)) == 1
    world.tick(HEALTH_PERIOD_S)
    health = decode(Health, world.published(HEALTH)[-1].payload)
    assert (health.uptime_s, health.counters["rows"], health.counters["connects"]) == (11.0, 1, 1)
    assert "outbox" in health.gauges


def test_a_fault_is_published_once_and_taken_back(world: World) -> None:
    assert world.session.set_fault("service", "the disk is full")
    assert not world.session.set_fault("service", "the disk is full")
    world.session.set_fault("health_file", "it cannot be written")
    world.session.set_fault("service", None)
    world.session.set_fault("health_file", None)
    assert [state.fault for state in world.states()] == ["the disk is full", "it cannot be written", None]


def test_the_newest_fault_is_said(world: World) -> None:
    """It may be a recorder's answer to another one, which waits for it; a full disk must not hide it."""
    world.session.set_fault("service", "the disk is full")
    assert world.session.set_fault("shards", "another recorder divides the work in another way")
    assert not world.session.set_fault("service", "the disk is full")
    world.session.set_fault("shards", None)
    said = ["the disk is full", "another recorder divides the work in another way", "the disk is full"]
    assert [state.fault for state in world.states()] == said


def test_it_says_offline_at_the_end_and_leaves_in_order(world: World) -> None:
    world.session.is_closing = True
    world.session.say_goodbye()
    world.session.leave()
    assert [state.status for state in world.states()] == [ServiceStatus.OFFLINE]
    assert isinstance(world.sent[-1], Disconnect)


# Presence.


@pytest.mark.parametrize(
    ("payload", "retained"),
    [
        (state_of("another"), True),
        (state_of(None), True),
        (state_of("another", ServiceStatus.OFFLINE), False),
        (state_of(ME.run, ServiceStatus.OFFLINE), False),
        (state_of(ME.run, connection=7), False),
        (b"", False),
        (b"rubbish", True),
    ],
)
def test_a_state_that_is_not_ours_makes_us_publish_ours_again_and_nothing_else(
    world: World, payload: bytes, retained: bool
) -> None:
    """Whatever its clock says: retained, offline, late, deleted or broken."""
    world.hear(Publish(STATE, state_of(ME.run)))
    world.hear(Publish(STATE, payload, retained))
    assert [(state.status, state.run) for state in world.states()] == [(ServiceStatus.ONLINE, ME.run)]


@pytest.mark.parametrize("run", ["another", None])
def test_the_older_of_two_living_runs_leaves(world: World, run: str | None) -> None:
    world.hear(Publish(STATE, state_of(ME.run)), Publish(STATE, state_of(run)))
    world.tick(TWIN_LEAVES_S - 0.1)
    with pytest.raises(Replaced, match="--instance"):
        world.tick(0.1)
    world.session.leave()
    assert not world.states()


def test_a_twin_that_is_leaving_anyway_makes_nobody_leave(world: World) -> None:
    """The monitor's old connection: both births may reach the broker in one moment, in any order."""
    world.hear(Publish(STATE, state_of(ME.run)), Publish(STATE, state_of("another")))
    world.hear(Publish(STATE, state_of("another", ServiceStatus.OFFLINE)))
    world.tick(TWIN_LEAVES_S)
    assert [state.run for state in world.states()] == [ME.run]


def test_the_newer_of_two_living_runs_stays(world: World) -> None:
    """It hears the other's birth before its own."""
    world.hear(Publish(STATE, state_of("another")), Publish(STATE, state_of(ME.run)))
    assert world.session.is_connected


def test_a_session_that_was_taken_over_ends(world: World) -> None:
    with pytest.raises(Replaced):
        world.hear(Disconnect(0x8E))
    world.fail()
    world.connect()
    with pytest.raises(ConnectionLost, match="Server shutting down"):
        world.hear(Disconnect(0x8B))


def probe(world: World, suffix: str = "") -> None:
    """Go through a probe that finds nobody."""
    begin_probe(world, suffix)
    with pytest.raises(ConnectionLost) as fault:
        world.tick(PROBE_EMPTY_S)
    world.fail(fault.value)


def begin_probe(world: World, suffix: str = "") -> None:
    connect = world.open()
    assert (connect.client_id, connect.clean_start, connect.will) == (ME.run_client_id + suffix, True, None)
    world.hear(ConnAck(0))
    world.tick(PROBE_EMPTY_S)
    asked = world.one(Subscribe)
    assert [filter for filter, _ in asked.filters] == [STATE, HEALTH, RECEIPTS]
    world.hear(SubAck(asked.packet_id, (1, 0, 0)))
    assert not world.session.is_connected


def test_a_durable_service_connects_after_a_probe_that_finds_nobody() -> None:
    world = World(durable=True)
    probe(world)
    assert isinstance(world.sent[-1], Disconnect)
    assert world.session.attempts.next.delay_s == 0
    connect = world.open()
    assert (connect.client_id, connect.clean_start) == (ME.client_id, False)
    assert connect.will is not None
    world.hear(ConnAck(0))
    assert dict(world.one(Subscribe).filters)[STATE] == 0
    assert world.calls == [True]


@pytest.mark.parametrize("payload", [state_of("another", ServiceStatus.OFFLINE), state_of(ME.run)])
def test_a_probe_ends_at_once_where_an_offline_state_or_our_own_stands(payload: bytes) -> None:
    world = World(durable=True)
    begin_probe(world)
    with pytest.raises(ConnectionLost):
        world.hear(Publish(STATE, payload, retained=True, packet_id=1))


@pytest.mark.parametrize(
    "sign", [Publish(HEALTH, b"{}"), Publish(RECEIPTS, b"{}"), Publish(STATE, state_of("another"), packet_id=2)]
)
@pytest.mark.parametrize("run", ["another", None])
def test_a_living_twin_of_a_durable_service_is_left_in_peace(sign: Publish, run: str | None) -> None:
    world = World(durable=True)
    begin_probe(world)
    world.hear(Publish(STATE, state_of(run), retained=True, packet_id=1))
    world.tick(PROBE_EMPTY_S * 2)
    with pytest.raises(Replaced, match=r"another csv_recorder named main is recording .* another --instance"):
        world.hear(sign)


def test_a_retained_online_state_without_a_sign_of_life_stops_nobody() -> None:
    world = World(durable=True)
    begin_probe(world)
    world.hear(Publish(STATE, state_of(None), retained=True))
    world.tick(PROBE_ALIVE_S - 0.1)
    with pytest.raises(ConnectionLost):
        world.tick(0.1)


def test_a_probe_that_is_never_answered_ends_with_the_connection() -> None:
    world = World(durable=True)
    world.open()
    world.hear(ConnAck(0))
    with pytest.raises(ConnectionLost, match="stopped acknowledging"):
        world.hear_pings(ACK_TIMEOUT_S + 2)


def test_what_the_session_of_a_durable_service_kept_proves_no_twin() -> None:
    """An earlier run's own birth may come back from it."""
    world = World(durable=True)
    probe(world)
    world.connect()
    world.hear(Publish(STATE, state_of(ME.run)), Publish(STATE, state_of("another"), packet_id=3))
    assert [state.run for state in world.states()] == [ME.run]


def test_a_durable_service_probes_before_each_connection() -> None:
    """With MQTT 3.1.1 no reason says that another run has taken the session over."""
    world = World(durable=True)
    probe(world)
    world.connect()
    world.fail(HungUp("it closed the connection"))
    begin_probe(world)


def test_a_durable_service_whose_broker_is_cut_off_goes_to_another_one_at_once() -> None:
    """Nobody has taken its place there; if it does not get through either, somebody may have by then."""
    world = World(durable=True, urls="mqtt://a:1,mqtt://b:1")
    probe(world)
    world.connect()
    world.fail(NoAnswer("its machine confirms nothing"))
    assert world.open().client_id == ME.client_id
    world.fail(NoAnswer("no answer"))
    begin_probe(world, "-1")


def test_a_connection_that_failed_after_the_probe_needs_another_one() -> None:
    """The broker may be away for long, and another run be there first."""
    world = World(durable=True)
    probe(world)
    world.open()
    world.fail()
    begin_probe(world)


def test_a_run_that_a_broker_hangs_up_on_has_another_client_id_afterwards() -> None:
    """A NATS cluster without a leader cannot clear what it keeps under the old one."""
    world = World()
    assert world.open().client_id == ME.run_client_id
    world.fail(HungUp("it closed the connection"))  # it may not speak MQTT 5
    assert world.open().client_id == ME.run_client_id
    world.fail(HungUp("it closed the connection"))
    assert world.open().client_id == f"{ME.run_client_id}-1"
    world.hear(ConnAck(0))
    world.fail(HungUp("it closed the connection"))
    assert world.open().client_id == f"{ME.run_client_id}-1", "this one was accepted"


@pytest.mark.parametrize(("urls", "patience_s"), [("mqtt://a:1", ACK_TIMEOUT_S), ("mqtt://a:1,mqtt://b:1", PATIENCE_S)])
def test_a_broker_that_acknowledges_nothing_is_given_up_sooner_for_another_one(urls: str, patience_s: float) -> None:
    """It may be cut off from the rest of its cluster; with a single one nothing is gained by haste."""
    world = World(urls=urls)
    world.connect()
    world.session.publications.publish(READING, reading())
    world.hear_pings(patience_s)
    with pytest.raises(ConnectionLost, match="stopped acknowledging"):
        world.hear_pings(2)


def test_nobody_guesses_the_client_ids_of_a_schools_login() -> None:
    """Mosquitto gives the session under an id to whoever names it, whatever the login."""
    ids = set()
    for login in ("site-a:one", "site-a:two", "csv_recorder:one"):
        world = World(urls=f"mqtt://{login}@a:1", durable=True)
        probe(world, BrokerAddress.parse(f"mqtt://{login}@a:1").id_suffix)
        ids.add(world.open().client_id.removeprefix(ME.client_id))
    assert sorted(map(len, ids)) == [0, 17, 17]

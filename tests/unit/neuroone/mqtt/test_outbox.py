"""What waits for the broker."""

import pytest

from neuroone.mqtt import outbox as module
from neuroone.mqtt.outbox import PERMANENT_TRIES_MAX, RETRY, Outbox, Outgoing
from neuroone.mqtt.packets import ConnAck, Publish

QUOTA = 0x97
NOT_AUTHORIZED = 0x87
BIRTH = Outgoing("birth", b"online", 1, True)


def message(number: int, *, qos: int = 1, retained: bool = False) -> Outgoing:
    return Outgoing(f"t/{number}", b"x" * 10, qos, retained)


def linked(**limits: int | bool) -> Outbox:
    """An outbox on a connection whose birth is acknowledged."""
    outbox = Outbox()
    outbox.link(ConnAck(0, **limits), BIRTH, ())  # type: ignore[arg-type]
    outbox.acked(next_of(outbox).packet_id)
    return outbox


def next_of(outbox: Outbox) -> Publish:
    packet = outbox.next()
    assert packet is not None
    return packet


def drain(outbox: Outbox) -> list[Publish]:
    packets: list[Publish] = []
    while (packet := outbox.next()) is not None:
        packets.append(packet)
    return packets


def topics_of(packets: list[Publish]) -> list[str]:
    return [packet.topic for packet in packets]


def test_the_window_bounds_what_is_in_flight() -> None:
    outbox = linked(receive_maximum=2)
    first, second, third = (message(number) for number in range(3))
    assert all(map(outbox.put, (first, second, third)))
    sent = drain(outbox)
    assert topics_of(sent) == ["t/0", "t/1"]
    assert outbox.acked(sent[0].packet_id) is first
    assert topics_of(drain(outbox)) == ["t/2"]
    assert outbox.acked(99) is None


def test_a_full_box_refuses_and_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded by bytes and by count; an ack makes room again."""
    monkeypatch.setattr(module, "OUTBOX_MAX_BYTES", 25)
    outbox = Outbox()
    outbox.link(ConnAck(0), Outgoing("birth", b"x", 0, True), ())
    drain(outbox)
    assert outbox.put(message(0))
    assert outbox.put(message(1))
    assert not outbox.put(message(2))
    outbox.acked(drain(outbox)[0].packet_id)
    assert outbox.put(message(2))
    assert outbox.gauges() == {"outbox": 2, "outbox_bytes": 20}
    monkeypatch.setattr(module, "OUTBOX_MAX_MESSAGES", 1)
    small = Outbox()
    assert small.put(message(0))
    assert not small.put(message(1))
    assert small.counters["dropped"] == 1


def test_a_new_connection_starts_over_in_order() -> None:
    """States first, birth before all, then what was in flight and what waited; QoS 0 and old states are left out."""
    outbox = linked(receive_maximum=2)
    for outgoing in (message(0), message(1), message(2), message(3, qos=0), message(4, retained=True)):
        outbox.put(outgoing)
    drain(outbox)
    outbox.unlink()
    outbox.put(Outgoing("t/4", b"newer", 1, True))
    outbox.link(ConnAck(0), BIRTH, ())
    packets = drain(outbox)
    assert topics_of(packets) == ["birth", "t/4", "t/0", "t/1", "t/2"]
    assert packets[1].payload == b"newer"
    assert outbox.counters["dropped_qos0"] == 1


def test_without_a_connection_only_what_may_wait_is_accepted() -> None:
    outbox = Outbox()
    assert not outbox.put(message(0, qos=0))
    assert outbox.put(message(1))
    assert outbox.put(message(2, retained=True))
    assert not outbox.put(Outgoing("t/2", b"", 1, True))
    outbox.link(ConnAck(0), BIRTH, (message(3),))
    assert topics_of(drain(outbox)) == ["birth", "t/3", "t/1"]


def test_qos_0_is_gone_once_it_is_sent() -> None:
    outbox = linked()
    outbox.put(message(0, qos=0))
    assert drain(outbox)[0].packet_id == 0
    assert len(outbox) == outbox.in_flight == outbox.gauges()["outbox_bytes"] == 0


def test_a_broker_of_qos_0_without_retain_gets_nothing_else() -> None:
    outbox = linked(maximum_qos=0, retain_available=False)
    outbox.put(message(0, retained=True))
    assert next_of(outbox) == Publish("t/0", b"x" * 10)
    assert len(outbox) == 0


def test_what_is_larger_than_the_broker_accepts_is_dropped_and_counted() -> None:
    outbox = linked(packet_max_bytes=30)
    refused: list[Outgoing] = []
    outbox.on_too_large = refused.append
    large = Outgoing("t/0", b"x" * 18, 1, False)
    outbox.put(large)
    outbox.put(Outgoing("t/1", b"x" * 17, 1, False))
    assert topics_of(drain(outbox)) == ["t/1"]
    assert refused == [large]
    assert outbox.counters["dropped_too_large"] == 1


def test_a_refused_message_is_sent_again_and_holds_nobody_up() -> None:
    outbox = linked()
    outbox.put(message(0))
    outbox.put(message(1))
    packets = drain(outbox)
    refused, is_given_up = outbox.refused(packets[0].packet_id, QUOTA, 100.0)
    assert (refused is not None, is_given_up) == (True, False)
    assert outbox.acked(packets[1].packet_id)
    outbox.retry(100.9)
    assert drain(outbox) == []
    outbox.retry(101.0)
    again = drain(outbox)
    assert topics_of(again) == ["t/0"]
    assert outbox.acked(again[0].packet_id) is refused
    assert len(outbox) == 0


@pytest.mark.parametrize(("reason", "is_given_up"), [(QUOTA, False), (NOT_AUTHORIZED, True)])
def test_only_what_will_never_be_accepted_is_given_up(reason: int, is_given_up: bool) -> None:
    outbox = linked()
    outbox.put(message(0))
    now_s = 0.0
    for _ in range(PERMANENT_TRIES_MAX - 1):
        assert outbox.refused(next_of(outbox).packet_id, reason, now_s)[1] is False
        now_s += RETRY.cap_s
        outbox.retry(now_s)
    assert outbox.refused(next_of(outbox).packet_id, reason, now_s)[1] is is_given_up
    assert len(outbox) == (0 if is_given_up else 1)


def test_a_refused_state_does_not_replace_a_newer_one() -> None:
    outbox = linked()
    outbox.put(message(0, retained=True))
    packet = next_of(outbox)
    outbox.put(Outgoing("t/0", b"newer", 1, True))
    assert outbox.refused(packet.packet_id, QUOTA, 0.0)[1] is False
    outbox.retry(RETRY.cap_s)
    assert [each.payload for each in drain(outbox)] == [b"newer"]

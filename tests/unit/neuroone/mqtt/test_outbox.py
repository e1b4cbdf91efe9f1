"""What waits for the broker."""

from neuroone.mqtt.outbox import Outbox, Outgoing


def message(number: int, *, qos: int = 1, retained: bool = False) -> Outgoing:
    return Outgoing(f"t/{number}", b"x" * 10, qos, retained)


def drain(outbox: Outbox, first_id: int = 1) -> list[Outgoing]:
    taken: list[Outgoing] = []
    while (outgoing := outbox.next()) is not None:
        outbox.sent(first_id + len(taken), outgoing)
        taken.append(outgoing)
    return taken


def test_the_window_bounds_what_is_in_flight() -> None:
    """Only an ack makes room, and sets free the oldest that waits."""
    outbox = Outbox(window=2)
    all_three = [message(number) for number in range(3)]
    assert all(map(outbox.put, all_three))
    assert drain(outbox) == all_three[:2]
    assert outbox.acked(1) is all_three[0]
    assert drain(outbox, 3) == all_three[2:]
    assert outbox.acked(99) is None


def test_a_full_box_refuses_and_keeps_what_it_has() -> None:
    """Bounded by bytes and by count; an ack makes room again."""
    outbox = Outbox(max_bytes=25)
    assert outbox.put(message(0))
    assert outbox.put(message(1))
    assert not outbox.put(message(2))
    drain(outbox)
    outbox.acked(1)
    assert outbox.put(message(2))
    assert outbox.size_bytes == 20
    small = Outbox(max_messages=1)
    assert small.put(message(0))
    assert not small.put(message(1))


def test_a_new_connection_starts_over_in_order() -> None:
    """In flight first, then what waited; old retained states and QoS 0 are left out, the newest states lead."""
    outbox = Outbox(window=2)
    first, second, third = (message(number) for number in range(3))
    for outgoing in (first, second, third, message(3, qos=0), message(4, retained=True)):
        outbox.put(outgoing)
    drain(outbox)
    birth = message(5, retained=True)
    assert outbox.rewind([birth]) == 1
    outbox.window = 10
    assert drain(outbox) == [birth, first, second, third]
    assert outbox.size_bytes == 40


def test_what_could_not_be_sent_stays_first() -> None:
    """Nothing overtakes it."""
    outbox = Outbox()
    outbox.put(message(0))
    outbox.put(message(1))
    taken = outbox.next()
    assert taken is not None
    outbox.unsent(taken)
    assert outbox.next() is taken


def test_qos_0_is_gone_once_it_is_sent() -> None:
    """There is no ack to wait for."""
    outbox = Outbox()
    outbox.put(message(0, qos=0))
    drain(outbox)
    assert len(outbox) == outbox.size_bytes == outbox.in_flight == 0

"""Raw blocks are kept until the broker is known to have them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from neuroone.contract.messages import Link, Message, RawBlock, Reading, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.service.wearers import Owner
from serial_bridge.headsets.events import Raw
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.ports.simulated import second_frame
from serial_bridge.publisher import RAW_KEPT_MAX_BLOCKS, RAW_RESENT_BLOCKS, RECORDER_WAIT_S, StreamPublisher
from serial_bridge.stream import Stream
from tests.support.bus_listener import identity

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


class Broker:
    """A broker that takes messages in order while it is there; what was on its way when it goes is lost."""

    def __init__(self) -> None:
        self.identity = identity("serial_bridge")
        self.is_there = True
        self.arrived: list[Message] = []
        self._on_its_way: list[tuple[Message, Callable[[], None] | None]] = []
        self._queued: list[tuple[Message, Callable[[], None] | None]] = []

    @property
    def is_connected(self) -> bool:
        return self.is_there

    @property
    def waiting(self) -> int:
        return len(self._on_its_way) + len(self._queued)

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        is_raw = isinstance(message, RawBlock)
        if self.is_there:
            self._on_its_way.append((message, on_ack))
        elif not is_raw:
            self._queued.append((message, on_ack))
        return self.is_there or not is_raw

    def deliver(self) -> None:
        """Let everything arrive that is on its way."""
        sent, self._on_its_way = self._on_its_way, []
        for message, on_ack in sent:
            self.arrived.append(message)
            if on_ack is not None and not isinstance(message, RawBlock):
                on_ack()

    def go(self) -> None:
        self.is_there = False
        self._queued += [each for each in self._on_its_way if not isinstance(each[0], RawBlock)]
        self._on_its_way = []

    def come_back(self) -> None:
        self.is_there = True
        self._on_its_way, self._queued = self._queued, []

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.arrived if isinstance(message, kind)]


@pytest.fixture
def broker() -> Broker:
    return Broker()


class Source:
    """A headset that publishes a second of samples and a reading at a time."""

    def __init__(self, broker: Broker, clock: Callable[[], float] = time.monotonic) -> None:
        self.publisher = StreamPublisher(broker, "no-group", "bench", clock)
        self._stream = Stream(Owner())

    def second(self) -> None:
        for _ in range(8):
            self.publisher.publish(self._stream.on_events([Raw((1,) * 64)], NOW))
        frame = Decoder().feed(second_frame(0, (1,) * 8, 50, 60))
        self.publisher.publish(self._stream.on_events(frame, NOW))


def test_raw_of_an_outage_follows_the_readings(broker):
    """Blocks that were on their way when the broker went, and those made while it was away, arrive in order."""
    source = Source(broker)
    for _ in range(5):
        source.second()
        broker.deliver()
    source.second()
    broker.go()
    for _ in range(100):
        source.second()
    broker.come_back()
    n_before = len(broker.of(RawBlock))
    broker.deliver()
    assert len(broker.of(Reading)) == 106
    assert len(broker.of(RawBlock)) == n_before
    for _ in range(8):
        source.second()
        broker.deliver()
    first_seen = list(dict.fromkeys(block.seq for block in broker.of(RawBlock)))
    assert first_seen == list(range(8 * 114))
    assert len(broker.of(RawBlock)) == len(first_seen)  # what the broker has is not sent again
    assert source.publisher.counters == {"readings_dropped": 0, "raw_blocks_dropped": 0}


def test_what_is_kept_is_bounded(broker):
    """Of a longer outage the newest ten minutes are kept; the others are counted."""
    source = Source(broker)
    broker.go()
    for _ in range(700):
        source.second()
    assert source.publisher.counters["raw_blocks_dropped"] == 8 * 700 - RAW_KEPT_MAX_BLOCKS
    broker.come_back()
    for _ in range(8 * 600 // (7 * RAW_RESENT_BLOCKS) + 1):
        source.second()
        broker.deliver()
    blocks = broker.of(RawBlock)
    first = blocks[0].seq
    assert 800 <= first <= 801  # the first one after the outage takes the place of the oldest
    assert [block.seq for block in blocks] == list(range(first, first + len(blocks)))


def test_an_old_acknowledgement_proves_nothing_about_a_new_connection(broker):
    source = Source(broker)
    source.second()
    broker.go()
    source.second()
    broker.come_back()
    source.second()
    broker.deliver()
    source.second()
    broker.deliver()
    assert [block.seq for block in broker.of(RawBlock)] == list(range(32))


def test_states_prove_too_that_blocks_have_arrived(broker):
    """Of a headset without readings."""
    publisher, stream = StreamPublisher(broker, "no-group", "bench"), Stream(Owner())
    for _ in range(10):
        publisher.publish(stream.on_events([Raw((1,) * 64)], NOW))
    publisher.publish_state(LinkStatus(StreamStatus.ONLINE, Link.CONNECTED, None), stream, "COM4", {})
    broker.deliver()
    broker.go()
    publisher.publish(stream.on_events([Raw((1,) * 64)], NOW))
    broker.come_back()
    publisher.close()
    broker.deliver()
    assert [block.seq for block in broker.of(RawBlock)] == list(range(11))


def test_what_cannot_be_sent_at_the_end_is_counted(broker):
    source = Source(broker)
    broker.go()
    source.second()
    source.publisher.close()
    assert source.publisher.counters["raw_blocks_dropped"] == 8


@pytest.mark.parametrize("has_receipt", [True, False])
def test_raw_of_an_outage_waits_for_the_recorder(broker, has_receipt):
    """Until its next receipt, or until it had its time: a broker keeps no raw blocks for a recorder that is away."""
    now_s = 100.0
    source = Source(broker, lambda: now_s)
    source.second()
    source.publisher.on_recorded()
    broker.deliver()
    broker.go()
    source.second()
    broker.come_back()
    for _ in range(3):
        source.second()
        broker.deliver()
        now_s += RECORDER_WAIT_S / 4
    assert len(broker.of(RawBlock)) == 8
    if has_receipt:
        source.publisher.on_recorded()
    else:
        now_s += RECORDER_WAIT_S
    source.second()
    source.second()
    broker.deliver()
    assert [block.seq for block in broker.of(RawBlock)] == list(range(56))

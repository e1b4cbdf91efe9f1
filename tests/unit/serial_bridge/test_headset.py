"""A headset driven by hand: a captured stream to its last frame, a broker that is slow, faults."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from neuroone.contract.messages import Link, Message, RawBlock, Reading, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.service.wearers import Owner
from serial_bridge.captures import files, record
from serial_bridge.captures.files import BadCapture, CaptureWriter
from serial_bridge.captures.record import Recording
from serial_bridge.headset import Headset
from serial_bridge.headsets import HEADSETS
from serial_bridge.headsets.events import Event
from serial_bridge.ports.port import Port
from serial_bridge.ports.simulated import SimulatedHeadset
from serial_bridge.ports.sources import PacedSource
from serial_bridge.publisher import BACKLOG_MAX_MESSAGES, StreamPublisher
from serial_bridge.reader import HeadsetReader
from tests.support.bus_listener import identity
from tests.support.waiting import wait_for


class Published:
    """Replace the broker's client; without ``has_room`` it refuses messages."""

    is_connected = True
    waiting = 0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.identity = identity("serial_bridge")
        self.messages: list[Any] = []
        self.clock = clock
        self.times_s: list[float] = []
        self.has_room = True

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        if self.has_room:
            self.messages.append(message)
            self.times_s.append(self.clock())
        return self.has_room

    def arrivals(self, kind: type[Any]) -> list[float]:
        """When the messages of a kind were published."""
        return [at_s for message, at_s in zip(self.messages, self.times_s, strict=True) if isinstance(message, kind)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def publisher_of(published: Published, source: str) -> StreamPublisher:
    return StreamPublisher(published, "no-group", source)


def make(
    parts: Iterator[tuple[float, bytes]], published: Published, clock: Clock, speed: float = 1.0, **options: Any
) -> Headset:
    source = PacedSource("file", "file", lambda: parts, speed, clock=clock, can_wait=True)
    publisher = publisher_of(published, "file")
    headset = Headset(source, publisher, Owner(), HEADSETS["thinkgear"], clock, **options)
    headset.step()
    wait_for(lambda: headset.step() or headset.is_open or headset.has_ended, "open port")
    return headset


def play(headset: Headset, clock: Clock) -> None:
    while not headset.has_ended:
        headset.step()
        clock.now_s += 0.1


def parts_of(stream: bytes) -> Iterator[tuple[float, bytes]]:
    return ((at / 4132, stream[at : at + 64]) for at in range(0, len(stream), 64))


@pytest.mark.parametrize("minutes", [10])
def test_every_frame_once(minutes):
    """A long stream comes through whole: no sample and no reading lost or doubled, and the stream ends offline."""
    published, clock = Published(), Clock()
    play(make(parts_of(SimulatedHeadset(1).advance(60 * minutes)), published, clock), clock)
    readings, blocks = published.of(Reading), published.of(RawBlock)
    assert [reading.seq for reading in readings] == list(range(60 * minutes))
    assert sum(len(block.samples) for block in blocks) == 512 * 60 * minutes
    assert [block.first_sample for block in blocks] == list(range(0, 512 * 60 * minutes, 64))
    states = published.of(StreamState)
    assert (states[-1].status, states[-1].link) == (StreamStatus.OFFLINE, Link.ENDED)
    assert {state.session for state in states} == {reading.session for reading in readings}


def test_slow_broker_holds_a_capture_back():
    """While the broker is slow a capture waits without being called silent; then it goes on, at its own pace."""
    clock = Clock()
    published = Published(clock)
    headset = make(parts_of(SimulatedHeadset(1).advance(30)), published, clock)
    published.waiting = BACKLOG_MAX_MESSAGES
    for _ in range(200):
        headset.step()
        clock.now_s += 0.1
    assert headset.link_status.link is not Link.SILENT
    published.waiting = 0
    play(headset, clock)
    assert [reading.seq for reading in published.of(Reading)] == list(range(30))
    assert headset.counters["readings_dropped"] == headset.counters["raw_blocks_dropped"] == 0
    arrivals = published.arrivals(Reading)
    assert all(0.5 < after - before < 30 for before, after in pairwise(arrivals))


def test_dropped_messages_are_counted():
    """Messages that the client refuses are counted by kind."""
    published, clock = Published(), Clock()
    published.has_room = False
    headset = make(parts_of(SimulatedHeadset(1).advance(5)), published, clock)
    play(headset, clock)
    assert (headset.counters["readings_dropped"], headset.counters["raw_blocks_dropped"]) == (5, 40)


def test_fault_of_a_capture_ends_it():
    """An invalid line ends the capture's stream and is its fault; the readings before it are published."""

    def parts() -> Iterator[tuple[float, bytes]]:
        yield from parts_of(SimulatedHeadset(1).advance(2))
        raise BadCapture("x.capture, line 7: must be microseconds and hexadecimal bytes")

    published, clock = Published(), Clock()
    headset = make(parts(), published, clock)
    play(headset, clock)
    assert isinstance(headset.fault, BadCapture)
    assert len(published.of(Reading)) >= 1
    assert published.of(StreamState)[-1].link is Link.ENDED


def test_the_listener_receives_the_events():
    published, clock = Published(), Clock()
    received: list[Event] = []
    headset = make(parts_of(SimulatedHeadset(1).advance(2)), published, clock)
    headset.listener = lambda _, events: received.extend(events)
    play(headset, clock)
    assert len(received) > 2


@pytest.mark.parametrize("speed", [0.5, 10, 1000])
def test_a_replay_keeps_its_own_time(speed):
    """Readings are a second apart and samples stand where they belong, at any speed, also after a hold-up."""
    clock = Clock()
    published = Published(clock)
    before = datetime.now(UTC)
    headset = make(parts_of(SimulatedHeadset(1).advance(20)), published, clock, speed=speed)
    while not headset.has_ended:
        published.waiting = BACKLOG_MAX_MESSAGES if 1001 < clock.now_s < 1002 else 0
        while headset.step():
            pass
        clock.now_s += 0.006
    readings, blocks = published.of(Reading), published.of(RawBlock)
    assert before - timedelta(seconds=1) < readings[0].time < datetime.now(UTC) + timedelta(seconds=2)
    late_s = [(each.time - readings[0].time).total_seconds() - each.seq for each in readings]
    late_s += [
        (each.time - blocks[0].time).total_seconds() - (each.first_sample - blocks[0].first_sample) / 512
        for each in blocks
    ]
    assert len(late_s) == 20 + 160
    assert max(late_s, key=abs) == pytest.approx(0, abs=0.15)


def test_states_are_repeated():
    """An unchanged state is published again every 10 s, for its counters."""
    published, clock = Published(), Clock()
    play(make(parts_of(SimulatedHeadset(1).advance(60)), published, clock), clock)
    online = [state.counters["readings"] for state in published.of(StreamState) if state.status is StreamStatus.ONLINE]
    assert 6 <= len(online) <= 8
    assert online == sorted(online)


def test_own_fault_ends_one_headset():
    """A bug that one headset's data triggers does not stop the others."""
    published, clock = Published(), Clock()

    def new_headset(name: str) -> Headset:
        source = PacedSource(name, name, lambda: parts_of(stream), clock=clock, can_wait=True)
        return Headset(source, publisher_of(published, name), Owner(), HEADSETS["thinkgear"], clock)

    def broken(_: Headset, events: list[Event]) -> None:
        raise RuntimeError("a bug")

    reader = HeadsetReader()
    stream = SimulatedHeadset(1).advance(2)
    one, two = (reader.add(new_headset(name)) for name in ("one", "two"))
    one.listener = broken
    reader.start()
    wait_for(lambda: (one.is_open or one.has_ended) and two.is_open, "open ports")  # its first bytes may end it
    clock.now_s += 10
    wait_for(lambda: one.has_ended and two.has_ended, "end of both")
    reader.close(10)
    assert isinstance(one.fault, RuntimeError)
    assert two.fault is None
    assert two.counters["readings"] == 2


def test_a_headset_that_is_given_up_gives_everything_back(tmp_path):
    """Its port, its capture and its state: all are ended, whatever else of it fails."""
    published, clock = Published(), Clock()
    recording = Recording(lambda: tmp_path / "x.capture", "thinkgear", keeps_all=True)
    headset = make(parts_of(SimulatedHeadset(1).advance(5)), published, clock, recording=recording)
    headset.listener = lambda *_: 1 / 0
    reader = HeadsetReader(clock, lambda _: None)
    reader.add(headset)
    reader.start()
    clock.now_s += 3
    wait_for(lambda: headset.has_ended, "end")
    reader.close(10)
    assert isinstance(headset.fault, ZeroDivisionError)
    assert not headset.is_open
    assert (published.of(StreamState)[-1].status, published.of(StreamState)[-1].link) == (
        StreamStatus.OFFLINE,
        Link.ENDED,
    )
    assert recording.counters["recorded_bytes"] == sum(len(part) for _, part in files.parts(tmp_path / "x.capture"))


def test_a_headset_that_cannot_be_closed_keeps_no_other_one_open():
    published, clock = Published(), Clock()
    headsets: list[Any] = [make(parts_of(SimulatedHeadset(1).advance(5)), published, clock) for _ in range(3)]
    headsets[0]._publisher.close = headsets[1]._decoder.flush = lambda: 1 / 0
    reader = HeadsetReader(clock, lambda _: None)
    for each in headsets:
        reader.add(each)
    reader.start()
    reader.close(10)
    assert [each.is_open for each in headsets] == [False] * 3
    assert [each.has_ended for each in headsets] == [True] * 3
    ended = [state for state in published.of(StreamState) if state.link is Link.ENDED]
    assert len(ended) == 3, "each says that it has ended"


@pytest.mark.parametrize("hangs_at", ["open", "write"])
def test_a_disk_that_hangs_holds_up_no_headset(tmp_path, monkeypatch, hangs_at):
    """Neither another one nor its own readings; the recording ends with a fault, and nobody waits for the disk."""
    disk = threading.Event()
    write = CaptureWriter.write

    def hang(writer: CaptureWriter, *given: Any) -> None:
        disk.wait(30)
        write(writer, *given)

    def new_path() -> Path:
        if hangs_at == "open":
            disk.wait(30)
        return Path(tmp_path, "x.capture")

    if hangs_at == "write":
        monkeypatch.setattr(CaptureWriter, "write", hang)
    monkeypatch.setattr(record, "BACKLOG_MAX_BYTES", 100_000)
    published, clock = Published(), Clock()
    recording = Recording(new_path, "thinkgear", keeps_all=True)
    options: list[dict[str, Any]] = [{"recording": recording}, {}]
    one, two = (make(parts_of(SimulatedHeadset(1).advance(60)), published, clock, **each) for each in options)
    reader = HeadsetReader(clock, lambda _: None)
    reader.add(one)
    reader.add(two)
    reader.start()
    try:
        for _ in range(62):
            clock.now_s += 1
            wait_for(lambda: one.has_ended or one.counters["bytes"] == two.counters["bytes"], "both")
        wait_for(lambda: one.has_ended and two.has_ended, "the ends")
        reader.close(0.2)
        assert (one.counters["readings"], two.counters["readings"]) == (60, 60)
        assert str(recording.fault).endswith("the disk does not answer")
        assert recording.counters["recordings_failed"] == 1
    finally:
        disk.set()
        recording.join(10)
    assert recording._passed.qsize() * 64 < 2 * 100_000


def test_odd_file_names():
    """A file name that is not Unicode text, and a very long one, are published in a valid form."""
    published, clock = Published(), Clock()
    for name in ("odd\udcff.bytes", "long" * 1000):
        source = PacedSource(name, "file", lambda: parts_of(SimulatedHeadset(1).advance(1)), clock=clock, can_wait=True)
        headset = Headset(source, publisher_of(published, "s"), Owner(), HEADSETS["thinkgear"], clock)
        play(headset, clock)
    assert published.of(StreamState)


def test_odd_fault_of_a_port_is_tried_again():
    """After an unexpected error in opening a port the state names it, and the port is opened again."""
    published, clock = Published(), Clock()

    class OddSource(PacedSource):
        can_reopen = True
        n = 0

        def open(self, baud: int) -> Port:
            self.n += 1
            if self.n == 1:
                raise OSError("odd")
            return super().open(baud)

    source = OddSource("COM4", "COM4", lambda: parts_of(SimulatedHeadset(1).advance(2)), clock=clock)
    headset = Headset(source, publisher_of(published, "s"), Owner(), HEADSETS["thinkgear"], clock)
    wait_for(lambda: headset.step() or headset.link_status.hint, "hint")
    assert headset.link_status.hint == "COM4 cannot be used: odd"
    play(headset, clock)
    assert len(published.of(Reading)) == 2


@pytest.mark.parametrize(("stalls_at_s", "stall_s"), [(10.0, 1.0), (14.5, 0.3)])
def test_a_stall_of_the_bridge_itself_loses_no_sample(stall_s, stalls_at_s):
    """A bridge without processor just before a read takes no sample for early, nor those that follow for missing."""
    published, clock = Published(), Clock()

    class StallingPort:
        """A serial port: the processor is away between the bridge's look at the clock and one of the reads."""

        device = "COM4"
        sent_s = 0.0
        has_stalled = False
        headset = SimulatedHeadset(1)

        def read(self) -> bytes:
            if not self.has_stalled and clock.now_s - 1000 >= stalls_at_s:
                self.has_stalled = True
                clock.now_s += stall_s
            before_s, self.sent_s = self.sent_s, clock.now_s - 1000
            arrived = self.headset.advance(self.sent_s)
            return b"" if 10.2 < before_s < 13 else arrived

        def write(self, command: bytes) -> None:
            """Drop the command."""

        def close(self) -> None:
            """Do nothing."""

    class StallingSource(PacedSource):
        def open(self, baud: int) -> Port:
            return StallingPort()

    source = StallingSource("COM4", "COM4", lambda: iter(()), clock=clock)
    headset = Headset(source, publisher_of(published, "s"), Owner(), HEADSETS["thinkgear"], clock)
    wait_for(lambda: headset.step() or headset.is_open, "open port")
    while clock.now_s < 1030:
        headset.step()
        clock.now_s += 0.01
    headset.close()
    last = published.of(RawBlock)[-1]
    assert (last.first_sample + len(last.samples)) / 512 == pytest.approx(30, abs=0.15)

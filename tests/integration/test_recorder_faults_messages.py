"""csv-recorder as a program: no message and no broker stops it, and nobody else loses a row."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from neuroone.contract import topics
from neuroone.contract.files import DEAD_LETTERS_FILE
from neuroone.contract.json import PAYLOAD_MAX_BYTES, decode, encode
from neuroone.contract.messages import EventType, GroupEvent, Message, Recorded, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.packets import ConnAck, Connect, PubAck, Publish
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker
from tests.support.fake_broker import HANG_UP, Answer, Connection, FakeBroker, fake_broker
from tests.support.messages import NOON, stream_state
from tests.support.recorded_class import GOOD, QUICK, RecordedClass, recorded_class, student_reading, waiting_class

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(brokers.find(brokers.MOSQUITTO) is None, reason="Mosquitto is not installed on this machine"),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
SEQ_MAX = 2**53 - 1


def letters(lesson: RecordedClass) -> list[dict[str, str]]:
    """Return the invalid messages that were kept."""
    path = lesson.directory / DEAD_LETTERS_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def marker(id: str, time: datetime, type: EventType, text: str) -> GroupEvent:
    """Return an event of the whole group."""
    return GroupEvent(id=id, time=time, type=type, text=text, source=None)


# --- numbers -----------------------------------------------------------------------------------------


def test_jumps_of_seq_in_thousands_of_sessions_leave_it_recording(mosquitto: Broker, tmp_path: Path) -> None:
    """Its health message, which holds the sums, still comes afterwards, and its state says online."""
    with recorded_class(mosquitto, tmp_path) as lesson:
        topic = lesson.topic("jumper")
        jumps = (student_reading("jumper", SEQ_MAX, session=f"jump-{n}", time=NOON, delta=0) for n in range(2100))
        lesson.publish(*((topic, jump) for jump in jumps))
        lesson.send("walker", *range(0, 60_000_000, 900_000), time=NOON, delta=0)  # each is a jump that is allowed
        already = len(lesson.healths())
        lesson.wait(lambda: len(lesson.healths()) > already, "health message")
        lesson.good_are()
        counters = lesson.healths()[-1].counters
        assert max(counters.values()) <= SEQ_MAX
        assert counters["dead_letters"] == 2100
        assert lesson.stop() == 0


def test_an_address_that_is_none_is_refused_in_words_and_not_tried_in_silence(
    tmp_path: Path, mosquitto: Broker
) -> None:
    for address in ("mqtt://a..b", f"mqtt://{'a' * 70}.example", "mqtt://a b", "mqtt://[::1", "mqtt://xn--\u00e3.b"):
        with waiting_class(mosquitto, tmp_path) as lesson:
            lesson.launch(words=("--broker", address))
            assert lesson.process.wait(20) == 2, address
            assert "--broker" in lesson.log


# --- what is no message ------------------------------------------------------------------------------


def absurd_payloads() -> dict[str, bytes]:
    """Return payloads of a stream's state that no decoder may stumble over."""
    state = encode(stream_state(counters={"frames": 1}))
    return {
        "huge": state.replace(b":1}", b":" + b"9" * 400 + b"}"),
        "both": state.replace(b'"frames":1', b'"\\ud800":' + b"9" * 400),
        "surrogate": state.replace(b'"frames"', b'"\\udfff"'),
        "infinite": state.replace(b":1}", b":1e999}"),
        "nan": state.replace(b":1}", b":NaN}"),
        "deep": b"[" * 60_000,
        "bytes": bytes(range(256)),
        "latin-1": state.replace(b"frames", b"fr\xe3mes"),
        "null": b"null",
        "long": b" " * (PAYLOAD_MAX_BYTES + 1),
        "year-0": state.replace(b"2026-", b"0000-"),
        "year-1": state.replace(b"2026-11-22T18:20:31.123456Z", b"0001-01-01T00:00:00.000000+23:59"),
        "year-9999": state.replace(b"2026-11-22T18:20:31.123456Z", b"9999-12-31T23:59:59.999999-23:59"),
        "name": state.replace(b'"name":null', b'"name":"\\ud800\\u0000"'),
    }


def test_absurd_messages_are_kept_as_invalid_ones_and_come_only_once(mosquitto: Broker, tmp_path: Path) -> None:
    """Retained before its start, and while it runs; on every kind of topic."""
    with waiting_class(mosquitto, tmp_path) as lesson:
        absurd = absurd_payloads()
        states = [(topics.stream_state(lesson.site, "CLASS", name), payload) for name, payload in absurd.items()]
        lesson.publish(*states, retain=True)
        lesson.start()
        lesson.good_are()
        for payload in absurd.values():
            lesson.publish((lesson.topic("absurd"), payload), (topics.event(lesson.site, "CLASS"), payload))
        lesson.publish((f"neuroone/v1/{lesson.site}/streams/..%2F/CON/reading", encode(student_reading("x", 0))))
        lesson.good_are()
        seen = len(letters(lesson))
        assert seen >= 2 * (len(absurd) - 4)
        lesson.kill()
        lesson.start()
        lesson.good_are()
        assert lesson.stop() == 0
        assert len(letters(lesson)) <= seen + len(absurd)  # the retained ones come once at each start
        assert 1 <= lesson.log.count("invalid messages") <= 2 * 2  # the first one and the rest, of each start


def test_valid_readings_at_the_edges_of_every_field_are_recorded(mosquitto: Broker, tmp_path: Path) -> None:
    """Dates before 1970 and of the year 9999, ids and names of any characters: nobody else waits for them."""
    times = [NOON.replace(year=year, month=1, day=1) for year in (1, 1969, 9999)]
    with recorded_class(mosquitto, tmp_path) as lesson:
        for number, time in enumerate(times):
            lesson.send(f"year{number}", 0, 1, time=time)
        for number, name in enumerate(("", " ", ".", "=1+1", '"', ",", "\\", "\u202e", "a" * 4000, "NUL", "-rf", "~")):
            lesson.send(f"name{number}", 0, name=name or None, code=name[:60] or None)
        lesson.send("session", 0, session='a,"b"\n\x00c')
        lesson.publish(
            (topics.event(lesson.site, "CLASS"), marker("e", times[0], EventType.MARKER, "=x\n\x00," * 50)),
            (topics.event(lesson.site, "CLASS"), marker("f", times[2], EventType.SESSION_START, "6-1")),
        )
        lesson.good_are()
        lesson.kill()
        lesson.start(QUICK)
        lesson.good_are()
        assert not any(lesson.faults())
        assert lesson.stop() == 0


# --- sizes -------------------------------------------------------------------------------------------


def test_a_message_of_any_size_in_the_brokers_store_stops_nobody(tmp_path: Path) -> None:
    """With a broker that takes it, of somebody else: it comes when the recorder is back, and is not asked for again."""
    (tmp_path / "broker").mkdir()
    broker = Broker(brokers.MOSQUITTO, tmp_path / "broker", "max_packet_size 100000000")
    broker.start()
    try:
        with recorded_class(broker, tmp_path) as lesson:
            lesson.kill()
            for size in (2_000_000, PAYLOAD_MAX_BYTES + 1, 6_000_000):
                lesson.publish((lesson.topic("huge"), bytes(size)))
            lesson.send_good()
            for _ in range(2):
                lesson.start()
                lesson.good_are()
                lesson.kill()
            lesson.start()
            lesson.publish((lesson.topic("huge"), bytes(3_000_000)))
            lesson.good_are()
            assert lesson.stop() == 0
    finally:
        broker.stop()


def test_a_broker_of_up_takes_no_message_that_nobody_can_read(mosquitto: Broker, tmp_path: Path) -> None:
    """It ends the sender's connection; the recorder and everybody else go on."""
    with recorded_class(mosquitto, tmp_path) as lesson:
        for size in (2_000_000, PAYLOAD_MAX_BYTES * 2):
            ended: list[object] = []
            sender = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
            sender.on_disconnect = lambda *about, ended=ended: ended.append(about)
            sender.connect(LOOPBACK, mosquitto.port)
            sender.publish(str(lesson.topic("huge")), bytes(size), qos=1)
            sender.loop_start()
            try:
                lesson.wait(lambda ended=ended: ended, "end of the connection")  # type: ignore[misc]
            finally:
                sender.loop_stop()
            lesson.good_are()
        lesson.kill()
        lesson.start()
        lesson.good_are()
        assert letters(lesson) == []


# --- sessions ----------------------------------------------------------------------------------------


def test_a_session_that_is_resumed_under_another_source_is_recorded_once(mosquitto: Broker, tmp_path: Path) -> None:
    """Two phones of one name after a restart of the gateway: the second is back first, and sends again what waits."""
    with recorded_class(mosquitto, tmp_path) as lesson:
        first = {"name": "Bia", "session": "phone-1"}
        second = {"name": "Bia", "session": "phone-2"}
        lesson.send("Bia", *range(5), **first)
        lesson.send("Bia-2", *range(4), **second)
        lesson.good_are()
        lesson.send("Bia", *range(2, 7), **second)
        lesson.send("Bia-2", *range(3, 8), **first)
        lesson.good_are()
        lesson.wait(lambda: len(lesson.session_rows("Bia", "phone-1")) == 8, "rows of the first phone")
        lesson.wait(lambda: len(lesson.session_rows("Bia-2", "phone-2")) == 7, "rows of the second phone")
        lesson.wait(lambda: rows_named(lesson, "Bia") == 15, "15 rows in the files of the name")
        for source, seq, rows in (("Bia", 6, 7), ("Bia-2", 7, 8)):
            receipt = lesson.receipt(source)
            assert receipt is not None
            assert (receipt.seq, receipt.rows, receipt.gaps) == (seq, rows, 0)
        assert lesson.stop() == 0


def rows_named(lesson: RecordedClass, name: str) -> int:
    """Return how many rows the files of a name have."""
    return sum(path.read_bytes().count(b"\n") - 1 for path in lesson.directory.glob(f"{name}*.csv"))


def test_a_running_class_is_known_after_a_kill(mosquitto: Broker, tmp_path: Path) -> None:
    with recorded_class(mosquitto, tmp_path) as lesson:
        topic = topics.event(lesson.site, "CLASS")
        for source, event in (
            ("Bia", marker("1", NOON, EventType.SESSION_START, "Matemática 6A")),
            ("Caio", marker("2", NOON, EventType.SESSION_STOP, "")),
        ):
            lesson.publish((topic, event))
            lesson.good_are()
            lesson.kill()
            lesson.start()
            lesson.send(source, 0)
            lesson.wait_for_rows(source, [0])
        lesson.good_are()
        assert lesson.stop() == 0
        found = [json.loads((lesson.folder_of(each) / "session.json").read_text()) for each in (GOOD, "Bia", "Caio")]
        assert [each["class"] for each in found] == ["Matemática 6A", "Matemática 6A", None]


# --- receipts ----------------------------------------------------------------------------------------


class ScriptedLesson:
    """A recorder on a scripted broker."""

    def __init__(self, broker: FakeBroker, lesson: RecordedClass) -> None:
        self.broker = broker
        self.lesson = lesson

    @property
    def connection(self) -> Connection | None:
        """The recorder's connection."""
        ours = [each for each in self.broker.accepted if is_recorders(each.connect)]
        return next((each for each in reversed(ours) if each.is_open), None)

    def deliver(self, *messages: tuple[Topic, Message]) -> None:
        """Deliver messages, and wait for the recorder's acks."""
        self.lesson.wait(lambda: self.connection, "connection of the recorder")
        connection = self.connection
        assert connection is not None
        acked = len(connection.of(PubAck))
        for number, (topic, message) in enumerate(messages):
            connection.send(Publish(str(topic), encode(message), packet_id=acked + number + 1))
        self.lesson.wait(lambda: len(connection.of(PubAck)) == acked + len(messages), "acks")

    def receipts(self, source: str) -> list[int]:
        """Return the rows that receipts of a source had so far, in order."""
        topic = str(topics.recorded(self.lesson.site, "main"))
        messages = [decode(Recorded, each.payload) for each in self.broker.of(Publish) if each.topic == topic]
        return [stream.rows for message in messages for stream in message.streams if stream.source == source]


def is_recorders(connect: Connect | None) -> bool:
    return connect is not None and "csv_recorder" in connect.client_id


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[ScriptedLesson]:
    """A recorder that is connected to a scripted broker."""
    with fake_broker() as broker, waiting_class(broker, tmp_path) as lesson:
        lesson.start()
        yield ScriptedLesson(broker, lesson)
        assert lesson.stop() == 0


def test_the_last_receipt_of_a_stream_that_ended_while_the_broker_was_away_comes(scripted: ScriptedLesson) -> None:
    lesson, broker = scripted.lesson, scripted.broker
    refused: list[Connect] = []

    def refuse(connect: Connect) -> Answer:
        if is_recorders(connect) and len(refused) < 4:
            refused.append(connect)
            return HANG_UP
        return ConnAck(0)

    broker.script.connect = refuse
    ended = stream_state(status=StreamStatus.OFFLINE, session=f"session-{GOOD}")
    scripted.deliver(
        (lesson.topic(GOOD), student_reading(GOOD, 0)),
        (lesson.topic(GOOD), student_reading(GOOD, 1)),
        (topics.stream_state(lesson.site, "CLASS", GOOD), ended),
    )
    gone = scripted.connection
    assert gone is not None
    gone.hang_up()
    lesson.wait(lambda: len(refused) == 4, "tries to connect")
    lesson.wait(lambda: scripted.receipts(GOOD)[-1:] == [2], "receipt")
    lesson.wait_for_rows(GOOD, [0, 1])


@pytest.mark.parametrize("reason", [0x97, 0x80])
def test_a_state_that_the_broker_refuses_comes_again(tmp_path: Path, reason: int) -> None:
    refused: list[Publish] = []

    def answer(publish: Publish) -> Answer:
        if "/csv_recorder/" in publish.topic and publish.topic.endswith("/state") and len(refused) < 2:
            refused.append(publish)
            return PubAck(publish.packet_id, reason)
        return PubAck(publish.packet_id)

    with fake_broker() as broker, waiting_class(broker, tmp_path) as lesson:
        broker.script.publish = answer
        lesson.start()
        lesson.wait(lambda: len(refused) == 2, "refusals")
        topic = refused[0].topic
        lesson.wait(lambda: len([each for each in broker.of(Publish) if each.topic == topic]) > 2, "state again")
        scripted = ScriptedLesson(broker, lesson)
        scripted.deliver((lesson.topic(GOOD), student_reading(GOOD, 0)))
        lesson.wait_for_rows(GOOD, [0])
        lesson.wait(lambda: scripted.receipts(GOOD) == [1], "receipt")
        assert lesson.stop() == 0

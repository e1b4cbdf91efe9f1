"""What takes the place of the broker's retained messages about a student."""

from typing import Any

from csv_recorder.broker_traces import changes_of
from csv_recorder.offline.forget_inbox import Student
from csv_recorder.offline.forget_texts import Traces
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.json import encode
from tests.support.messages import GOLDEN, stream_state

ANA = Student("Ana")
TRACES = Traces(["Ana", "5KXPVN"], ["5KXPVN"], ["5KXPVN/Ana"])


def state(group: str, source: str, name: str) -> tuple[str, bytes]:
    """Return the retained state of a stream."""
    return str(topics.stream_state("local", group, source)), encode(stream_state(name=name, code=group))


def test_states_of_the_student_go_and_those_of_namesakes_in_part_stay() -> None:
    gone = dict([state("5KXPVN", "Ana", "Ana"), state("B", "ana-2", "Ana"), state("5KXPVN", "Ana", "x")])
    unreadable = {"neuroone/v1/local/streams/B/x/state": b'{"name": "Ana"'}
    stay = dict([state("B", "Ana-Paula", "Ana Paula"), state("B", "Joao", "João")])
    assert changes_of(ANA, TRACES, gone | unreadable | stay) == dict.fromkeys(gone | unreadable, b"")


def test_a_lesson_of_others_goes_on_without_the_student() -> None:
    golden: Any = GOLDEN["lesson"]
    topic = str(topics.lesson("local", "B"))
    named = replace(golden, name="Reforço da ANA", revision=3)
    assert changes_of(ANA, TRACES, {topic: encode(named)}) == {topic: encode(replace(named, name=None, revision=4))}
    assert changes_of(ANA, TRACES, {topic: encode(golden)}) == {}
    own = str(topics.lesson("local", "5KXPVN"))
    assert changes_of(ANA, TRACES, {own: encode(golden)}) == {own: b""}

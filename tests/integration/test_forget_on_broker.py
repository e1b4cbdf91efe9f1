"""`csv-recorder forget --broker` removes a student from the broker's store and topics, too, after a killed recorder."""

import json
import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from csv_recorder import broker_traces, service
from csv_recorder.__main__ import main
from csv_recorder.settings import RunSettings
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.messages import EventType, Kind, LessonState, Removed, StreamStatus
from neuroone.logins import login_in
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.delivery import Delivery
from neuroone.service.lifecycle import Stop
from tests.support.brokers import Broker
from tests.support.bus_listener import client_on
from tests.support.closed_broker import closed_broker
from tests.support.messages import GOLDEN, reading, stream_state
from tests.support.waiting import wait_for

pytestmark = pytest.mark.broker
ANA, CODE = "Ana Íris", "5KXPVN"
SOURCE = topics.id_from_text(ANA)
JOAO = topics.reading("local", "ABC123", "joao")


def with_traces(folder: Path) -> list[Path]:
    """Return the files that have something of the student, in any spelling."""
    names = [unicodedata.normalize(form, ANA).encode() for form in ("NFC", "NFD")]
    traces = [*names, json.dumps(ANA).encode()[1:-1], CODE.encode(), SOURCE.encode()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(each in path.read_bytes() + os.fsencode(path) for each in traces)]


def publish(url: str, seqs: range) -> None:
    """Let a gateway publish readings and states of two students, a lesson that names one, and a marker."""
    event: Any = GOLDEN["group_event"]
    lesson: Any = GOLDEN["lesson"]
    with client_on(url, "ws_gateway") as gateway:
        for seq in seqs:
            of_ana = reading(seq=seq, name=ANA, code=CODE, session="session-a")
            gateway.publish(topics.reading("local", CODE, SOURCE), of_ana)
            gateway.publish(JOAO, reading(seq=seq, name="João", code="ABC123", session="session-j"))
        for group, source, name in ((CODE, SOURCE, ANA), ("ABC123", "joao", "João")):
            state = stream_state(status=StreamStatus.OFFLINE, name=name, code=group, kind=Kind.CLIENT)
            gateway.publish(topics.stream_state("local", group, source), state)
        marker = replace(event, id=f"m{seqs[0]}", type=EventType.MARKER, text=f"{ANA} chorou", source=None)
        gateway.publish(topics.event("local", "ABC123"), marker)
        gateway.publish(topics.lesson("local", CODE), lesson)
        removed = [{"group": CODE, "source": SOURCE}, {"group": "ABC123", "source": "joao"}]
        of_all = replace(lesson, name=f"Reforço {ANA}", removed=tuple(Removed(**each) for each in removed))
        gateway.publish(topics.lesson("local", "ABC123"), of_all)
        wait_for(lambda: not gateway.waiting, "acknowledgements")


@contextmanager
def run_open(start_broker: Callable[[str], Broker], folder: Path) -> Iterator[dict[str, str]]:
    """Run a Mosquitto that anybody may use; give the addresses of two programs."""
    broker = start_broker("mosquitto")
    try:
        yield dict.fromkeys(("ws_gateway", "csv_recorder"), broker.url)
    finally:
        broker.stop()


@contextmanager
def run_closed(start_broker: Callable[[str], Broker], folder: Path) -> Iterator[dict[str, str]]:
    """Run one with the access list of a server."""
    with closed_broker(folder) as (secrets, _):
        yield {name: login_in(secrets, name).url for name in ("ws_gateway", "csv_recorder")}


@pytest.mark.parametrize("run", [run_open, run_closed])
def test_nothing_of_a_student_stays_in_files_store_and_topics(
    run: Any, start_broker: Callable[[str], Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Readings wait for the stopped recorder, the states are kept; the other student loses nothing."""
    monkeypatch.setattr(broker_traces, "QUIET_S", 0.2)
    monkeypatch.setattr(service, "TICK_S", 0.1)
    root, store = tmp_path / "recordings", tmp_path / "store"
    root.mkdir()
    store.mkdir()
    with run(start_broker, store) as urls:
        url = urls["csv_recorder"]
        recorder = RunSettings(dir=root, broker=BrokerAddresses.parse(url))
        broker_traces.drain(recorder, Stop())
        publish(urls["ws_gateway"], range(5))
        assert main(["forget", "--dir", str(root), "--name", ANA, "--yes", "--broker", url]) == 0
        assert capfd.readouterr().out.count("on the broker neuroone/v1/local/") == 3
        assert with_traces(root) == []
        heard: list[Delivery] = []
        everything = {"subscriptions": {"#": 1}, "on_delivery": heard.append}
        with client_on(urls["ws_gateway"], "ws_gateway", **everything) as gateway:
            wait_for(lambda: {"joao", "main"} <= {each.topic.split("/")[-2] for each in heard}, "retained states")
            assert not [each.topic for each in heard if CODE in each.topic or ANA.encode() in each.payload]
            opened = [message for _, message in map(Delivery.open, heard)]
            [lesson] = [message for message in opened if isinstance(message, LessonState)]
            assert lesson.name is None
            assert lesson.began is not None
            assert [each.source for each in lesson.removed] == ["joao"]
            gateway.publish(JOAO, reading(seq=5, name="João", code="ABC123", session="session-j"))
            wait_for(lambda: not gateway.waiting, "acknowledgements")
        broker_traces.drain(recorder, Stop())
        assert (root / "João.csv").read_bytes().count(b"\n") == 7
    assert with_traces(tmp_path) == []
    [saved] = tmp_path.rglob("mosquitto.db")
    assert b"joao" in saved.read_bytes()


def test_a_broker_that_does_not_answer_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(broker_traces, "CONNECT_S", 0.5)
    assert main(["forget", "--dir", str(tmp_path), "--name", ANA, "--yes", "--broker", "mqtt://127.0.0.1:1"]) == 2
    assert "nothing was removed: --broker: it did not answer" in capfd.readouterr().err

"""`csv-recorder forget --spool` removes a student from what waits for the district."""

import json
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.__main__ import main
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.json import decode, encode
from neuroone.contract.messages import EventType, GroupEvent
from neuroone.forward.spool import FILE, Spool
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import GOLDEN, reading, stream_state

ANA = "Ana Íris"
SOURCE = topics.id_from_text(ANA)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool with messages of two students and about both."""
    spool = Spool(tmp_path / "spool" / FILE, 10**6)
    spool.open()
    event: Any = GOLDEN["group_event"]
    marker = replace(event, type=EventType.MARKER, text=f"{ANA} chorou", source=None)
    messages = [
        (topics.reading("local", "6B", SOURCE), reading(seq=0, name=ANA)),
        (topics.reading("local", "6B", "joao"), reading(seq=0, name="João")),
        (topics.stream_state("local", "6B", SOURCE), stream_state(name=ANA, code="6B")),
        (topics.event("local", "6B"), marker),
    ]
    spool.add(Delivery(str(topic), encode(message), False, 1, 1) for topic, message in messages)
    return spool


def forget(tmp_path: Path) -> int:
    (tmp_path / "recordings").mkdir(exist_ok=True)
    where = ["--dir", str(tmp_path / "recordings"), "--spool", str(tmp_path / "spool")]
    return main(["forget", *where, "--name", ANA, "--yes"])


def test_what_waits_of_a_student_never_reaches_the_district(tmp_path: Path, spool: Spool, capsys: Any) -> None:
    spool.close()
    assert forget(tmp_path) == 0
    assert "in the spool 3 messages" in capsys.readouterr().out
    traces = [ANA.encode(), json.dumps(ANA)[1:-1].encode(), SOURCE.encode()]
    assert not [file for file in (tmp_path / "spool").iterdir() if any(each in file.read_bytes() for each in traces)]
    spool.open()
    left = spool.after(0, 9)
    assert [(each.id, each.topic.split("/")[-2]) for each in left] == [(2, "joao"), (4, "6B")]
    assert decode(GroupEvent, left[1].payload).text == "*" * len(f"{ANA} chorou")
    assert (spool.length, spool.size_bytes > 0) == (2, True)
    spool.close()
    assert forget(tmp_path) == 1
    assert "there is nothing to remove" in capsys.readouterr().out


def test_a_forwarder_that_runs_is_left_alone(tmp_path: Path, spool: Spool, capsys: Any) -> None:
    assert forget(tmp_path) == 2
    assert "locked" in capsys.readouterr().err
    assert spool.length == 4
    spool.close()


def test_a_spool_that_is_not_there_is_named(tmp_path: Path, capsys: Any) -> None:
    assert forget(tmp_path) == 2
    assert f"there is no {tmp_path / 'spool' / FILE}" in capsys.readouterr().err

"""What the record button records, without a broker: lessons, and what it says where it cannot."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import EventType, LessonState, ServiceState, ServiceStatus
from tests.support.monitor_windows import Wearer, client_of, events_of, monitor_window

if TYPE_CHECKING:
    from monitor_gui.main_window import MonitorWindow

pytestmark = pytest.mark.gui


def add_recorder(window: "MonitorWindow") -> None:
    """Let a recorder be there."""
    state = ServiceState(status=ServiceStatus.ONLINE, version="1", epoch=1, connection=1)
    client_of(window).deliver(topics.service_state(window.feed.site, "csv_recorder", "r1"), state)


def test_a_lesson_of_the_shown_group_begins_and_ends_with_the_recording(qapp: object, tmp_path: Path) -> None:
    with monitor_window(tmp_path) as window:
        window.preferences.keep("folder", str(tmp_path))
        record = window.window_actions.by_name["record"]
        record.trigger()
        assert not record.isChecked()
        assert "Nothing can be recorded" in window.statusBar().currentMessage()
        add_recorder(window)
        Wearer(window, "h1", "Ana")
        window.refresh()
        record.trigger()
        assert record.isChecked()
        assert "no capture: the headset is not on a bridge of this window" in window.record_bar.said.text()
        client = client_of(window)
        window.close()
        first, last = events_of(window)
        assert (first.type, last.type) == (EventType.SESSION_START, EventType.SESSION_STOP)
        assert first.text == last.text
        assert [topic for topic, _ in client.published] == ["neuroone/v1/local/groups/TURMA/event"] * 2


@pytest.mark.parametrize("group", ["TURMA", topics.ALL])
def test_a_lesson_that_runs_goes_on_as_it_is(group: str, qapp: object, tmp_path: Path) -> None:
    with monitor_window(tmp_path) as window:
        add_recorder(window)
        lesson = LessonState(name="Biologia", began=datetime.now(UTC))
        client_of(window).deliver(topics.lesson(window.feed.site, group), lesson)
        Wearer(window, "h1", "Ana")
        window.refresh()
        window.record(True)
        assert "lesson Biologia" in window.record_bar.said.text()
        window.record(False)
        assert events_of(window) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(qapp: object, tmp_path: Path) -> None:
    with monitor_window(tmp_path) as window:
        (tmp_path / "file").write_text("x", encoding="ascii")
        window.preferences.keep("folder", str(tmp_path / "file"))
        window.bridge.run(["sleep", "60"], {})
        assert window.bridge._run.waitForStarted()
        window.record(True)
        assert "cannot be written" in window.statusBar().currentMessage()
        assert not window.record_bar.is_recording
        window.bridge._run.kill()

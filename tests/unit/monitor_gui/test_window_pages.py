"""The class view, the big numbers, the contact guide and the keys of the window."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from neuroone.contract.messages import EventType, StreamStatus
from tests.support.monitor_windows import Wearer, client_of, events_of, monitor_window

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication, QLabel, QWidget
    from pytestqt.qtbot import QtBot

    from monitor_gui.main_window import MonitorWindow

pytestmark = pytest.mark.gui


@pytest.fixture
def window(qapp: object, tmp_path: Path) -> Iterator["MonitorWindow"]:
    """A window without a broker."""
    with monitor_window(tmp_path) as window:
        yield window


def press(qtbot: "QtBot", window: "MonitorWindow", key: str) -> None:
    """Press a key as a person does: it goes to the widget with the focus."""
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QKeySequence
    from PySide6.QtWidgets import QApplication

    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    target = QApplication.focusWidget()
    qtbot.keyClick(target or window, Qt.Key(QKeySequence(key)[0].key()))  # type: ignore[index]


def said(window: "MonitorWindow") -> list[str]:
    """What a screen reader says of each tile."""
    return [
        str(window.pages.classroom.model.index(row).data()) for row in range(len(window.pages.classroom.model.tiles))
    ]


def test_the_class_view_shows_every_student_by_name(window: "MonitorWindow") -> None:
    """With numbers, contact, doubt and age; a click shows the student's plots."""
    zelia, ana = Wearer(window, "h1", "Zélia"), Wearer(window, "h2", "ana")
    Wearer(window, "h3", "Caio")
    window.show_page("class")
    assert "neuroone/v1/local/streams/+/+/reading" in client_of(window).subscriptions
    zelia.publish_reading(attention=61)
    ana.publish_reading(attention=33, poor_signal=200)
    window.refresh()
    assert said(window) == [
        "ana, Attention 33, Meditation 72, Off the skin",
        "Caio, Attention --, Meditation --, no reading yet",
        "Zélia, Attention 61, Meditation 72",
    ]
    assert "3 connected, 1 with good contact" in window.pages.classroom.state.text()
    zelia.publish_state(status=StreamStatus.OFFLINE)
    client_of(window).is_connected = False
    window.refresh()
    assert "broker away" in said(window)[2]
    client_of(window).is_connected = True
    window.refresh()
    assert "offline" in said(window)[2]
    page = window.pages.classroom
    page.search.setText("ZELIA")
    assert len(said(window)) == 1
    page.view.activated.emit(page.model.index(0))
    assert window.pages.name == "monitor"
    assert [str(panel.stream) for panel in window.plots_page.panels] == ["TURMA/h1"]


def test_the_class_view_chooses_a_class_and_draws_in_both_themes(window: "MonitorWindow") -> None:
    from monitor_gui import themes

    for number in range(30):
        wearer = Wearer(window, f"h{number}", f"Student {number:02}", "6B" if number % 2 else "7A")
        wearer.publish_state(code="6B" if number % 2 else "7A")
        window.feed.watch_class()
        for second in range(20, 0, -1):
            wearer.publish_reading(second, attention=1 + number * 3)
    window.show_page("class")
    page = window.pages.classroom
    assert [page.groups.itemText(row) for row in range(page.groups.count())] == ["Everybody", "6B", "7A"]
    pictures = []
    for theme in ("light", "dark"):
        themes.choose(theme)
        pictures.append(page.view.grab().toImage())
    assert pictures[0] != pictures[1]
    page.groups.setCurrentIndex(1)
    assert len(said(window)) == 15


def test_pause_holds_every_page(window: "MonitorWindow") -> None:
    """Class view, big numbers and contact guide show the moment of the pause, also when opened later."""
    wearer = Wearer(window, "h1", "Ana")
    window.show_streams(*window.feed.states())
    window.show_page("class")
    wearer.publish_reading(attention=61)
    window.refresh()
    window.show_page("monitor")
    window.pause(True)
    wearer.publish_reading(-1, attention=12, poor_signal=200)
    for page in ("class", "contact", "full_screen"):
        window.show_page(page)
        window.refresh()
    assert "Attention 61" in said(window)[0]
    assert "Paused" in window.pages.classroom.state.text()
    numbers = window.pages.numbers
    assert numbers.streams[0].numbers["attention"].text() == "61"
    assert "Paused" in numbers.state.text()
    assert window.pages.contact.contact.text.text() == "Good signal"
    window.pause(False)
    window.show_page("class")
    assert "Attention 12" in said(window)[0]


def test_a_view_that_stands_still_gets_its_spectra_once_scipy_is_loaded(
    window: "MonitorWindow", monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reading comes that would have them drawn: the view is paused, or a recording is over."""
    from monitor_gui.signal import scipy_loading

    scipy_loading._loading().join()
    monkeypatch.setattr(scipy_loading, "is_loaded", lambda: False)
    ana = Wearer(window, "h1", "Ana")
    window.refresh()
    ana.publish_reading()
    ana.publish_raw()
    window.show_view(window.view.signal_only(True))
    window.pause(True)
    panel = window.plots_page.panels[0]
    notes = [panel.signal.spectrum.note, panel.signal.spectrogram.note]
    assert all("being loaded" in note.text() for note in notes)
    monkeypatch.undo()
    window.draw()
    assert not any("being loaded" in note.text() for note in notes)


def test_a_picture_in_svg_has_the_numbers_at_the_axes_as_text(
    window: "MonitorWindow", qapp: "QApplication", tmp_path: Path
) -> None:
    Wearer(window, "h1", "Ana").publish_reading()
    window.refresh()
    qapp.processEvents()
    for name in ("first.svg", "second.svg"):
        assert window.save_picture(tmp_path / name)
        assert (tmp_path / name).read_text().count("<text") > 70  # of which 42 are at the axes


def test_f11_shows_big_numbers_on_the_full_screen(window: "MonitorWindow", qtbot: "QtBot") -> None:
    """F11 again or Esc leads back to the page before; keys work without the menus."""
    wearer = Wearer(window, "h1", "Ana")
    window.show_streams(*window.feed.states())
    wearer.publish_reading(attention=61, poor_signal=0)
    window.show_page("class")
    for leave in ("F11", "Esc"):
        press(qtbot, window, "F11")
        assert window.isFullScreen()
        assert not window.menuBar().isVisible()
        numbers = window.pages.numbers
        assert window.pages.currentWidget() is numbers
        assert numbers.streams[0].numbers["attention"].text() == "61"
        window.resize(800, 800)
        label = numbers.streams[0].numbers["attention"]
        qtbot.waitUntil(partial(is_large, label))
        press(qtbot, window, "5")
        assert events_of(window)[-1].text == "5"
        press(qtbot, window, leave)
        assert not window.isFullScreen()
        assert window.menuBar().isVisible()
        assert window.pages.name == "class"


def test_keys_1_to_9_mark_at_once_with_the_notes_of_the_preferences(window: "MonitorWindow", qtbot: "QtBot") -> None:
    """Without a dialog; a key without a note marks its digit. In a text field digits are text."""
    press(qtbot, window, "3")
    assert events_of(window) == []
    assert "No stream" in window.statusBar().currentMessage()
    Wearer(window, "h1", "Ana").publish_reading()
    window.show_streams(*window.feed.states())
    window.show_page("shortcuts")
    edit = window.shortcuts_page.marks["1"]
    edit.setFocus()
    qtbot.keyClicks(edit, "2 olhos & 1 nariz")
    assert events_of(window) == []
    window.show_page("monitor")
    for key in ("1", "9"):
        press(qtbot, window, key)
    assert [(each.text, each.type, each.source) for each in events_of(window)] == [
        ("2 olhos & 1 nariz", EventType.MARKER, "h1"),
        ("9", EventType.MARKER, "h1"),
    ]
    assert "9" in window.statusBar().currentMessage()
    assert window.preferences.marks()["1"] == "2 olhos & 1 nariz"
    assert window.window_actions.by_name["mark 1"].text() == "2 olhos && 1 nariz"


def test_letters_are_commands_until_somebody_types_in_a_field(window: "MonitorWindow", qtbot: "QtBot") -> None:
    """Also right after the start, and after a stream was chosen in the toolbar."""
    Wearer(window, "h1", "Ana")
    Wearer(window, "h2", "Bia")
    window.show_streams(*window.feed.states())
    press(qtbot, window, "P")
    assert window.view.paused_at_s is not None
    press(qtbot, window, "P")
    window.toolbar.streams.setFocus()
    window.toolbar.streams.setCurrentIndex(1)
    window.toolbar.streams.activated.emit(1)
    press(qtbot, window, "P")
    assert window.view.paused_at_s is not None


def test_the_selectors_search_names_without_accents(window: "MonitorWindow", qtbot: "QtBot") -> None:
    for source, name in (("h1", "Ana Souza"), ("h2", "Zélia Ramos"), ("h3", "Bia Lima")):
        Wearer(window, source, name)
    window.refresh()
    selector = window.toolbar.streams
    edit, completer = selector.lineEdit(), selector.completer()
    assert edit is not None
    assert completer is not None
    for typed in ("zelia", "ZÉL", "ramos"):
        edit.setFocus()
        edit.selectAll()
        qtbot.keyClicks(edit, typed)
        window.refresh()  # does not take away what is being typed
        assert edit.text() == typed
        found = completer.completionModel()
        assert [found.index(row, 0).data() for row in range(found.rowCount())] == ["Zélia Ramos (TURMA/h2) - online"]
    edit.editingFinished.emit()
    assert selector.currentText() == "Ana Souza (TURMA/h1) - online"


def test_the_contact_guide_shows_drawing_steps_and_contact(window: "MonitorWindow") -> None:
    wearer = Wearer(window, "h1", "Ana")
    window.show_streams(*window.feed.states())
    window.show_page("contact")
    guide = window.pages.contact
    assert guide.drawing.renderer().isValid()
    for poor, words in ((26, "Adjusting"), (0, "Good signal"), (200, "Off the skin")):
        wearer.publish_reading(poor_signal=poor)
        window.refresh()
        assert guide.contact.text.text() == words
    assert "Ana" in guide.name.text()


@pytest.mark.parametrize("language", ["en", "pt-BR"])
def test_every_control_has_an_accessible_name(language: str, qapp: object, tmp_path: Path) -> None:
    """Every widget that takes the focus or shows live values tells a screen reader what it is, on every page."""
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QAccessible
    from PySide6.QtWidgets import QAbstractScrollArea, QComboBox, QHeaderView, QLineEdit, QWidget

    from monitor_gui.settings import PAGES

    def is_part(widget: QWidget) -> bool:
        """Return True for a part of Qt's own widgets, which speaks through them."""
        parent = widget.parentWidget()
        is_viewport = isinstance(parent, QAbstractScrollArea) and parent.viewport() is widget
        is_popup = parent is not None and isinstance(parent.parentWidget(), QComboBox)
        return widget.objectName().startswith("qt_") or is_viewport or is_popup or isinstance(widget, QHeaderView)

    with monitor_window(tmp_path, language) as window:
        for source, name in (("h1", "Ana"), ("h2", "Bia")):
            Wearer(window, source, name).publish_reading()
        window.show_streams(*window.feed.states())
        for page in PAGES:
            window.show_page(page)
        window.ask_for_marker()
        nameless = []
        checked = 0
        for widget in window.findChildren(QWidget):
            if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and not is_part(widget):
                parent = widget.parentWidget()
                is_edit = isinstance(widget, QLineEdit) and isinstance(parent, QComboBox)  # it speaks through the box
                interface = QAccessible.queryAccessibleInterface(parent if is_edit and parent is not None else widget)
                checked += 1
                if not interface.text(QAccessible.Text.Name).strip():
                    nameless.append(describe(widget))
        assert nameless == []
        assert checked > 40


def is_large(label: "QLabel") -> bool:
    """Return True if a label is readable from the last row."""
    return label.font().pixelSize() > 100


def describe(widget: "QWidget") -> str:
    """Say which widget it is, from the outside in."""
    parts = []
    at: QWidget | None = widget
    while at is not None:
        parts.append(type(at).__name__)
        at = at.parentWidget()
    return " in ".join(parts)

"""The actions of the window: their names, keys and menus."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from monitor_gui.settings import THEMES
from monitor_gui.texts import translated
from monitor_gui.view import Bars, Scale, View
from neuroone.service.language import LANGUAGES

KEYS: Final = {
    "monitor": "F5",
    "connection": "F6",
    "class": "F7",
    "contact": "F2",
    "full_screen": "F11",
    "shortcuts": "? F1",
    "open": "Ctrl+O",
    "open_folder": "Ctrl+Shift+O",
    "pause": "P",
    "back": "Ctrl+Left",
    "forth": "Ctrl+Right",
    "marker": "M",
    "record": "R",
    "scale": "A",
    "bars": "B",
    "signal": "S",
    "picture": "Ctrl+S",
    "table": "Ctrl+E",
    "quit": "Ctrl+Q",
}
"""Space, arrows and letters with Alt stay with the widgets, for people who work without a mouse."""
MARKS: Final = tuple("123456789")
"""Keys that mark at once; their texts are preferences."""
SWITCHES: Final = ("pause", "record", "scale", "bars", "signal", "full_screen")
MENUS: Final = {
    "monitor": (
        "monitor",
        "class",
        "connection",
        "open",
        "open_folder",
        "record",
        "marker",
        "picture",
        "table",
        "quit",
    ),
    "view": ("full_screen", "pause", "back", "forth", "scale", "bars", "signal"),
    "help": ("contact", "shortcuts"),
    "marks": (),
}
CHOICES: Final = {"theme": THEMES, "language": LANGUAGES}
"""Menus in the view menu, in which one value is chosen."""


class WindowActions(QObject):
    """The actions, by name, and their menus.

    A handler is called with True when its action is switched on; that of a choice with the chosen value, that of a
    mark with its key.
    """

    def __init__(self, window: QMainWindow, handlers: Mapping[str, Callable[[Any], object]]) -> None:
        super().__init__(window)
        self.by_name: dict[str, QAction] = {}
        self.menus = {name: translated(QMenu(window), title=f"menu.{name}") for name in (*MENUS, *CHOICES)}
        for name, keys in KEYS.items():
            action = self._add(name, QAction(window, checkable=name in SWITCHES))
            action.setShortcuts([QKeySequence(key) for key in keys.split()])
            action.triggered.connect(handlers[name])
        for mark in MARKS:
            action = self.by_name[f"mark {mark}"] = QAction(window)
            action.setShortcut(QKeySequence(mark))
            action.triggered.connect(lambda _, mark=mark: handlers["mark"](mark))
            self.menus["marks"].addAction(action)
        for menu, names in MENUS.items():
            self.menus[menu].addActions([self.by_name[name] for name in names])
            window.menuBar().addMenu(self.menus[menu])
        window.addActions(list(self.by_name.values()))  # so that the keys work while the menus are hidden
        for choice, values in CHOICES.items():
            self.menus["view"].addMenu(self.menus[choice])
            group = QActionGroup(window)
            for value in values:
                action = self._add(f"{choice} {value}", QAction(window, checkable=True))
                action.triggered.connect(lambda _, choice=choice, value=value: handlers[choice](value))
                group.addAction(action)
                self.menus[choice].addAction(action)

    def _add(self, name: str, action: QAction) -> QAction:
        self.by_name[name] = translated(action, text=f"action.{name}")
        return action

    def show_view(self, view: View) -> None:
        """Check and enable the actions that belong to this view."""
        is_paused = view.paused_at_s is not None
        self.by_name["pause"].setChecked(is_paused)
        self.by_name["scale"].setChecked(view.scale is Scale.AUTO)
        self.by_name["bars"].setChecked(view.bars is Bars.RELATIVE)
        self.by_name["signal"].setChecked(view.is_signal_only)
        for name in ("back", "forth"):
            self.by_name[name].setEnabled(is_paused)

    def show_marks(self, notes: Mapping[str, str]) -> None:
        """Show in the menu what each key from 1 to 9 marks."""
        for mark in MARKS:
            self.by_name[f"mark {mark}"].setText(notes[mark].replace("&", "&&"))

    def shortcuts(self) -> list[tuple[str, str]]:
        """Return what each key does, as (words, key)."""
        native = QKeySequence.SequenceFormat.NativeText
        actions = [self.by_name[name] for name in KEYS]
        return [(each.text().replace("&", "").rstrip("."), each.shortcut().toString(native)) for each in actions]

"""The actions of the window: their names, keys and menus."""

from collections.abc import Callable, Mapping
from typing import Final

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from monitor_gui.settings import LANGUAGES, THEMES
from monitor_gui.view import Bars, Scale, View

KEYS: Final = {
    "monitor": "F5",
    "connection": "F6",
    "shortcuts": "? F1",
    "pause": "P",
    "back": "Ctrl+Left",
    "forth": "Ctrl+Right",
    "marker": "M",
    "scale": "A",
    "bars": "B",
    "picture": "Ctrl+S",
    "table": "Ctrl+E",
    "quit": "Ctrl+Q",
}
"""Space, arrows and letters with Alt stay with the widgets, for people who work without a mouse."""
SWITCHES: Final = ("pause", "scale", "bars")
CHOICES: Final = {"theme": THEMES, "language": LANGUAGES}
MENUS: Final = {
    "monitor": ("monitor", "connection", "marker", "picture", "table", "quit"),
    "view": ("pause", "back", "forth", "scale", "bars"),
    "theme": tuple(f"theme {theme}" for theme in THEMES),
    "language": tuple(f"language {language}" for language in LANGUAGES),
    "help": ("shortcuts",),
}


class WindowActions(QObject):
    """The actions, by name, and their menus. A handler is called with True when its action is switched on."""

    def __init__(self, window: QMainWindow, handlers: Mapping[str, Callable[[bool], object]]) -> None:
        super().__init__(window)
        self.by_name: dict[str, QAction] = {}
        self.groups = {choice: QActionGroup(window) for choice in CHOICES}
        self.menus = {name: QMenu(window) for name in MENUS}
        for name, keys in KEYS.items():
            action = self.by_name[name] = QAction(window, checkable=name in SWITCHES)
            action.setShortcuts([QKeySequence(key) for key in keys.split()])
            action.triggered.connect(handlers[name])
        for choice, values in CHOICES.items():
            for value in values:
                action = self.by_name[f"{choice} {value}"] = QAction(window, checkable=True)
                action.setData(value)
                self.groups[choice].addAction(action)
        for menu, names in MENUS.items():
            self.menus[menu].addActions([self.by_name[name] for name in names])
        for menu in ("monitor", "view", "help"):
            window.menuBar().addMenu(self.menus[menu])
        for menu in ("theme", "language"):
            self.menus["view"].addMenu(self.menus[menu])

    def show_view(self, view: View) -> None:
        """Check and enable the actions that belong to this view."""
        is_paused = view.paused_at_s is not None
        self.by_name["pause"].setChecked(is_paused)
        self.by_name["scale"].setChecked(view.scale is Scale.AUTO)
        self.by_name["bars"].setChecked(view.bars is Bars.RELATIVE)
        for name in ("back", "forth"):
            self.by_name[name].setEnabled(is_paused)

    def shortcuts(self) -> list[tuple[str, str]]:
        """Return what each key does, as (words, key)."""
        native = QKeySequence.SequenceFormat.NativeText
        actions = [self.by_name[name] for name in KEYS]
        return [(each.text().replace("&", "").rstrip("."), each.shortcut().toString(native)) for each in actions]

    def retranslate(self) -> None:
        """Write every text in the current language."""
        texts = {
            "monitor": self.tr("&Plots"),
            "connection": self.tr("&Connection"),
            "shortcuts": self.tr("&Shortcuts"),
            "pause": self.tr("&Pause"),
            "back": self.tr("Scroll &back"),
            "forth": self.tr("Scroll &forth"),
            "marker": self.tr("&Marker..."),
            "scale": self.tr("&Automatic scale"),
            "bars": self.tr("&Relative bars (%)"),
            "picture": self.tr("Save a p&icture..."),
            "table": self.tr("Save a &table (CSV)..."),
            "quit": self.tr("&Quit"),
            "theme system": self.tr("As the &system"),
            "theme light": self.tr("&Light"),
            "theme dark": self.tr("&Dark"),
            "language pt_BR": "&Português (Brasil)",
            "language en": "&English",
        }
        for name, action in self.by_name.items():
            action.setText(texts[name])
        self.menus["monitor"].setTitle(self.tr("&Monitor"))
        self.menus["view"].setTitle(self.tr("&View"))
        self.menus["theme"].setTitle(self.tr("&Theme"))
        self.menus["language"].setTitle(self.tr("&Language"))
        self.menus["help"].setTitle(self.tr("&Help"))

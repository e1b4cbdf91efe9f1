"""The row of choices for the raw trace and its spectrum: window, gain, filters, unit."""

from typing import Any, Final

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from monitor_gui import texts
from monitor_gui.layouts import FlowLayout
from monitor_gui.signal.filters import MAINS_HZ, PASSBANDS_HZ
from monitor_gui.texts import translated
from monitor_gui.view import GAINS_UV, RAW_WINDOWS_S, SPECTRA, Density, View

CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "raw_window_s": RAW_WINDOWS_S,
    "gain_uv": GAINS_UV,
    "mains_hz": MAINS_HZ,
    "passband_hz": PASSBANDS_HZ,
    "density": tuple(Density),
}
"""The values to choose for each of these fields of a `View`."""
SPACING_PX: Final = 12


class SignalBar(QWidget):
    """A selector for each of CHOICES. ``chosen`` carries the field and its new value."""

    chosen = Signal(dict)

    def __init__(self) -> None:
        super().__init__()
        self.combos: dict[str, QComboBox] = {}
        row = FlowLayout(SPACING_PX)
        self.setLayout(row)
        for field, values in CHOICES.items():
            keys = {"toolTip": f"about.{field}", "accessibleName": f"raw.{field}"}
            combo = self.combos[field] = translated(QComboBox(), **keys)
            label = translated(QLabel(), text=f"raw.{field}", toolTip=f"about.{field}")
            label.setBuddy(combo)
            for value in values:
                combo.addItem(words_of(field, value), value)
            combo.activated.connect(lambda at, field=field: self.chosen.emit({field: CHOICES[field][at]}))
            pair = QWidget()
            together = QHBoxLayout(pair)
            together.setContentsMargins(0, 0, 0, 0)
            together.addWidget(label)
            together.addWidget(combo)
            row.addWidget(pair)

    def show_view(self, view: View) -> None:
        """Choose the view's values; hide the row while nothing of raw samples is shown."""
        self.setVisible(not view.hidden.issuperset(("raw", *SPECTRA)))
        for field, combo in self.combos.items():
            with QSignalBlocker(combo):
                combo.setCurrentIndex(CHOICES[field].index(getattr(view, field)))

    def retranslate(self) -> None:
        """Write the values in the current language."""
        for field, combo in self.combos.items():
            for at, value in enumerate(CHOICES[field]):
                combo.setItemText(at, words_of(field, value))


def words_of(field: str, value: Any) -> str:
    """Return a value of CHOICES in words."""
    if field == "density":
        return texts.of(f"axis.{value}")
    if field == "raw_window_s":
        return f"{value} s"
    if field == "gain_uv":
        return f"± {value} µV" if value else texts.of("raw.automatic")
    if field == "mains_hz":
        return f"{value} Hz" if value else texts.of("raw.none")
    low_hz, high_hz = value
    if not low_hz:
        return texts.of("raw.none")
    return texts.of("raw.from_to" if high_hz else "raw.from").format(f"{low_hz:g}", f"{high_hz:g}")

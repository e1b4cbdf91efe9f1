"""Colours: the palette of the widgets, and of the lines on light and dark ground."""

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette

LIGHT: Final = {
    "ground": "#ffffff",
    "ink": "#1b1b1b",
    "faint": "#767676",
    "grid": "#e3e3e3",
    "poor": "#b0000020",
    "delta": "#0072b2",
    "theta": "#b34700",
    "low_alpha": "#007a5a",
    "high_alpha": "#4c9a00",
    "low_beta": "#a3157f",
    "high_beta": "#d81b60",
    "low_gamma": "#6a3fc4",
    "mid_gamma": "#7a5c00",
    "attention": "#c62828",
    "meditation": "#1565c0",
    "raw": "#2e5e2e",
    "good": "#1b7f3b",
    "adjusting": "#a86200",
    "off": "#b3261e",
    "unknown": "#6b6b6b",
}
"""At least 3:1 against white (WCAG 2.2, 1.4.11)."""
DARK: Final = {
    "ground": "#161a1d",
    "ink": "#ececec",
    "faint": "#8b9196",
    "grid": "#31373c",
    "poor": "#ff525230",
    "delta": "#56b4e9",
    "theta": "#ff9e4a",
    "low_alpha": "#2ecc9b",
    "high_alpha": "#a6d854",
    "low_beta": "#f48fd0",
    "high_beta": "#ff6f91",
    "low_gamma": "#b79cff",
    "mid_gamma": "#f0e442",
    "attention": "#ff7b72",
    "meditation": "#79b8ff",
    "raw": "#8fd694",
    "good": "#5fd38d",
    "adjusting": "#ffb74d",
    "off": "#ff8a80",
    "unknown": "#a0a6ab",
}
"""At least 3:1 against the dark ground."""


def choose(theme: str) -> None:
    """Use the theme "light", "dark" or "system" in the whole program."""
    schemes = {"light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}
    QGuiApplication.styleHints().setColorScheme(schemes.get(theme, Qt.ColorScheme.Unknown))
    if theme == "system":
        QGuiApplication.setPalette(QPalette())
    else:  # where the platform has no colour schemes of its own, the palette alone makes the theme
        QGuiApplication.setPalette(_palette(*(("#2f363b", DARK) if theme == "dark" else ("#f3f3f1", LIGHT))))


def is_dark() -> bool:
    """Whether widgets are light on dark at this moment."""
    return QGuiApplication.palette().window().color().lightness() < 128


def colours() -> dict[str, str]:
    """The colours that go with the theme of the moment."""
    return DARK if is_dark() else LIGHT


def _palette(window: str, colours: dict[str, str]) -> QPalette:
    palette = QPalette(QColor(window))
    role = QPalette.ColorRole
    for each in (role.WindowText, role.Text, role.ButtonText, role.ToolTipText):
        palette.setColor(each, QColor(colours["ink"]))
    palette.setColor(role.Base, QColor(colours["ground"]))
    palette.setColor(role.ToolTipBase, QColor(colours["ground"]))
    palette.setColor(role.PlaceholderText, QColor(colours["faint"]))
    palette.setColor(role.Highlight, QColor("#2f6fb3"))
    palette.setColor(role.HighlightedText, QColor("#ffffff"))
    for each in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, each, QColor(colours["faint"]))
    return palette

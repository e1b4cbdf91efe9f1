"""Colours of the widgets and of the lines, on light and on dark ground."""

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette

COLOURS: Final = {
    "ground": ("#ffffff", "#161a1d"),
    "ink": ("#1b1b1b", "#ececec"),
    "faint": ("#767676", "#8b9196"),
    "grid": ("#e3e3e3", "#31373c"),
    "shade": ("#b0000020", "#ff525230"),
    "delta": ("#0072b2", "#56b4e9"),
    "theta": ("#b34700", "#ff9e4a"),
    "low_alpha": ("#007a5a", "#2ecc9b"),
    "high_alpha": ("#4c9a00", "#a6d854"),
    "low_beta": ("#a3157f", "#f48fd0"),
    "high_beta": ("#d81b60", "#ff6f91"),
    "low_gamma": ("#6a3fc4", "#b79cff"),
    "mid_gamma": ("#7a5c00", "#f0e442"),
    "attention": ("#c62828", "#ff7b72"),
    "meditation": ("#1565c0", "#79b8ff"),
    "raw": ("#2e5e2e", "#8fd694"),
    "spectrum": ("#2e5e2e", "#8fd694"),
    "spectrogram": ("#3b528b", "#9bb4f0"),
    "blink": ("#a3157f", "#f48fd0"),
    "good": ("#1b7f3b", "#5fd38d"),
    "adjusting": ("#a86200", "#ffb74d"),
    "poor": ("#b3261e", "#ff8a80"),
    "off": ("#b3261e", "#ff8a80"),
    "unknown": ("#6b6b6b", "#a0a6ab"),
}
"""Colours on light and on dark ground. Lines and text have at least 3:1 to their ground (WCAG 2.2, 1.4.11)."""
LIGHT: Final = {name: light for name, (light, _) in COLOURS.items()}
DARK: Final = {name: dark for name, (_, dark) in COLOURS.items()}


def choose(theme: str) -> None:
    """Use the theme "light", "dark" or "system" in the whole program."""
    schemes = {"light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}
    QGuiApplication.styleHints().setColorScheme(schemes.get(theme, Qt.ColorScheme.Unknown))
    if theme == "system":
        QGuiApplication.setPalette(QPalette())
    else:  # on a platform without colour schemes the palette alone makes the theme
        QGuiApplication.setPalette(_palette(*(("#2f363b", DARK) if theme == "dark" else ("#f3f3f1", LIGHT))))


def is_dark() -> bool:
    """Return True while the widgets are light on dark."""
    return QGuiApplication.palette().window().color().lightness() < 128


def colours() -> dict[str, str]:
    """Return the colours of the current theme."""
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

"""The words for what the contract names: lines, contacts, statuses, links and hints."""

from collections.abc import Mapping
from typing import Final

from PySide6.QtCore import QT_TRANSLATE_NOOP, QCoreApplication, QLocale

from monitor_gui.view import Signal
from neuroone.contract import hints
from neuroone.contract.messages import Link, StreamState, StreamStatus

TEXTS: Final[Mapping[str, object]] = {
    "delta": QT_TRANSLATE_NOOP("texts", "Delta"),
    "theta": QT_TRANSLATE_NOOP("texts", "Theta"),
    "low_alpha": QT_TRANSLATE_NOOP("texts", "Low alpha"),
    "high_alpha": QT_TRANSLATE_NOOP("texts", "High alpha"),
    "low_beta": QT_TRANSLATE_NOOP("texts", "Low beta"),
    "high_beta": QT_TRANSLATE_NOOP("texts", "High beta"),
    "low_gamma": QT_TRANSLATE_NOOP("texts", "Low gamma"),
    "mid_gamma": QT_TRANSLATE_NOOP("texts", "Mid gamma"),
    "attention": QT_TRANSLATE_NOOP("texts", "Attention"),
    "meditation": QT_TRANSLATE_NOOP("texts", "Meditation"),
    "raw": QT_TRANSLATE_NOOP("texts", "Raw trace"),
    Signal.UNKNOWN: QT_TRANSLATE_NOOP("texts", "Signal not reported"),
    Signal.GOOD: QT_TRANSLATE_NOOP("texts", "Good signal"),
    Signal.ADJUSTING: QT_TRANSLATE_NOOP("texts", "Adjusting"),
    Signal.POOR: QT_TRANSLATE_NOOP("texts", "Poor signal"),
    Signal.OFF: QT_TRANSLATE_NOOP("texts", "Off the skin"),
    StreamStatus.ONLINE: QT_TRANSLATE_NOOP("texts", "online"),
    StreamStatus.STALE: QT_TRANSLATE_NOOP("texts", "stale"),
    StreamStatus.OFFLINE: QT_TRANSLATE_NOOP("texts", "offline"),
    Link.CONNECTED: QT_TRANSLATE_NOOP("texts", "connected"),
    Link.SEARCHING: QT_TRANSLATE_NOOP("texts", "searching for a port"),
    Link.NO_PORT: QT_TRANSLATE_NOOP("texts", "no port found"),
    Link.NO_PERMISSION: QT_TRANSLATE_NOOP("texts", "no permission for the port"),
    Link.PORT_BUSY: QT_TRANSLATE_NOOP("texts", "another program uses the port"),
    Link.UNPLUGGED: QT_TRANSLATE_NOOP("texts", "unplugged"),
    Link.SILENT: QT_TRANSLATE_NOOP("texts", "the port is silent"),
    Link.NO_FRAMES: QT_TRANSLATE_NOOP("texts", "no headset speaks on the port"),
    Link.STANDBY: QT_TRANSLATE_NOOP("texts", "dongle in standby"),
    Link.SCANNING: QT_TRANSLATE_NOOP("texts", "dongle looks for a headset"),
    Link.NO_HEADSET: QT_TRANSLATE_NOOP("texts", "dongle found no headset"),
    Link.ENDED: QT_TRANSLATE_NOOP("texts", "ended"),
}


def of(name: str) -> str:
    """Return the words for a line, a `Signal`, a `StreamStatus` or a `Link` in the current language."""
    return QCoreApplication.translate("texts", str(TEXTS[name]))


def of_hint(state: StreamState) -> str | None:
    """Return what to do about the link to the headset; None if there is nothing to do."""
    return hints.of_state(state, QLocale().name())

"""The words for what the contract names. Every call looks them up in the current language."""

from PySide6.QtCore import QCoreApplication, QLocale

from monitor_gui.view import Signal
from neuroone.contract import hints
from neuroone.contract.messages import Link, StreamState, StreamStatus

translate = QCoreApplication.translate


def of_line(line: str) -> str:
    """Name a line of the plots."""
    return {
        "delta": translate("texts", "Delta"),
        "theta": translate("texts", "Theta"),
        "low_alpha": translate("texts", "Low alpha"),
        "high_alpha": translate("texts", "High alpha"),
        "low_beta": translate("texts", "Low beta"),
        "high_beta": translate("texts", "High beta"),
        "low_gamma": translate("texts", "Low gamma"),
        "mid_gamma": translate("texts", "Mid gamma"),
        "attention": translate("texts", "Attention"),
        "meditation": translate("texts", "Meditation"),
        "raw": translate("texts", "Raw trace"),
    }[line]


def of_signal(signal: Signal) -> str:
    """Describe the contact of the headset."""
    return {
        Signal.UNKNOWN: translate("texts", "Signal not reported"),
        Signal.GOOD: translate("texts", "Good signal"),
        Signal.ADJUSTING: translate("texts", "Adjusting"),
        Signal.POOR: translate("texts", "Poor signal"),
        Signal.OFF: translate("texts", "Off the skin"),
    }[signal]


def of_status(status: StreamStatus) -> str:
    """Name the status of a stream."""
    return {
        StreamStatus.ONLINE: translate("texts", "online"),
        StreamStatus.STALE: translate("texts", "stale"),
        StreamStatus.OFFLINE: translate("texts", "offline"),
    }[status]


def of_link(link: Link) -> str:
    """Describe the link to the headset."""
    return {
        Link.CONNECTED: translate("texts", "connected"),
        Link.SEARCHING: translate("texts", "searching for a port"),
        Link.NO_PORT: translate("texts", "no port found"),
        Link.NO_PERMISSION: translate("texts", "no permission for the port"),
        Link.PORT_BUSY: translate("texts", "another program uses the port"),
        Link.UNPLUGGED: translate("texts", "unplugged"),
        Link.SILENT: translate("texts", "the port is silent"),
        Link.NO_FRAMES: translate("texts", "no headset speaks on the port"),
        Link.STANDBY: translate("texts", "dongle in standby"),
        Link.SCANNING: translate("texts", "dongle looks for a headset"),
        Link.NO_HEADSET: translate("texts", "dongle found no headset"),
        Link.ENDED: translate("texts", "ended"),
    }[link]


def of_hint(state: StreamState) -> str | None:
    """Return what to do about the link to the headset; None if there is nothing to do."""
    return hints.of_state(state, QLocale().name())

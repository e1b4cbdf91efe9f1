"""The words for what the contract names. Every call looks them up in the language of the moment."""

from PySide6.QtCore import QCoreApplication

from monitor_gui.view import Signal
from neuroone.contract.messages import Link, StreamStatus

translate = QCoreApplication.translate


def of_line(line: str) -> str:
    """A line of the plots."""
    return {
        "delta": translate("words", "Delta"),
        "theta": translate("words", "Theta"),
        "low_alpha": translate("words", "Low alpha"),
        "high_alpha": translate("words", "High alpha"),
        "low_beta": translate("words", "Low beta"),
        "high_beta": translate("words", "High beta"),
        "low_gamma": translate("words", "Low gamma"),
        "mid_gamma": translate("words", "Mid gamma"),
        "attention": translate("words", "Attention"),
        "meditation": translate("words", "Meditation"),
        "raw": translate("words", "Raw trace"),
    }[line]


def of_signal(signal: Signal) -> str:
    """How the headset sits."""
    return {
        Signal.UNKNOWN: translate("words", "Signal not reported"),
        Signal.GOOD: translate("words", "Good signal"),
        Signal.ADJUSTING: translate("words", "Adjusting"),
        Signal.POOR: translate("words", "Poor signal"),
        Signal.OFF: translate("words", "Off the skin"),
    }[signal]


def of_status(status: StreamStatus) -> str:
    """Whether the stream is there."""
    return {
        StreamStatus.ONLINE: translate("words", "online"),
        StreamStatus.STALE: translate("words", "stale"),
        StreamStatus.OFFLINE: translate("words", "offline"),
    }[status]


def of_link(link: Link) -> str:
    """What the link to the headset is doing."""
    return {
        Link.CONNECTED: translate("words", "connected"),
        Link.SEARCHING: translate("words", "searching for a port"),
        Link.NO_PORT: translate("words", "no port found"),
        Link.NO_PERMISSION: translate("words", "no permission for the port"),
        Link.PORT_BUSY: translate("words", "another program uses the port"),
        Link.UNPLUGGED: translate("words", "unplugged"),
        Link.SILENT: translate("words", "the port is silent"),
        Link.NO_FRAMES: translate("words", "no headset speaks on the port"),
        Link.STANDBY: translate("words", "dongle in standby"),
        Link.SCANNING: translate("words", "dongle looks for a headset"),
        Link.NO_HEADSET: translate("words", "dongle found no headset"),
        Link.ENDED: translate("words", "ended"),
    }[link]

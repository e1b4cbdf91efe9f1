"""The words for what the contract names. Every call looks them up in the language of the moment."""

from PySide6.QtCore import QCoreApplication

from monitor_gui.view import Signal
from neuroone.contract.messages import Link, StreamState, StreamStatus

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


def of_hint(state: StreamState) -> str | None:
    """What to do about the link to the headset; None when there is nothing. The hint on the topic is English only."""
    if state.hint is None:
        return None
    words = {
        Link.SEARCHING: translate(
            "words",
            "Looking for a headset: switch it on.",
        ),
        Link.NO_PORT: translate(
            "words",
            "The port is not there, or nothing answers at it: plug the headset's adapter in or "
            "pair the headset, switch it on and keep it near.",
        ),
        Link.NO_PERMISSION: translate(
            "words",
            "You may not open {0}. On Linux: sudo usermod -aG dialout $USER, then log out and in again.",
        ),
        Link.PORT_BUSY: translate(
            "words",
            "Another program uses {0}: close it. On Linux brltty and ModemManager also take such ports.",
        ),
        Link.UNPLUGGED: translate(
            "words",
            "{0} went away: plug the headset's adapter in again. If it is plugged in, on Linux "
            "remove brltty, which takes such adapters.",
        ),
        Link.SILENT: translate(
            "words",
            "Nothing comes from {0}: is the headset switched on, charged and near? On Windows take "
            "the outgoing Bluetooth port, not the incoming one.",
        ),
        Link.NO_FRAMES: translate(
            "words",
            "What comes from {0} makes no sense: it is another device, or its speed is none of "
            "those tried. Choose with --port and --baud.",
        ),
        Link.STANDBY: translate(
            "words",
            "The dongle waits for its headset: switch the headset on.",
        ),
        Link.SCANNING: translate(
            "words",
            "The dongle looks for its headset: switch the headset on and keep it near.",
        ),
        Link.NO_HEADSET: translate(
            "words",
            "The dongle finds no headset: is it switched on, charged and near, and not linked to another one?",
        ),
        Link.CONNECTED: translate(
            "words",
            "The line changes bytes: readings are withheld, they may be wrong. Try another cable, "
            "adapter or USB socket.",
        ),
    }.get(state.link)
    return state.hint if words is None else words.format(state.device or "")

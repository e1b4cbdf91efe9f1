"""The settings of monitor-gui."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor_gui.feed import StreamId
from neuroone.mqtt.address import BrokerAddresses
from neuroone.service.language import parse_language
from neuroone.service.settings import SiteSettings, decimal, one_of, port_number, setting, topic_id

DEFAULT_SITE: Final = "local"
THEMES: Final = ("system", "light", "dark")
PAGES: Final = ("monitor", "connection", "shortcuts", "class", "contact", "full_screen")
SIGNAL: Final = "signal"
"""The monitor's page with nothing but the plots of raw samples."""


def stream_id(text: str) -> StreamId:
    """Parse GROUP/SOURCE. Raises ValueError."""
    group, slash, source = text.partition("/")
    if not slash:
        raise ValueError("must be like GROUP/SOURCE, as in the topics")
    return StreamId(topic_id(group), topic_id(source))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(SiteSettings):
    """The settings of monitor-gui. What is not set is taken from the preferences of the last run."""

    broker: BrokerAddresses | None = setting(
        None,
        BrokerAddresses.parse,
        "The MQTT broker, mqtt://[user:password@]host[:port], or mqtts:// for TLS; the first one of a list. "
        "Default: the one of the last run, or mqtt://127.0.0.1:1883.",
        secret=True,
        metavar="URL",
    )
    site: str = setting(
        "",
        topic_id,
        "Id of the school or laboratory, second part of every topic. Default: that of the last run, or "
        f"{DEFAULT_SITE}.",
    )
    stream: StreamId | None = setting(
        None, stream_id, "The stream to show. Default: the first that is live.", metavar="GROUP/SOURCE"
    )
    compare: StreamId | None = setting(None, stream_id, "A second stream, to show beside it.", metavar="GROUP/SOURCE")
    language: str | None = setting(None, parse_language, "en or pt-BR; the system's by default.")
    theme: str | None = setting(None, one_of(*THEMES), f"One of {', '.join(THEMES)}. Default: system.")
    play: Path | None = setting(None, Path, "A capture, a session's folder or an EDF file to play.", metavar="PATH")
    page: str | None = setting(
        None,
        one_of(*PAGES, SIGNAL),
        f"The page to begin with: {', '.join(PAGES)}, or {SIGNAL}: only plots of raw samples.",
    )
    start: str | None = setting(
        None,
        str,
        "Start everything on this computer at once, as *Start here* does, with this headset: auto, a serial port, ble, "
        "a capture file, or sim.",
        metavar="PORT",
    )
    ws_port: int = setting(8080, port_number, "Port of the gateway that *Start here* starts.")
    screenshot: Path | None = setting(
        None, Path, "Save a picture of the window to this PNG or SVG file and exit; nothing is remembered."
    )
    after: float = setting(
        10.0, decimal(0, 86400), "Seconds from the start to the picture; it is taken earlier if the program is stopped."
    )

"""What the window remembers from one run to the next."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from PySide6.QtCore import QByteArray, QSettings

from monitor_gui.feed import StreamId
from monitor_gui.settings import LANGUAGES, THEMES, stream_id
from monitor_gui.view import LINES, WINDOWS_S, Bars, Scale, View
from neuroone.mqtt.address import BrokerAddress
from neuroone.service.settings import one_of, topic_id

T = TypeVar("T")
SEPARATOR: Final = ","


class Preferences:
    """Typed access to QSettings. A stored value that is no longer valid counts as missing."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings

    def broker(self) -> BrokerAddress | None:
        """Return the broker of the last run; its password is never written to disk."""
        return self._parsed("broker", BrokerAddress.parse)

    def site(self) -> str | None:
        """Return the site of the last run."""
        return self._parsed("site", topic_id)

    def broker_ca(self) -> Path | None:
        """Return the file with the broker's certificate authority of the last run."""
        return Path(text) if (text := self._text("broker_ca")) else None

    def streams(self) -> list[StreamId]:
        """Return the streams that were shown."""
        return self._parsed("streams", lambda text: [stream_id(each) for each in text.split(SEPARATOR)][:2]) or []

    def language(self) -> str | None:
        """Return the chosen language."""
        return self._parsed("language", one_of(*LANGUAGES))

    def theme(self) -> str | None:
        """Return the chosen theme."""
        return self._parsed("theme", one_of(*THEMES))

    def port(self) -> str:
        """Return the serial port on which a headset was last started."""
        return self._text("port")

    def geometry(self) -> QByteArray:
        """Return the position and size of the window."""
        stored = self._settings.value("geometry")
        return stored if isinstance(stored, QByteArray) else QByteArray()

    def view(self) -> View:
        """Return the chosen view."""
        default = View()
        return View(
            window_s=int(self._parsed("window_s", one_of(*map(str, WINDOWS_S))) or default.window_s),
            hidden=frozenset(self._text("hidden").split(SEPARATOR)) & frozenset(LINES),
            scale=self._parsed("scale", Scale) or default.scale,
            bars=self._parsed("bars", Bars) or default.bars,
        )

    def keep_broker(self, broker: BrokerAddress, site: str, ca_file: Path | None) -> None:
        """Remember a broker and its user, not the password."""
        self.keep("broker", replace(broker, password=None).url)
        self.keep("site", site)
        self.keep("broker_ca", "" if ca_file is None else str(ca_file))

    def keep_view(self, view: View, streams: list[StreamId], geometry: QByteArray) -> None:
        """Remember the view, the streams in it and the window's place."""
        self.keep("window_s", str(view.window_s))
        self.keep("hidden", SEPARATOR.join(sorted(view.hidden)))
        self.keep("scale", str(view.scale))
        self.keep("bars", str(view.bars))
        self.keep("streams", SEPARATOR.join(map(str, streams)))
        self._settings.setValue("geometry", geometry)

    def keep(self, key: str, text: str) -> None:
        """Remember a text."""
        self._settings.setValue(key, text)

    def _text(self, key: str) -> str:
        stored: Any = self._settings.value(key, "")
        return stored if isinstance(stored, str) else ""

    def _parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(self._text(key))
        except ValueError:
            return None

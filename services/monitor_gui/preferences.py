"""What the window remembers from one run to the next."""

from typing import Any, Final

from PySide6.QtCore import QByteArray, QSettings

from monitor_gui.feed import StreamId
from monitor_gui.settings import LANGUAGES, THEMES, stream_id
from monitor_gui.view import LINES, WINDOWS_S, Bars, Scale, View
from neuroone.mqtt.address import BrokerAddress

SEPARATOR: Final = ","


class Preferences:
    """Typed access to QSettings. A stored value that is no longer valid counts as missing."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings

    def broker(self) -> BrokerAddress | None:
        """Return the broker of the last run; its password is never written to disk."""
        try:
            return BrokerAddress.parse(self._text("broker"))
        except ValueError:
            return None

    def streams(self) -> list[StreamId]:
        """Return the streams that were shown."""
        try:
            return [stream_id(text) for text in self._text("streams").split(SEPARATOR) if text][:2]
        except ValueError:
            return []

    def language(self) -> str | None:
        """Return the chosen language."""
        return _one_of(self._text("language"), LANGUAGES)

    def theme(self) -> str | None:
        """Return the chosen theme."""
        return _one_of(self._text("theme"), THEMES)

    def port(self) -> str:
        """Return the port on which a headset was last started."""
        return self._text("port")

    def geometry(self) -> QByteArray:
        """Return the position and size of the window."""
        stored = self._settings.value("geometry")
        return stored if isinstance(stored, QByteArray) else QByteArray()

    def view(self) -> View:
        """Return the chosen view."""
        default = View()
        window_s = _one_of(self._text("window_s"), [str(each) for each in WINDOWS_S])
        scale, bars = _one_of(self._text("scale"), list(Scale)), _one_of(self._text("bars"), list(Bars))
        return View(
            window_s=int(window_s or default.window_s),
            hidden=frozenset(self._text("hidden").split(SEPARATOR)) & frozenset(LINES),
            scale=Scale(scale or default.scale),
            bars=Bars(bars or default.bars),
        )

    def keep_broker(self, broker: BrokerAddress) -> None:
        """Remember a broker and its user, not the password."""
        self._settings.setValue("broker", BrokerAddress(broker.host, broker.port, broker.tls, broker.user).url)

    def keep_view(self, view: View, streams: list[StreamId], geometry: QByteArray) -> None:
        """Remember the view, the streams in it and the window's place."""
        self._settings.setValue("window_s", str(view.window_s))
        self._settings.setValue("hidden", SEPARATOR.join(sorted(view.hidden)))
        self._settings.setValue("scale", str(view.scale))
        self._settings.setValue("bars", str(view.bars))
        self._settings.setValue("streams", SEPARATOR.join(map(str, streams)))
        self._settings.setValue("geometry", geometry)

    def keep(self, key: str, text: str) -> None:
        """Remember the "language", "theme" or "port"."""
        self._settings.setValue(key, text)

    def _text(self, key: str) -> str:
        stored: Any = self._settings.value(key, "")
        return stored if isinstance(stored, str) else ""


def _one_of(text: str, choices: Any) -> str | None:
    return text if text in choices else None

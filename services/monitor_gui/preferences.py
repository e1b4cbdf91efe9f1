"""What the window remembers from one run to the next."""

from typing import Any, Final, TypeVar

from PySide6.QtCore import QByteArray, QSettings

from monitor_gui.feed import StreamId
from monitor_gui.settings import LANGUAGES, THEMES, stream_id
from monitor_gui.view import LINES, WINDOWS_S, Bars, Scale, View
from neuroone.service.settings import BrokerAddress

T = TypeVar("T")
LISTED: Final = ","


class Memory:
    """Typed access to QSettings. What is stored and makes no sense (any more) counts as not stored."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings

    def broker(self) -> BrokerAddress | None:
        """The broker of the last run, without its password: that is not written to disk."""
        try:
            return BrokerAddress.parse(self._text("broker"))
        except ValueError:
            return None

    def streams(self) -> list[StreamId]:
        """The streams that were shown."""
        try:
            return [stream_id(text) for text in self._text("streams").split(LISTED) if text][:2]
        except ValueError:
            return []

    def language(self) -> str | None:
        """The language that was chosen."""
        return _one_of(self._text("language"), LANGUAGES)

    def theme(self) -> str | None:
        """The theme that was chosen."""
        return _one_of(self._text("theme"), THEMES)

    def port(self) -> str:
        """The port that a headset was last started on."""
        return self._text("port")

    def geometry(self) -> QByteArray:
        """Where the window was."""
        stored = self._settings.value("geometry")
        return stored if isinstance(stored, QByteArray) else QByteArray()

    def view(self) -> View:
        """What was chosen to see."""
        fresh = View()
        window_s = _one_of(self._text("window_s"), [str(each) for each in WINDOWS_S])
        scale, bars = _one_of(self._text("scale"), list(Scale)), _one_of(self._text("bars"), list(Bars))
        return View(
            window_s=int(window_s or fresh.window_s),
            hidden=frozenset(self._text("hidden").split(LISTED)) & frozenset(LINES),
            scale=Scale(scale or fresh.scale),
            bars=Bars(bars or fresh.bars),
        )

    def keep_broker(self, broker: BrokerAddress) -> None:
        """Remember a broker and its user, not the password."""
        self._settings.setValue("broker", BrokerAddress(broker.host, broker.port, broker.tls, broker.user).url)

    def keep_view(self, view: View, streams: list[StreamId], geometry: QByteArray) -> None:
        """Remember what is seen."""
        self._settings.setValue("window_s", str(view.window_s))
        self._settings.setValue("hidden", LISTED.join(sorted(view.hidden)))
        self._settings.setValue("scale", str(view.scale))
        self._settings.setValue("bars", str(view.bars))
        self._settings.setValue("streams", LISTED.join(map(str, streams)))
        self._settings.setValue("geometry", geometry)

    def keep(self, key: str, text: str) -> None:
        """Remember the "language", "theme" or "port"."""
        self._settings.setValue(key, text)

    def _text(self, key: str) -> str:
        stored: Any = self._settings.value(key, "")
        return stored if isinstance(stored, str) else ""


def _one_of(text: str, choices: Any) -> str | None:
    return text if text in choices else None

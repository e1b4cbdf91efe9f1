"""What the window remembers from one run to the next."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from PySide6.QtCore import QByteArray, QSettings

from monitor_gui.actions import MARKS
from monitor_gui.feed import StreamId
from monitor_gui.settings import THEMES, stream_id
from monitor_gui.signal.filters import MAINS_HZ, PASSBANDS_HZ
from monitor_gui.view import GAINS_UV, LINES, RAW_WINDOWS_S, SPECTRA, WINDOWS_S, Bars, Density, Scale, View
from neuroone.contract.messages import NOTE_MAX_CHARS
from neuroone.mqtt.address import BrokerAddress
from neuroone.service import documents
from neuroone.service.language import parse_language
from neuroone.service.settings import one_of, topic_id

T = TypeVar("T")
SEPARATOR: Final = ","
YES: Final = "yes"


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
        return self._parsed("language", parse_language)

    def theme(self) -> str | None:
        """Return the chosen theme."""
        return self._parsed("theme", one_of(*THEMES))

    def port(self) -> str:
        """Return the serial port on which a headset was last started."""
        return self._text("port")

    def folder(self) -> Path:
        """Return where recordings are written."""
        return Path(self._text("folder")) if self._text("folder") else documents.recordings()

    def marks(self) -> dict[str, str]:
        """Return the notes of the keys 1 to 9; the key itself where no text was given."""
        return {mark: self._text(f"mark_{mark}").strip()[:NOTE_MAX_CHARS] or mark for mark in MARKS}

    def keep_mark(self, mark: str, note: str) -> None:
        """Remember the note of a key from 1 to 9."""
        self.keep(f"mark_{mark}", note)

    def geometry(self) -> QByteArray:
        """Return the position and size of the window."""
        stored = self._settings.value("geometry")
        return stored if isinstance(stored, QByteArray) else QByteArray()

    def view(self) -> View:
        """Return the chosen view."""
        default = View()
        return View(
            window_s=int(self._parsed("window_s", one_of(*map(str, WINDOWS_S))) or default.window_s),
            hidden=self._hidden(),
            scale=self._parsed("scale", Scale) or default.scale,
            bars=self._parsed("bars", Bars) or default.bars,
            raw_window_s=self._one_of("raw_window_s", RAW_WINDOWS_S, default.raw_window_s),
            gain_uv=self._one_of("gain_uv", GAINS_UV, default.gain_uv),
            mains_hz=self._one_of("mains_hz", MAINS_HZ, default.mains_hz),
            passband_hz=self._one_of("passband_hz", PASSBANDS_HZ, default.passband_hz),
            density=self._parsed("density", Density) or default.density,
            is_signal_only=self._text("is_signal_only") == YES,
        )

    def keep_broker(self, broker: BrokerAddress, site: str, ca_file: Path | None) -> None:
        """Remember a broker and its user, not the password."""
        self.keep("broker", replace(broker, password=None).url)
        self.keep("site", site)
        self.keep("broker_ca", "" if ca_file is None else str(ca_file))

    def keep_view(self, view: View, streams: list[StreamId], geometry: QByteArray) -> None:
        """Remember the view, the streams in it and the window's place."""
        self.keep("window_s", str(view.window_s))
        self.keep("hidden", SEPARATOR.join(sorted(view.hidden.difference(SPECTRA))))
        self.keep("spectra", SEPARATOR.join(sorted(frozenset(SPECTRA) - view.hidden)))
        for name in ("scale", "bars", "raw_window_s", "gain_uv", "mains_hz", "passband_hz", "density"):
            self.keep(name, str(getattr(view, name)))
        self.keep("is_signal_only", YES if view.is_signal_only else "")
        self.keep("streams", SEPARATOR.join(map(str, streams)))
        self._settings.setValue("geometry", geometry)

    def keep(self, key: str, text: str) -> None:
        """Remember a text."""
        self._settings.setValue(key, text)

    def _hidden(self) -> frozenset[str]:
        """Return the lines that were hidden, and the spectra that were not shown."""
        hidden, shown = (frozenset(self._text(key).split(SEPARATOR)) for key in ("hidden", "spectra"))
        return (hidden & frozenset(LINES)).difference(SPECTRA) | (frozenset(SPECTRA) - shown)

    def _one_of(self, key: str, values: tuple[T, ...], default: T) -> T:
        stored = self._text(key)
        return next((value for value in values if str(value) == stored), default)

    def _text(self, key: str) -> str:
        stored: Any = self._settings.value(key, "")
        return stored if isinstance(stored, str) else ""

    def _parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(self._text(key))
        except ValueError:
            return None

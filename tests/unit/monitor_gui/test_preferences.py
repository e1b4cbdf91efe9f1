"""What the window remembers."""

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gui


def test_choices_are_restored_at_the_next_start(tmp_path: Path) -> None:
    """All but the broker's password, which is never written to disk."""
    from PySide6.QtCore import QByteArray, QSettings

    from monitor_gui.feed import StreamId
    from monitor_gui.preferences import Preferences
    from monitor_gui.view import Bars, Density, Scale, View
    from neuroone.mqtt.address import BrokerAddress

    file = str(tmp_path / "monitor.ini")
    preferences = Preferences(QSettings(file, QSettings.Format.IniFormat))
    view = View(
        window_s=120,
        hidden=frozenset({"delta", "raw", "spectrum"}),
        scale=Scale.FIXED,
        bars=Bars.LOG,
        raw_window_s=60,
        gain_uv=200,
        mains_hz=60,
        passband_hz=(1.0, 40.0),
        density=Density.LINEAR,
        is_signal_only=True,
    )
    streams = [StreamId("a", "b"), StreamId("c", "d")]
    preferences.keep_view(view, streams, QByteArray(b"somewhere"))
    preferences.keep_broker(BrokerAddress("host", 1883, user="ana", password="secret"), "escola-2", Path("/etc/ca.crt"))
    preferences.keep("language", "pt_BR")  # as earlier windows did
    preferences.keep("theme", "dark")
    del preferences
    again = Preferences(QSettings(file, QSettings.Format.IniFormat))
    assert again.view() == view
    assert again.streams() == streams
    assert again.broker() == BrokerAddress("host", 1883, user="ana")
    assert (again.site(), again.broker_ca()) == ("escola-2", Path("/etc/ca.crt"))
    assert (again.language(), again.theme()) == ("pt-BR", "dark")
    assert again.geometry() == QByteArray(b"somewhere")
    assert "secret" not in Path(file).read_text(encoding="utf-8")


def test_an_invalid_stored_value_counts_as_missing(tmp_path: Path) -> None:
    """A file of another version, or one edited by hand, does not stop the window."""
    from PySide6.QtCore import QSettings

    from monitor_gui.preferences import Preferences
    from monitor_gui.view import View

    settings = QSettings(str(tmp_path / "monitor.ini"), QSettings.Format.IniFormat)
    for key in ("broker", "site", "streams", "language", "theme", "geometry", "window_s", "scale", "bars", "hidden"):
        settings.setValue(key, "7 x")
    for key in ("spectra", "raw_window_s", "gain_uv", "mains_hz", "passband_hz", "density", "is_signal_only"):
        settings.setValue(key, "7 x")
    preferences = Preferences(settings)
    assert preferences.view() == View()
    assert preferences.broker() is None
    assert (preferences.site(), preferences.broker_ca()) == (None, None)
    assert preferences.streams() == []
    assert preferences.language() is None
    assert preferences.theme() is None
    assert preferences.geometry().isEmpty()


def test_hidden_lines_of_an_earlier_version_show_no_spectra(tmp_path: Path) -> None:
    """It did not know them; the choice of lines stays."""
    from PySide6.QtCore import QSettings

    from monitor_gui.preferences import Preferences

    settings = QSettings(str(tmp_path / "monitor.ini"), QSettings.Format.IniFormat)
    settings.setValue("hidden", "delta,raw")
    assert Preferences(settings).view().hidden == {"delta", "raw", "spectrum", "spectrogram"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows the folder without the environment")
def test_recordings_go_to_the_users_documents_without_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PySide6.QtCore import QSettings

    from monitor_gui.preferences import Preferences

    for name in ("HOME", "XDG_DOCUMENTS_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = Preferences(QSettings(str(tmp_path / "monitor.ini"), QSettings.Format.IniFormat)).folder()
    assert folder.name == "NeuroOne"
    assert folder.is_relative_to(Path.home())

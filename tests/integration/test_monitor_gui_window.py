"""The monitor's window, driven offscreen against a real broker."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import (
    BANDS,
    EventType,
    GroupEvent,
    RawBlock,
    Recorded,
    RecordedStream,
    StreamStatus,
)
from neuroone.mqtt.address import BrokerAddress, BrokerAddresses
from neuroone.mqtt.threaded import ThreadedClient
from tests.support import messages
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.bus_listener import identity, listening
from tests.support.closed_broker import closed_broker
from tests.support.monitor_windows import WAIT_MS, connecting_windows, points, wait
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from monitor_gui.main_window import MonitorWindow

pytestmark = [pytest.mark.gui]


class Headset:
    """A stream that publishes what a test asks for."""

    def __init__(self, client: ThreadedClient, source: str) -> None:
        self.group, self.source = "TURMA", source
        self._client = client
        self._seq = 0
        self._samples = 0

    @property
    def readings(self) -> int:
        """How many readings it has sent."""
        return self._seq

    def publish_state(self, status: StreamStatus = StreamStatus.ONLINE, **changes: Any) -> None:
        """Publish the stream's state."""
        site = self._client.identity.site
        state = messages.stream_state(status=status, **changes)
        self._client.publish(topics.stream_state(site, self.group, self.source), state)

    def publish_reading(self, ago_s: float = 0.0, **changes: Any) -> None:
        """Publish a reading of ``ago_s`` seconds ago."""
        moving = {"mid_gamma": 1000 + self._seq}  # what stays the same for 10 s is frozen
        changes = {"poor_signal": 0, "time": datetime.now(UTC) - timedelta(seconds=ago_s), **moving, **changes}
        reading = messages.reading(seq=self._seq, **changes)
        self._seq += 1
        self._client.publish(topics.reading(self._client.identity.site, self.group, self.source), reading)

    def publish_raw(self) -> None:
        """Publish a raw block of now."""
        block = RawBlock(
            session=messages.SESSION,
            seq=self._samples // 64,
            time=datetime.now(UTC),
            first_sample=self._samples,
            rate_hz=512,
            samples=tuple(range(64)),
        )
        self._samples += 64
        self._client.publish(topics.raw(self._client.identity.site, self.group, self.source), block)


@contextmanager
def headsets(url: str, *sources: str) -> Iterator[list[Headset]]:
    """Headsets that are online at the broker."""
    bus = ThreadedClient(BrokerAddresses.parse(url), identity("serial_bridge", "bench-1"))
    bus.start()
    try:
        wait_for(lambda: bus.is_connected, "connection", 10)
        found = [Headset(bus, source) for source in sources]
        for headset in found:
            headset.publish_state()
        yield found
    finally:
        bus.close()


@pytest.fixture
def open_monitor(qtbot: "QtBot", tmp_path: Path) -> Iterator[Callable[..., "MonitorWindow"]]:
    """Open a monitor that remembers nothing of other runs."""
    with connecting_windows(qtbot, tmp_path) as new_window:

        def open_window(broker: Broker | BrokerAddress) -> "MonitorWindow":
            window = new_window()
            window.connect_to(broker if isinstance(broker, BrokerAddress) else BrokerAddress.parse(broker.url))
            window.start("monitor")
            window.show()
            return window

        yield open_window


def read_until(qtbot: "QtBot", headset: Headset, condition: Callable[[], object], **changes: Any) -> None:
    """Let the headset read again and again, and Qt run, until the condition is true."""

    def is_true() -> bool:
        if condition():
            return True
        headset.publish_reading(**changes)
        return False

    qtbot.waitUntil(is_true, timeout=WAIT_MS)


def test_shows_what_arrives_and_hides_what_is_unchecked(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """The first live stream is plotted by itself; a check box takes its line away and brings it back."""
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        read_until(qtbot, headset, lambda: points(panel.bands.curves["delta"]) > 2)
        headset.publish_raw()
        wait(qtbot, lambda: points(panel.signal.raw.curves["raw"]) > 2)
        assert str(panel.stream) == "TURMA/h1"
        assert points(panel.esense.curves["attention"]) > 2
        assert "85" in panel.numbers["attention"].text()
        window.plots_page.boxes["delta"].click()
        window.plots_page.boxes["raw"].click()
        assert not panel.bands.curves["delta"].isVisible()
        assert not panel.signal.raw.isVisible()
        assert panel.bands.curves["theta"].isVisible()
        window.plots_page.boxes["delta"].click()
        assert panel.bands.curves["delta"].isVisible()
        window.toolbar.window_s.setCurrentIndex(0)
        assert panel.bands.viewRange()[0][0] == -10


def test_chooses_and_compares_streams(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """The connection page lists the streams from their retained states; one is shown, or two beside each other."""
    with headsets(broker.url, "h1", "h2") as (first, second):
        window = open_monitor(broker)
        window.show_page("connection")
        page = window.broker_page
        wait(qtbot, lambda: page.streams.table.rowCount() == 2)
        page.streams.table.selectRow(1)
        page.streams.show_button.click()
        assert [str(panel.stream) for panel in window.plots_page.panels] == ["TURMA/h2"]
        page.streams.table.selectAll()
        page.streams.show_button.click()
        assert [str(panel.stream) for panel in window.plots_page.panels] == ["TURMA/h1", "TURMA/h2"]
        one, other = window.plots_page.panels
        read_until(qtbot, second, lambda: "11" in other.numbers["attention"].text(), attention=11)
        read_until(qtbot, first, lambda: "22" in one.numbers["attention"].text(), attention=22)
        window.toolbar.compared.setCurrentIndex(0)
        window.toolbar.compared.activated.emit(0)
        assert [str(panel.stream) for panel in window.plots_page.panels] == ["TURMA/h1"]


def test_a_poor_signal_greys_esense_and_bands(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """While poor signal is above 0 eSense is grey, and "--" for the value 0; the bands go on in grey."""
    from monitor_gui import themes
    from monitor_gui.view import Signal

    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        grey, red = themes.colours()["faint"], themes.colours()["attention"]
        read_until(qtbot, headset, lambda: panel.contact.shape.signal is Signal.GOOD)
        assert red in panel.numbers["attention"].text()
        read_until(qtbot, headset, lambda: panel.contact.shape.signal is Signal.ADJUSTING, poor_signal=26)
        assert grey in panel.numbers["attention"].text()
        assert "85" in panel.numbers["attention"].text()
        held, valid = points(panel.esense.doubtful["attention"]), points(panel.esense.curves["attention"])
        assert held >= 1
        assert points(panel.bands.curves["delta"]) == valid
        assert points(panel.bands.doubtful) == len(BANDS) * held
        assert panel.doubt.text() == ""  # the contact indicator says it
        read_until(qtbot, headset, lambda: panel.contact.shape.signal is Signal.OFF, poor_signal=200, attention=0)
        assert "--" in panel.numbers["attention"].text()
        read_until(qtbot, headset, lambda: panel.contact.shape.signal is Signal.GOOD)
        assert red in panel.numbers["attention"].text()


def test_a_doubtful_reading_is_grey_and_says_why(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """In the numbers, the lines and the bars; clipped bands leave attention as it is."""
    from monitor_gui import texts, themes

    no_bands = dict.fromkeys(BANDS, 0)
    clipped = dict.fromkeys(BANDS, 99)
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        grey, red = themes.colours()["faint"], themes.colours()["attention"]
        for ago_s in (30.0, 20.0, 18.5, 17.0, 15.5):
            headset.publish_reading(ago_s, poor_signal=None, mid_gamma=7)
        read_until(qtbot, headset, lambda: "frozen" in panel.doubt.text(), poor_signal=None, mid_gamma=7)
        assert grey in panel.numbers["attention"].text()
        assert "Is the headset switched on" in panel.doubt.toolTip()
        assert points(panel.esense.curves["attention"]) == points(panel.bands.curves["delta"]) == 0
        wait(qtbot, lambda: points(panel.esense.doubtful["attention"]) == headset.readings)  # of a later frame
        read_until(qtbot, headset, lambda: "no bands" in panel.doubt.text(), poor_signal=None, **no_bands)
        assert grey in panel.numbers["attention"].text()
        read_until(qtbot, headset, lambda: "clipped" in panel.doubt.text(), poor_signal=None, attention=40, **clipped)
        assert red in panel.numbers["attention"].text()
        assert points(panel.esense.curves["attention"]) >= 1
        texts.choose("pt-BR")
        panel.restyle()
        read_until(qtbot, headset, lambda: "bandas cortadas" in panel.doubt.text(), attention=41, **clipped)
        texts.choose("en")


def test_a_silent_stream_is_shown_as_stale(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """After 3 s without a reading the contact indicator says so in words, and eSense is grey."""
    from monitor_gui import themes

    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        read_until(qtbot, headset, lambda: panel.contact.text.text() == "Good signal")
        wait(qtbot, lambda: panel.contact.text.text() == "stale")
        assert themes.colours()["faint"] in panel.numbers["attention"].text()
        headset.publish_state(StreamStatus.OFFLINE)
        wait(qtbot, lambda: panel.contact.text.text() == "offline")
        assert "--" in panel.numbers["attention"].text()


def test_pause_holds_the_plots_and_scrolls_back(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """After the pause, everything that arrived meanwhile is shown."""
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        counters = window.feed._watched[panel.stream].history.counters
        headset_ready = window.feed._client
        assert headset_ready is not None
        read_until(qtbot, headset, lambda: counters["readings"], ago_s=40)
        for ago_s in (30, 20, 10):
            headset.publish_reading(ago_s=ago_s)
        read_until(qtbot, headset, lambda: "100" in panel.numbers["attention"].text(), attention=100)
        wait(qtbot, lambda: points(panel.bands.curves["delta"]) >= 5)
        window.window_actions.by_name["pause"].trigger()
        assert window.plots_page.back.isVisible()
        before = points(panel.bands.curves["delta"])
        seen = counters["readings"]
        headset.publish_reading()
        wait(qtbot, lambda: counters["readings"] > seen)
        window.draw()
        assert points(panel.bands.curves["delta"]) == before
        window.window_actions.by_name["back"].trigger()
        assert window.view.back_s == 5
        assert points(panel.bands.curves["delta"]) < before
        window.plots_page.back.setValue(-35)
        assert window.view.back_s == 35
        window.window_actions.by_name["pause"].trigger()
        assert not window.plots_page.back.isVisible()
        wait(qtbot, lambda: points(panel.bands.curves["delta"]) == before + 1)


def test_a_hidden_window_catches_up_at_once(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """The first visible frame has everything that arrived meanwhile."""
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        counters = window.feed._watched[panel.stream].history.counters
        read_until(qtbot, headset, lambda: points(panel.bands.curves["delta"]), ago_s=30)
        window.hide()
        drawn = points(panel.bands.curves["delta"])
        for ago_s in range(20, 0, -1):
            headset.publish_reading(ago_s=ago_s)
        wait(qtbot, lambda: counters["readings"] >= headset.readings)
        assert points(panel.bands.curves["delta"]) == drawn
        window.show()
        window.draw()
        assert points(panel.bands.curves["delta"]) == headset.readings
        assert headset.readings > drawn


def test_a_marker_arrives_on_the_topic_and_in_the_plots(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """The marker has the time at which its dialog was opened."""
    with headsets(broker.url, "h1") as (headset,), listening(broker.url) as listener:
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        read_until(qtbot, headset, lambda: points(panel.bands.curves["delta"]))
        before = datetime.now(UTC)
        dialog = window.ask_for_marker()
        assert dialog is not None
        after = datetime.now(UTC)
        dialog.setTextValue("olhos fechados")
        dialog.accept()
        topic, event = listener.wait_for(GroupEvent)
        assert topic["group"] == "TURMA"
        assert (event.type, event.text, event.source) == (EventType.MARKER, "olhos fechados", "h1")
        slack = timedelta(seconds=1)  # by the clock that stamps the readings, as far as it is known here
        assert before - slack <= event.time <= after + slack
        wait(qtbot, lambda: [each.text for each in panel.events] == ["olhos fechados"])


def test_language_and_theme_switch_while_it_runs(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    from monitor_gui import themes

    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        read_until(qtbot, headset, lambda: "Attention" in panel.numbers["attention"].text())
        window.window_actions.by_name["language pt-BR"].trigger()
        wait(qtbot, lambda: "Atenção" in panel.numbers["attention"].text())
        assert window.plots_page.boxes["low_alpha"].text() == "Alfa baixo α1"
        assert window.broker_page.broker.connect_button.text() == "&Conectar"
        assert panel.bands.getAxis("left").labelText == "log10 (u.a.)"
        window.window_actions.by_name["theme dark"].trigger()
        wait(qtbot, lambda: panel.bands.backgroundBrush().color().name() == themes.DARK["ground"])
        window.window_actions.by_name["theme light"].trigger()
        window.window_actions.by_name["language en"].trigger()
        wait(qtbot, lambda: panel.bands.backgroundBrush().color().name() == themes.LIGHT["ground"])
        assert window.plots_page.boxes["low_alpha"].text() == "Low alpha α1"


def test_everything_can_be_reached_by_keyboard(
    start_broker: Callable[[str], Broker], qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """Every control accepts the focus by Tab, every action is in a menu, and the keys work as listed."""
    from PySide6.QtCore import Qt

    from monitor_gui.view import Bars, Scale

    broker = start_broker("nats")
    with headsets(broker.url, "h1"):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        page = window.broker_page
        controls = [
            window.toolbar.streams,
            window.toolbar.compared,
            window.toolbar.window_s,
            window.plots_page.back,
            *window.plots_page.boxes.values(),
        ]
        controls += [
            page.broker.address,
            page.broker.user,
            page.broker.password,
            page.broker.connect_button,
            page.streams.table,
            page.streams.show_button,
        ]
        controls += [
            page.headset.port,
            page.headset.refresh_button,
            page.headset.file_button,
            page.headset.name,
            page.headset.code,
            page.headset.start_button,
        ]
        assert all(control.focusPolicy() & Qt.FocusPolicy.TabFocus for control in controls)
        in_menus = {action for menu in window.window_actions.menus.values() for action in menu.actions()}
        assert set(window.window_actions.by_name.values()) <= in_menus
        window.activateWindow()
        wait(qtbot, window.isActiveWindow)
        qtbot.keyClick(window, Qt.Key.Key_P)
        assert window.view.paused_at_s is not None
        assert window.plots_page.back.hasFocus()
        qtbot.keyClick(window, Qt.Key.Key_P)
        assert window.view.paused_at_s is None
        qtbot.keyClick(window, Qt.Key.Key_B)
        qtbot.keyClick(window, Qt.Key.Key_A)
        assert (window.view.bars, window.view.scale) == (Bars.LOG, Scale.FIXED)
        for key in (Qt.Key.Key_Question, Qt.Key.Key_F1):
            qtbot.keyClick(window, key)
            assert window.pages.currentWidget() is window.shortcuts_page
            qtbot.keyClick(window, Qt.Key.Key_F5)
            assert window.pages.currentWidget() is window.plots_page


def test_the_window_reconnects_when_the_broker_comes_back(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        read_until(qtbot, headset, lambda: "Connected" in window.connection.text())
        broker.kill()
        wait(qtbot, lambda: "trying again" in window.connection.text())
        broker.start()
        wait(qtbot, lambda: "Connected" in window.connection.text())
        counters = window.feed._watched[window.plots_page.panels[0].stream].history.counters
        before = counters["readings"]
        read_until(qtbot, headset, lambda: counters["readings"] > before)


def test_a_receipt_of_the_recorder_switches_the_recording_indicator_on(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        read_until(qtbot, headset, lambda: points(panel.bands.curves["delta"]))
        assert "Not recorded" in panel.recorded.text()
        row = RecordedStream(
            group="TURMA", source="h1", session=messages.SESSION, seq=500, rows=42, duplicates=0, gaps=0
        )
        mark = Recorded(time=datetime.now(UTC), streams=(row,))
        topic = topics.recorded("local", "r")
        wait(qtbot, lambda: headset._client.publish(topic, mark) and "42" in panel.recorded.text())


def test_saves_tables_and_pictures(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"], tmp_path: Path
) -> None:
    """The values go to CSV, the window to PNG and SVG; a file that cannot be written is reported."""
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        read_until(qtbot, headset, lambda: points(window.plots_page.panels[0].bands.curves["delta"]) > 2)
        window.save_table(tmp_path / "t.csv")
        assert (tmp_path / "t.csv").read_text(encoding="utf-8").count("TURMA/h1") > 2
        for name in ("w.png", "w.svg"):
            assert window.save_picture(tmp_path / name)
            assert (tmp_path / name).stat().st_size > 10_000
        window.save_table(tmp_path / "no-folder" / "t.csv")
        assert "Cannot write" in window.statusBar().currentMessage()


def test_starts_a_bridge_for_the_simulated_headset(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """The connection page starts serial-bridge on the simulator, lists its stream, and stops it in order."""
    window = open_monitor(broker)
    page = window.broker_page
    window.show_page("connection")
    page.headset.choose_port("sim")
    page.headset.name.setText("Ana")
    page.headset.start_button.click()
    wait(qtbot, lambda: window.bridge.is_running and window.plots_page.panels)
    panel = window.plots_page.panels[0]
    wait(qtbot, lambda: window.feed._watched[panel.stream].history.latest)
    name = page.streams.table.item(0, 0)
    assert name is not None
    assert name.text() == "Ana"
    page.headset.start_button.click()
    wait(qtbot, lambda: not window.bridge.is_running)
    assert window.bridge.exit_code == 0
    assert "has ended" in page.headset.state.text()


def test_a_wrong_address_is_explained(
    start_broker: Callable[[str], Broker], qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """The connection page explains the form of an address, and accepts one without the scheme."""
    broker = start_broker("nats")
    window = open_monitor(broker)
    page = window.broker_page
    page.broker.address.setText("http://nonsense")
    page.broker.connect_button.click()
    window.refresh()
    assert "must be like" in page.broker.state.text()
    page.broker.address.setText(f"127.0.0.1:{broker.port}")
    page.broker.connect_button.click()
    assert window.feed.broker == BrokerAddress("127.0.0.1", broker.port)
    wait(qtbot, lambda: "Connected" in window.connection.text())


def test_the_simulated_headset_is_chosen_by_nobody_but_a_person(
    start_broker: Callable[[str], Broker], qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """A port that comes later is chosen by itself; one that goes is not replaced by another."""
    window = open_monitor(start_broker("nats"))
    window.show_page("connection")
    headset, bridge = window.broker_page.headset, window.bridge
    wait(qtbot, lambda: bridge._list.state() == bridge._list.ProcessState.NotRunning)

    def list_ports(*ports: str) -> object:
        bridge.ports = dict.fromkeys(ports, "USB serial")
        bridge.changed.emit()
        return headset.port.currentData()

    assert list_ports() is None
    assert not headset.start_button.isEnabled()
    assert list_ports("COM3", "COM4") == "COM3"
    assert headset.start_button.isEnabled()
    headset.port.setCurrentIndex(1)
    headset.port.activated.emit(1)
    assert list_ports("COM3", "COM4", "COM5") == "COM4"
    assert list_ports("COM3") is None
    assert list_ports("COM3", "COM4") == "COM4"
    headset.choose_port("sim")
    assert list_ports("COM3") == "sim"


def test_a_simulated_headset_of_the_last_run_is_not_chosen_again(
    start_broker: Callable[[str], Broker], qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    broker = start_broker("nats")
    open_monitor(broker).preferences.keep("port", "sim")
    window = open_monitor(broker)
    assert window.broker_page.headset.port.currentData() != "sim"
    window.preferences.keep("port", "COM9")
    headset = open_monitor(broker).broker_page.headset
    headset.bridge.ports = {"COM3": "", "COM9": ""}
    headset.bridge.changed.emit()
    assert headset.port.currentData() == "COM9"
    headset.bridge.ports = {"COM3": ""}
    headset.bridge.changed.emit()
    assert headset.port.currentData() == "COM3"


def test_a_refused_login_is_told_from_a_broker_that_is_away(
    qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"], tmp_path: Path
) -> None:
    """Also a port where nothing listens, a name that nobody has, and something that is no broker."""
    with closed_broker(tmp_path) as (_, address), socket.create_server((LOOPBACK, 0)) as silent:
        wrong = replace(address, user="doctor", password="wrong")
        window = open_monitor(wrong)

        def says(broker: BrokerAddress, words: str) -> None:
            window.connect_to(broker)
            wait(qtbot, lambda: words in window.connection.text())
            assert window.broker_page.broker.state.text() == window.connection.text()

        says(wrong, "refuses this user name and password")
        says(replace(wrong, user=None, password=None), "refuses this user name and password")
        window.choose_language("pt-BR")
        assert "recusa este usuário e esta senha" in window.connection.text()
        window.choose_language("en")
        says(BrokerAddress(LOOPBACK, free_port()), "nothing listens there")
        says(BrokerAddress("no-such-host.invalid", 1883), "no computer of this name")
        says(replace(wrong, tls=True), "does not answer with TLS")
        silent.settimeout(0)

        def hang_up() -> bool:
            try:
                silent.accept()[0].close()
            except BlockingIOError:
                pass
            return "does not speak MQTT" in window.connection.text()

        window.connect_to(BrokerAddress(LOOPBACK, silent.getsockname()[1]))
        wait(qtbot, hang_up)


def test_a_paused_window_shows_one_moment_everywhere(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """Numbers, contact, doubt, bars and last line are of the moment at the plots' right edge, also scrolled back."""
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        counters = window.feed._watched[panel.stream].history.counters

        def shown() -> list[object]:
            panel._drawn = None
            window.draw()
            words = [panel.numbers[name].text() for name in ("attention", "meditation")]
            words += [panel.contact.text.text(), panel.doubt.text(), panel.link.text(), panel.recorded.text()]
            return [*words, [float(each) for each in panel.bars.bars.opts["height"]]]

        published_s = time.monotonic()
        read_until(qtbot, headset, lambda: counters["readings"], ago_s=20, attention=33, poor_signal=26, delta=50)
        read_until(qtbot, headset, lambda: ">77<" in panel.numbers["attention"].text(), attention=77)
        window.window_actions.by_name["pause"].trigger()
        ago_s = 20 + time.monotonic() - published_s  # on a busy machine seconds have passed
        before = shown()
        assert ">77<" in str(before[0])
        seen = counters["readings"]
        headset.publish_reading(attention=11, poor_signal=200, delta=9)
        headset.publish_state(StreamStatus.OFFLINE)
        wait(qtbot, lambda: counters["readings"] > seen)
        wait(qtbot, lambda: getattr(panel.feed.state(panel.stream)[0], "status", None) is StreamStatus.OFFLINE)
        assert shown() == before
        window.scroll_back(ago_s - 1)
        back = shown()
        assert ">33<" in str(back[0])
        assert back[2] == "Adjusting"
        assert back[4] != before[4]
        window.window_actions.by_name["pause"].trigger()
        wait(qtbot, lambda: panel.contact.text.text() == "offline")


def test_the_age_of_the_last_reading_grows_until_the_next_one(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        read_until(qtbot, headset, lambda: "last\u00a0reading\u00a00." in panel.link.text())
        ages: set[str] = set()

        def is_moving() -> bool:
            ages.add(panel.link.text().replace("\u00a0", " ").partition("last reading ")[2].partition(" s")[0])
            return len(ages & {f"0.{tenths}" for tenths in range(1, 10)}) >= 2

        wait(qtbot, is_moving)


def test_the_outage_of_a_broker_does_not_read_as_that_of_a_headset(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    """Panel, selector and list say that the broker is away; after it the headset's silence is counted anew."""
    with headsets(broker.url, "h1") as (headset,):
        window = open_monitor(broker)
        wait(qtbot, lambda: window.plots_page.panels)
        panel = window.plots_page.panels[0]
        read_until(qtbot, headset, lambda: panel.contact.text.text() == "Good signal")
        broker.kill()
        wait(qtbot, lambda: panel.contact.text.text() == "broker away")
        window.show_page("connection")
        status = window.broker_page.streams.table.item(0, 3)
        assert status is not None
        assert status.text() == "broker away"
        assert "broker away" in window.toolbar.streams.itemText(0)
        window.show_page("monitor")
        arrived_s = window.feed._watched[panel.stream].history.arrived_s
        assert arrived_s is not None
        window.feed._watched[panel.stream].history.arrived_s = arrived_s - 60  # a long outage
        wait(qtbot, lambda: panel.link.text().startswith("broker\u00a0away"))
        broker.start()
        seen: set[str] = set()

        def is_back() -> bool:
            seen.add(panel.contact.text.text())
            return "Good signal" in seen

        wait(qtbot, is_back)
        assert seen <= {"broker away", "Good signal"}


def test_names_come_first_in_every_list_and_are_searched(
    broker: Broker, qtbot: "QtBot", open_monitor: Callable[..., "MonitorWindow"]
) -> None:
    with headsets(broker.url, "h1", "h2", "h3") as (first, second, _):
        first.publish_state(name="Zélia Ramos")
        second.publish_state(name="Ana Souza")
        window = open_monitor(broker)
        window.show_page("connection")
        streams = window.broker_page.streams

        def rows() -> list[str]:
            cells = [streams.table.item(row, 0) for row in range(streams.table.rowCount())]
            shown = [cell for cell in cells if cell is not None and not streams.table.isRowHidden(cell.row())]
            return [cell.text() for cell in shown]

        wait(qtbot, lambda: len(rows()) == 3 and rows()[0] == "Ana Souza" and rows()[1] == "Zélia Ramos")
        selector = [window.toolbar.streams.itemText(number) for number in range(3)]
        assert selector[0].startswith("Ana Souza (TURMA/h2)")
        streams.search.setText("zéLIA turma")
        assert rows() == ["Zélia Ramos"]
        streams.table.selectAll()
        streams.show_button.click()
        assert [str(panel.stream) for panel in window.plots_page.panels] == ["TURMA/h1"]

"""Windows of the monitor: without a broker, where a test delivers the messages itself, or with a real connection."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroone.contract import topics
from neuroone.contract.json import encode
from neuroone.contract.messages import GroupEvent, Kind, Message, RawBlock
from neuroone.contract.topics import Topic
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.threaded import ThreadedClient
from tests.support import messages
from tests.support.bus_listener import identity

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from monitor_gui.local_system import LocalSystem
    from monitor_gui.main_window import MonitorWindow

BROKER = BrokerAddress("nowhere", 1883)
WAIT_MS = 40_000
"""For a program to start, or a state of the window, on a busy machine."""


class Client:
    """A client that notes what it is asked for, and delivers what a test gives it."""

    def __init__(self, broker: BrokerAddress, **options: Any) -> None:
        self.broker, self.options = broker, options
        self.subscriptions: dict[str, int] = dict(options["subscriptions"])
        self.published: list[tuple[str, Message]] = []
        self.is_connected = True
        self.fault: None = None

    def start(self) -> None:
        """It has no connection."""

    def close(self, timeout_s: float) -> None:
        """As above."""

    def subscribe(self, filter: str, qos: int) -> None:
        self.subscriptions[filter] = qos

    def unsubscribe(self, filter: str) -> None:
        del self.subscriptions[filter]

    def publish(self, topic: Topic, message: Message) -> bool:
        self.published.append((str(topic), message))
        return True

    def deliver(self, topic: Topic, message: Message) -> None:
        """As if the broker had sent it."""
        self.options["on_delivery"](Delivery(str(topic), encode(message), False, 0, 1))


class Wearer:
    """A student whose messages reach the window, with a site's topics."""

    def __init__(self, window: "MonitorWindow", source: str, name: str | None, group: str = "TURMA") -> None:
        self.window, self.group, self.source, self.name = window, group, source, name
        self.seq = 0
        self.publish_state()

    def publish_state(self, **changes: Any) -> None:
        """Deliver the stream's state."""
        state = messages.stream_state(**{"name": self.name, "kind": Kind.HEADSET, **changes})
        client_of(self.window).deliver(topics.stream_state(self.window.feed.site, self.group, self.source), state)

    def publish_reading(self, ago_s: float = 0.0, **changes: Any) -> None:
        """Deliver a reading of ``ago_s`` seconds ago; its numbers move, so that it is not frozen."""
        values = {"poor_signal": 0, "mid_gamma": 1000 + self.seq, **changes}
        values["time"] = datetime.now(UTC) - timedelta(seconds=ago_s)
        reading = messages.reading(seq=self.seq, name=self.name, **values)
        self.seq += 1
        client_of(self.window).deliver(topics.reading(self.window.feed.site, self.group, self.source), reading)

    def publish_raw(self) -> None:
        """Deliver one raw block."""
        block = RawBlock(
            session=messages.SESSION, seq=0, time=datetime.now(UTC), first_sample=0, rate_hz=512, samples=(1, 2) * 32
        )
        client_of(self.window).deliver(topics.raw(self.window.feed.site, self.group, self.source), block)


def client_of(window: "MonitorWindow") -> Client:
    """Return the client of the window's present connection."""
    client = window.feed._client
    assert isinstance(client, Client)
    return client


def events_of(window: "MonitorWindow") -> list[GroupEvent]:
    """Return the events that the window has published."""
    return [message for _, message in client_of(window).published if isinstance(message, GroupEvent)]


@contextmanager
def monitor_window(folder: Path, language: str = "en", theme: str = "light") -> Iterator["MonitorWindow"]:
    """Show a window that remembers nothing of other runs; it is connected to a `Client`."""
    from PySide6.QtCore import QEvent, QSettings
    from PySide6.QtWidgets import QApplication

    from monitor_gui import texts, themes
    from monitor_gui.feed import Feed
    from monitor_gui.local_bridge import LocalBridge
    from monitor_gui.main_window import MonitorWindow
    from monitor_gui.preferences import Preferences

    texts.choose(language)
    themes.choose(theme)
    preferences = Preferences(QSettings(str(folder / "monitor.ini"), QSettings.Format.IniFormat))
    feed = Feed(Client, "local", time.monotonic)  # type: ignore[arg-type]
    bridge = LocalBridge()
    bridge.list_ports = lambda: None  # type: ignore[method-assign] # it is a program, and takes a second
    window = MonitorWindow(feed, bridge, preferences, [])
    try:
        window.connect_to(BROKER)
        window.start("monitor")
        window.show()
        yield window
    finally:
        window.close()
        window.bridge.close()
        window.feed.close()
        window.deleteLater()
        QApplication.sendPostedEvents(window, QEvent.Type.DeferredDelete)  # else it is restyled with each later one
        texts.choose("en")
        themes.choose("system")


@contextmanager
def connecting_windows(qtbot: "QtBot", folder: Path) -> Iterator[Callable[..., "MonitorWindow"]]:
    """Give a function that makes a window whose connections are real ones, with the system that it starts if given.

    The windows share preferences in ``folder``, which remember nothing of other runs. They are closed at the end.
    """
    from PySide6.QtCore import QSettings

    from monitor_gui import texts, themes
    from monitor_gui.feed import Feed
    from monitor_gui.local_bridge import LocalBridge
    from monitor_gui.main_window import MonitorWindow
    from monitor_gui.preferences import Preferences

    made = []

    def new_client(broker: BrokerAddress, **options: Any) -> ThreadedClient:
        return ThreadedClient([broker], identity("monitor_gui"), **options)

    def new_window(system: "LocalSystem | None" = None) -> MonitorWindow:
        preferences = Preferences(QSettings(str(folder / "monitor.ini"), QSettings.Format.IniFormat))
        window = MonitorWindow(Feed(new_client, "local", time.monotonic), LocalBridge(), preferences, [], system)
        made.append(window)
        qtbot.addWidget(window)
        return window

    try:
        yield new_window
    finally:
        for window in made:
            window.close()
            window.bridge.close()
            window.feed.close()
        texts.choose("en")
        themes.choose("system")


def wait(qtbot: "QtBot", condition: Callable[[], object]) -> None:
    """Let Qt run until the condition is true."""
    qtbot.waitUntil(lambda: bool(condition()), timeout=WAIT_MS)


def points(curve: Any) -> int:
    """Return how many points of a curve are drawn: those with a value."""
    _, y = curve.getData()
    return 0 if y is None else int((y == y).sum())

"""Wire the monitor and run it: one window, one connection to a broker, one event loop of Qt."""

import gc
import logging
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import QLocale, QMessageLogContext, QSettings, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication

from monitor_gui import texts, themes
from monitor_gui.feed import Feed
from monitor_gui.local_bridge import LocalBridge
from monitor_gui.local_system import LocalSystem
from monitor_gui.main_window import MonitorWindow
from monitor_gui.preferences import Preferences
from monitor_gui.settings import DEFAULT_SITE, Settings
from monitor_gui.start_faults import explain
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service.lifecycle import FAILED, Stop
from neuroone.service.process_memory import resident_bytes
from neuroone.service.settings import host_id

SERVICE: Final = "monitor_gui"
DEFAULT_BROKER: Final = BrokerAddress("127.0.0.1", 1883)
ICON: Final = Path(__file__).parent / "icon.png"
SIGNALS_PERIOD_MS: Final = 100
"""How often Python checks for signals and for the stop, while Qt waits for events."""
HOST_MAX_CHARS: Final = 48
"""Part of the computer's name in the instance; the rest of the 64 characters of an id is for the process id."""

log = logging.getLogger(__name__)


def run(settings: Settings, stop: Stop) -> int:
    """Show the window until it is closed or the program is stopped; return the exit code."""
    if settings.screenshot is None:
        return _show(settings, stop, QSettings("NeuroOne", "monitor"))
    with tempfile.TemporaryDirectory() as folder:
        return _show(settings, stop, QSettings(str(Path(folder, "monitor.ini")), QSettings.Format.IniFormat))


def _show(settings: Settings, stop: Stop, stored: QSettings) -> int:
    app = _new_application(settings.language)
    app.setStyle("Fusion")
    app.setApplicationName("neuroone-monitor")
    app.setWindowIcon(QIcon(str(ICON)))
    preferences, bridge = Preferences(stored), LocalBridge()
    system = LocalSystem(settings.ws_port)
    texts.choose(settings.language or preferences.language() or texts.language(QLocale.system()))
    themes.choose(settings.theme or preferences.theme() or "system")
    site, ca_file = settings.site or preferences.site(), settings.broker_ca or preferences.broker_ca()

    def new_client(broker: BrokerAddress, **options: Any) -> ThreadedClient:
        return _new_client(replace(settings, site=feed.site), broker, **options)

    feed = Feed(new_client, site or DEFAULT_SITE, time.monotonic)
    wanted = [stream for stream in (settings.stream, settings.compare) if stream is not None]
    window = MonitorWindow(feed, bridge, preferences, wanted, system)
    broker = settings.broker[0] if settings.broker else preferences.broker()
    window.connect_to(broker or DEFAULT_BROKER, ca_file=ca_file)
    is_first = broker is None and settings.play is None
    gc.freeze()  # as in scipy_loading: what has been loaded so far stays
    window.start(settings.page or ("connection" if is_first else "monitor"))
    if settings.play is not None:
        window.player.open(settings.play)
    if settings.start is not None:
        window.broker_page.headset.choose_port(settings.start)
        window.start_system()

    def fail(*fault: Any) -> None:
        log.critical("unexpected error in the window", exc_info=fault)
        stop.set(FAILED)

    sys.excepthook = fail  # without it Qt continues after a fault, with plots that are no longer right
    signals = QTimer(interval=SIGNALS_PERIOD_MS)
    signals.timeout.connect(lambda: app.quit() if stop.is_set() else None)
    signals.start()
    if settings.screenshot is not None:
        QTimer.singleShot(int(settings.after * 1000), stop.set)
    window.show()
    app.exec()
    app.processEvents()  # a stream that has just come is in no layout yet
    is_done = settings.screenshot is None or window.save_picture(settings.screenshot)
    window.close()
    sys.excepthook = sys.__excepthook__
    bridge.close()
    feed.close()
    system.close()
    return stop.exit_code if is_done else FAILED


def _new_application(language: str | None) -> QApplication:
    """Make Qt's application. Where Qt would abort for want of a screen or a library, say so and exit."""

    def on_message(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
        if kind is QtMsgType.QtFatalMsg:  # Qt aborts as soon as this returns
            log.critical("%s", explain(text, language))
            logging.shutdown()
            os._exit(FAILED)
        log.debug("Qt: %s", text)

    qInstallMessageHandler(on_message)
    app = QApplication([])
    qInstallMessageHandler(None)
    return app


def _new_client(settings: Settings, broker: BrokerAddress, **options: Any) -> ThreadedClient:
    # Each connection has an epoch of its own: the one that is being closed cannot replace the new one.
    instance = f"{host_id()[:HOST_MAX_CHARS]}-{os.getpid()}"
    identity = settings.identity(SERVICE, time.time(), instance)
    return ThreadedClient(
        [broker],
        identity,
        health=lambda: HealthReport(memory_bytes=resident_bytes()),
        health_file=settings.health_file,
        **options,
    )

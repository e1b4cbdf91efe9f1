"""``monitor-gui``: live plots of what is published. This module only wires."""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication

from monitor_gui import languages, themes
from monitor_gui.feed import Feed
from monitor_gui.languages import Language
from monitor_gui.local_bridge import LocalBridge
from monitor_gui.main_window import MonitorWindow
from monitor_gui.preferences import Memory
from monitor_gui.settings import Settings
from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service import lifecycle
from neuroone.service.lifecycle import FAILED, OK, Command, Stop
from neuroone.service.process_memory import resident_bytes
from neuroone.service.settings import BrokerAddress, host_id

SERVICE: Final = "monitor_gui"
DEFAULT_BROKER: Final = BrokerAddress("127.0.0.1", 1883)
ICON: Final = Path(__file__).parent / "icon.png"
SIGNALS_PERIOD_MS: Final = 100
"""How often Python gets to see signals and that the program must stop, while Qt waits for events."""
HOST_CHARS_MAX: Final = 48
"""Of the computer's name in the default instance; the rest of an id is for the number of this run."""


log = logging.getLogger(__name__)


def run(given: Settings, stop: Stop) -> int:
    """Show the window until it is closed or the program is stopped; the exit code."""
    if given.screenshot is None:
        return show(given, stop, QSettings("NeuroOne", "monitor"))
    with tempfile.TemporaryDirectory() as folder:
        return show(given, stop, QSettings(str(Path(folder, "monitor.ini")), QSettings.Format.IniFormat))


def show(given: Settings, stop: Stop, settings: QSettings) -> int:
    """Show the window with these remembered settings; the exit code."""
    app = QApplication([])
    app.setStyle("Fusion")
    app.setApplicationName("neuroone-monitor")
    app.setWindowIcon(QIcon(str(ICON)))
    memory, language, bridge = Memory(settings), Language(), LocalBridge()
    language.choose(given.language or memory.language() or languages.of_system())
    themes.choose(given.theme or memory.theme() or "system")
    instance = f"{host_id()[:HOST_CHARS_MAX]}-{os.getpid()}"

    def new_bus(broker: BrokerAddress, **options: Any) -> ThreadedClient:
        # A new epoch for each connection that is asked for: one that is just left cannot throw it out.
        identity = given.identity(SERVICE, time.time(), instance)
        return ThreadedClient(
            broker,
            identity,
            vitals=lambda: HealthReport(memory_bytes=resident_bytes()),
            ca_file=given.broker_ca,
            health_file=given.health_file,
            **options,
        )

    feed = Feed(new_bus, given.site, time.monotonic)
    wanted = [stream for stream in (given.stream, given.compare) if stream is not None]
    window = MonitorWindow(feed, bridge, language, memory, wanted)
    remembered = memory.broker()
    window.connect_to(given.broker or remembered or DEFAULT_BROKER)
    is_first_run = given.broker is None and remembered is None
    window.start(given.page or ("connection" if is_first_run else "monitor"))

    def fail(*fault: Any) -> None:
        log.critical("a fault in the window", exc_info=fault)
        stop.set(FAILED)

    def leave_if_stopped() -> None:
        if stop.is_set():
            app.quit()

    sys.excepthook = fail  # else Qt goes on after a fault, with plots that no longer tell the truth
    signals = QTimer(interval=SIGNALS_PERIOD_MS)
    signals.timeout.connect(leave_if_stopped)
    signals.start()
    if given.screenshot is not None:
        file = given.screenshot
        QTimer.singleShot(int(given.after * 1000), lambda: stop.set(OK if window.save_picture(file) else FAILED))
    window.show()
    app.exec()
    window.close()
    sys.excepthook = sys.__excepthook__
    bridge.close()
    feed.close()
    return stop.exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """The program ``monitor-gui``."""
    return lifecycle.main("monitor-gui", {"run": Command(Settings, run, "show live plots of a stream")}, argv)


if __name__ == "__main__":
    sys.exit(main())

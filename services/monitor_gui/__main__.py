"""``monitor-gui``: live plots of what is published. This module only wires."""

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from monitor_gui import themes
from monitor_gui.feed import Feed
from monitor_gui.pictures import save_picture
from monitor_gui.settings import Settings
from monitor_gui.window import MonitorWindow
from neuroone.runtime import lifecycle
from neuroone.runtime.bus import MqttBus
from neuroone.runtime.lifecycle import FAILED, OK, Command, Stop
from neuroone.runtime.settings import BrokerAddress, host_id

SERVICE: Final = "monitor_gui"
DEFAULT_BROKER: Final = BrokerAddress("127.0.0.1", 1883)
SIGNALS_PERIOD_MS: Final = 100
"""How often Python gets to see signals and that the program must stop, while Qt waits for events."""


def run(given: Settings, stop: Stop) -> int:
    """Show the window until it is closed or the program is stopped; the exit code."""
    app = QApplication([])
    app.setStyle("Fusion")
    app.setApplicationName("neuroone-monitor")
    themes.choose(given.theme or "system")
    identity = given.identity(SERVICE, time.time(), f"{host_id()[:48]}-{os.getpid()}")
    feed = Feed(partial(MqttBus, identity=identity, ca_file=given.broker_ca), given.site, time.monotonic)
    window = MonitorWindow(feed, given.stream)
    feed.connect(given.broker or DEFAULT_BROKER)

    def leave_if_stopped() -> None:
        if stop.is_set():
            app.quit()

    signals = QTimer(interval=SIGNALS_PERIOD_MS)
    signals.timeout.connect(leave_if_stopped)
    signals.start()
    if given.screenshot is not None:
        file = given.screenshot
        QTimer.singleShot(int(given.after * 1000), lambda: stop.set(OK if save_picture(window, file) else FAILED))
    window.start()
    window.show()
    app.exec()
    window.close()
    feed.close()
    return stop.exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """The program ``monitor-gui``."""
    return lifecycle.main("monitor-gui", {"run": Command(Settings, run, "show live plots of a stream")}, argv)


if __name__ == "__main__":
    sys.exit(main())

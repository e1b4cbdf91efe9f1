"""Record a headset's bytes into a capture, also while its port is lost and found again."""

import logging
import time

from neuroone.contract.errors import SettingsError
from neuroone.contract.messages import Link
from neuroone.service import lifecycle
from neuroone.service.lifecycle import Stop
from serial_bridge.captures.files import CaptureWriter
from serial_bridge.headsets import HEADSETS
from serial_bridge.link_monitor import GONE, LinkMonitor
from serial_bridge.ports.connection import Connection
from serial_bridge.ports.port import PortFault
from serial_bridge.ports.sources import open_source
from serial_bridge.reader import POLL_S
from serial_bridge.settings import RecordSettings

log = logging.getLogger(__name__)


def record(settings: RecordSettings, stop: Stop) -> int:
    """Write all that arrives until the program stops, the source ends or the time is over."""
    try:
        file = settings.file.open("x", encoding="ascii", newline="\n")
    except OSError as error:
        raise SettingsError([f"FILE: {settings.file} cannot be written: {error.strerror}"]) from None
    source = open_source(settings.port, settings.baud, seed=1)
    connection, monitor, decoder = Connection(source), LinkMonitor(source.device), HEADSETS[settings.headset]()
    now_s = time.monotonic()
    end_s = float("inf") if settings.seconds is None else now_s + settings.seconds
    with file:
        capture = CaptureWriter(file, settings.headset)
        while not stop.is_set() and now_s < end_s:
            try:
                if connection.port is None:
                    if connection.open(now_s):
                        monitor.on_open(now_s)
                        decoder = HEADSETS[settings.headset]()
                elif arrived := connection.read():
                    capture.write(arrived, now_s)
                    monitor.on_bytes(now_s)
                    monitor.on_events(decoder.feed(arrived), now_s)
                elif source.can_reopen and monitor.must_reopen(now_s):
                    status = monitor.status(now_s)
                    raise PortFault(status.link, status.hint)
            except PortFault as fault:
                if fault.link is Link.ENDED:
                    break
                log.warning("%s", fault)
                connection.close(has_frames=monitor.has_frames)
                connection.plan_retry(now_s, is_fault=fault.link in GONE)
            time.sleep(POLL_S)
            now_s = time.monotonic()
    connection.close(has_frames=monitor.has_frames)
    return lifecycle.OK

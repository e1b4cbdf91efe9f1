"""Record a headset's bytes into a capture, also while its port is lost and found again."""

import logging
import time

from neuroone.contract.messages import Link
from neuroone.service.lifecycle import Stop
from serial_bridge.captures.files import CaptureWriter
from serial_bridge.headsets import HEADSETS
from serial_bridge.link_monitor import GONE, LinkMonitor
from serial_bridge.ports.connection import Connection
from serial_bridge.ports.port import PortFault
from serial_bridge.ports.sources import PortSource
from serial_bridge.reader import POLL_S

log = logging.getLogger(__name__)


def record_capture(source: PortSource, capture: CaptureWriter, headset: str, stop: Stop, seconds: float | None) -> None:
    """Write all that arrives until the program stops, the source ends or ``seconds`` have passed."""
    connection, monitor, decoder = Connection(source), LinkMonitor(source.device), HEADSETS[headset]()
    now_s = time.monotonic()
    end_s = float("inf") if seconds is None else now_s + seconds
    while not stop.is_set() and now_s < end_s:
        try:
            if connection.port is None:
                if connection.open(now_s):
                    monitor.on_open(now_s)
                    decoder = HEADSETS[headset]()
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

"""Record a headset's bytes into a capture, also while its port is lost and found again."""

import logging
from collections.abc import Callable

from neuroone.contract.messages import Link
from serial_bridge.captures.files import CaptureWriter
from serial_bridge.headset import Environment
from serial_bridge.headsets import Decoder
from serial_bridge.link_monitor import GONE, LinkMonitor
from serial_bridge.ports.connection import Connection
from serial_bridge.ports.port import PortFault
from serial_bridge.ports.sources import PortSource
from serial_bridge.reader import POLL_S

log = logging.getLogger(__name__)


def record_capture(
    source: PortSource,
    capture: CaptureWriter,
    new_decoder: Callable[[], Decoder],
    environment: Environment,
    *,
    sleep: Callable[[float], object],
    is_stopped: Callable[[], bool],
    seconds: float | None,
) -> None:
    """Write all that arrives until the program stops, the source ends or ``seconds`` have passed."""
    began_s = environment.clock()
    connection, monitor = Connection(source, environment.rng), LinkMonitor(source.device)
    decoder = new_decoder()
    while not is_stopped() and (seconds is None or environment.clock() - began_s < seconds):
        now_s = environment.clock()
        try:
            if connection.port is None:
                if connection.open(now_s):
                    monitor.on_open(now_s)
                    decoder = new_decoder()
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
            if connection.port is not None:
                connection.close()
                connection.judge_speed(monitor.has_frames)
            connection.plan_retry(now_s, is_fault=fault.link in GONE)
        sleep(POLL_S)
    connection.close()

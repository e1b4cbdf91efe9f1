"""Taps a headset's bytes into a capture, through lost and found ports."""

import logging
from collections.abc import Callable

from neuroone.contract.messages import Link
from serial_bridge.captures.files import CaptureWriter
from serial_bridge.headset import REOPEN, Environment
from serial_bridge.headsets import Decoder
from serial_bridge.link_monitor import LinkMonitor
from serial_bridge.ports.port import PortFault
from serial_bridge.ports.sources import PortSource
from serial_bridge.reader import POLL_S

log = logging.getLogger(__name__)


def record(
    source: PortSource,
    recording: CaptureWriter,
    new_decoder: Callable[[], Decoder],
    environment: Environment,
    *,
    sleep: Callable[[float], object],
    is_stopped: Callable[[], bool],
    seconds: float | None,
) -> None:
    """Write all that comes until the program stops, the source ends or ``seconds`` have gone by."""
    began_s = environment.clock()
    monitor = LinkMonitor(source.device)
    has_ended, attempt = False, 0

    def is_over() -> bool:
        return has_ended or is_stopped() or (seconds is not None and environment.clock() - began_s >= seconds)

    while not is_over():
        try:
            port = source.open()
        except PortFault as fault:
            log.warning("%s", fault)
            attempt += 1
            sleep(REOPEN.delay_s(attempt, environment.rng))
            continue
        decoder = new_decoder()
        monitor.on_open(environment.clock())
        try:
            while not is_over():
                now_s = environment.clock()
                if arrived := port.read():
                    recording.write(arrived, now_s)
                    monitor.on_bytes(now_s)
                    monitor.on_events(decoder.feed(arrived), now_s)
                elif source.can_reopen and monitor.must_reopen(now_s):
                    log.warning("%s", monitor.status(now_s).hint)
                    break
                sleep(POLL_S)
        except PortFault as fault:
            has_ended = fault.link is Link.ENDED
            if not has_ended:
                log.warning("%s", fault)
        finally:
            port.close()
        source.heard(monitor.has_frames)
        attempt = 0 if monitor.has_frames else attempt + 1

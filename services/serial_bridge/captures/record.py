"""Taps a headset's bytes into a capture, through lost and found ports."""

import logging
from collections.abc import Callable

from neuroone.contract.messages import Link
from serial_bridge.captures.files import Recording
from serial_bridge.headset import REOPEN, Surroundings
from serial_bridge.headsets import Decoder
from serial_bridge.link_monitor import Watch
from serial_bridge.ports.port import PortFault
from serial_bridge.ports.sources import Way
from serial_bridge.reader import POLL_S

log = logging.getLogger(__name__)


def record(
    way: Way,
    recording: Recording,
    new_decoder: Callable[[], Decoder],
    world: Surroundings,
    *,
    sleep: Callable[[float], object],
    is_stopped: Callable[[], bool],
    seconds: float | None,
) -> None:
    """Write all that comes until the program stops, the source ends or ``seconds`` have gone by."""
    began_s = world.clock()
    watch = Watch(way.device)
    has_ended, attempt = False, 0

    def is_over() -> bool:
        return has_ended or is_stopped() or (seconds is not None and world.clock() - began_s >= seconds)

    while not is_over():
        try:
            port = way.open()
        except PortFault as fault:
            log.warning("%s", fault)
            attempt += 1
            sleep(REOPEN.delay_s(attempt, world.rng))
            continue
        decoder = new_decoder()
        watch.opened(world.clock())
        try:
            while not is_over():
                now_s = world.clock()
                if arrived := port.read():
                    recording.take(arrived, now_s)
                    watch.arrived(now_s)
                    watch.took(decoder.feed(arrived), now_s)
                elif way.can_reopen and watch.must_reopen(now_s):
                    log.warning("%s", watch.standing(now_s).hint)
                    break
                sleep(POLL_S)
        except PortFault as fault:
            has_ended = fault.link is Link.ENDED
            if not has_ended:
                log.warning("%s", fault)
        finally:
            port.close()
        way.heard(watch.has_frames)
        attempt = 0 if watch.has_frames else attempt + 1

"""serial-bridge: from headsets to the broker. This module only wires."""

import sys
import threading
import time
from collections.abc import Sequence
from itertools import zip_longest

from neuroone.contract import topics
from neuroone.runtime import lifecycle
from neuroone.runtime.bus import MqttBus, Vitals
from neuroone.runtime.lifecycle import Command, Stop
from neuroone.runtime.settings import host_id
from serial_bridge import ways
from serial_bridge.bridge import Headset, Outlet, Surroundings, Way
from serial_bridge.headsets import HEADSETS
from serial_bridge.leftovers import Leftovers
from serial_bridge.settings import ReplaySettings, RunSettings, StreamSettings
from serial_bridge.stream import Owner

SERVICE = "serial_bridge"
BACKLOG_MAX_MESSAGES = 1000
"""A capture that is played fast waits while so many messages are on their way to the broker."""
CLOSE_S = 5.0
"""For the broker to take what is still on its way when the program ends."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return lifecycle.main(
        "serial-bridge",
        {
            "run": Command(RunSettings, run, "read headsets and publish what they say, until stopped"),
            "replay": Command(ReplaySettings, replay, "play a capture as if a headset sent it, then exit"),
        },
        argv,
    )


def run(settings: RunSettings, stop: Stop) -> int:
    """Read every port until the program is stopped."""
    found = [ways.way_to(port, settings.baud, settings.seed + n) for n, port in enumerate(settings.port)]
    return publish(settings, stop, found, settings.name)


def replay(settings: ReplaySettings, stop: Stop) -> int:
    """Play a capture; 0 when all of it is with the broker."""
    way = ways.capture(settings.file, settings.speed, settings.loop)
    return publish(settings, stop, [way], settings.name or (settings.file.stem,), ends=True)


def publish(
    settings: StreamSettings, stop: Stop, found: Sequence[Way], names: Sequence[str], ends: bool = False
) -> int:
    """Publish headsets until the program is stopped or, when ``ends``, until the last of them ended."""
    group = topics.group_id(settings.code)
    sources = [given or way.source for way, given in zip_longest(found, settings.source[: len(found)])]
    identity = settings.identity(SERVICE, time.time(), topics.id_from_text("-".join([host_id(), *sources])))
    leftovers = Leftovers(identity, {(group, source) for source in sources})
    bus = MqttBus(
        settings.broker,
        identity,
        subscriptions={leftovers.filter: 1},
        on_delivery=lambda delivery: leftovers.take(delivery, bus),
        on_fatal=lambda error: stop.set(lifecycle.FAILED),
        vitals=lambda: Vitals(gauges={"headsets": len(headsets)}),
        ca_file=settings.broker_ca,
        health_file=settings.health_file,
    )
    world = Surroundings(clock=time.monotonic, sleep=time.sleep, is_stopped=stop.is_set)

    def has_room() -> bool:
        return bus.is_connected and bus.waiting < BACKLOG_MAX_MESSAGES

    headsets = [
        Headset(
            way,
            Outlet(bus, group, source),
            Owner(name, settings.code),
            HEADSETS[settings.headset],
            world,
            may_read=has_room if way.can_wait else always,
        )
        for way, source, name in zip_longest(found, sources, names[: len(found)])
    ]
    threads = [threading.Thread(target=each.run, name=f"headset-{n}", daemon=True) for n, each in enumerate(headsets)]
    bus.start()
    for thread in threads:
        thread.start()
    while not stop.wait(0.1):
        if ends and not any(thread.is_alive() for thread in threads) and not bus.waiting:
            break
    for thread in threads:
        thread.join(CLOSE_S)
    everything_arrived = bus.close(CLOSE_S)
    if stop.exit_code:
        return stop.exit_code
    return lifecycle.OK if everything_arrived and not any(each.fault for each in headsets) else lifecycle.FAILED


def always() -> bool:
    """A port is read whenever there is something: a headset does not wait."""
    return True


if __name__ == "__main__":
    sys.exit(main())

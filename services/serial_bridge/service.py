"""Wire and run the bridge: headsets, the broker, and the server for programs made for ThinkGear Connector."""

import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from neuroone.contract import topics
from neuroone.contract.errors import SettingsError
from neuroone.contract.messages import StreamStatus
from neuroone.lsl import library
from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.replay import ReplayBuffer, Stream
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service import lifecycle
from neuroone.service.lifecycle import Stop
from neuroone.service.process_memory import resident_bytes
from neuroone.service.settings import host_id
from neuroone.service.systemd import Report
from neuroone.service.watchdog import Watchdog
from neuroone.service.wearers import AUTO, Owner
from serial_bridge.captures.record import Recording, Recordings, path_in
from serial_bridge.headset import Headset
from serial_bridge.headsets import HEADSETS
from serial_bridge.orphaned_states import OrphanedStates
from serial_bridge.ports.memory import PortMemory
from serial_bridge.ports.memory import default_path as memory_path
from serial_bridge.ports.sources import PortSource, devices_of
from serial_bridge.publisher import StreamPublisher
from serial_bridge.reader import HeadsetReader, Search
from serial_bridge.settings import ReplaySettings, RunSettings
from serial_bridge.thinkgear_connector import ThinkGearConnectorServer

if TYPE_CHECKING:
    from neuroone.lsl.outlets import Outlets
    from serial_bridge.metrics import MetricsPage

SERVICE: Final = "serial_bridge"
THREAD_SWITCH_S: Final = 0.001
"""The headsets' thread and the client's wait for each other at most so long; Python's own 5 ms add up to 20."""
CLOSE_S: Final = 5.0
"""Time for the broker to accept the messages that are still on their way when the program ends."""
TICK_S: Final = 0.1
"""Time between two checks of the main thread for the end and for new ports."""

log = logging.getLogger(__name__)


class Service:
    """Read headsets and publish their data.

    ``sources`` are those of the ports that are named, ``owners`` of those who wear these headsets, in the same order;
    ``searched`` are the owners of headsets that a search finds (see `Search`), None: nothing is searched.
    """

    def __init__(
        self,
        settings: RunSettings | ReplaySettings,
        sources: Sequence[PortSource],
        owners: Sequence[Owner],
        stop: Stop,
        searched: list[Owner] | None = None,
    ) -> None:
        self._settings = settings
        self._searched = searched
        self._record, self._record_number = settings.record, int(settings.record is not None)
        """Where captures are written, and which recording this is; 0: none is wanted."""
        self._records_begun = 1
        self._stop = stop
        self._watchdog = Watchdog(settings.watchdog_s, on_alive=Report(lambda: self._bus.is_connected).on_alive)
        source_ids = unique(
            [given or source.source_id for source, given in zip_longest(sources, settings.source[: len(sources)])]
        )
        self._named = list(zip(sources, source_ids, owners, strict=True))
        identity = settings.identity(
            SERVICE, time.time(), topics.id_from_text("-".join([host_id(), *(source_ids or [AUTO])]))
        )
        self._publishers: dict[tuple[str, str], StreamPublisher] = {}
        replay = ReplayBuffer(time.monotonic)
        replay.on_covered = self._on_recorded
        self._bus: ThreadedClient = ThreadedClient(
            settings.brokers(random.Random()),
            identity,
            subscriptions={topics.every(topics.STREAM_STATE, identity.site): 1},
            on_delivery=lambda delivery: self._orphaned.on_delivery(delivery),
            on_fatal=self._give_up,
            health=self._health,
            ca_file=settings.broker_ca,
            health_file=settings.health_file,
            replay=replay,
        )
        self._orphaned: OrphanedStates = OrphanedStates(
            self._bus,
            {
                (topics.group_id(owner.code), source_id)
                for owner, source_id in zip([*owners, *(searched or [Owner()])], [*source_ids, AUTO], strict=False)
            },
        )
        self._tgc = None if settings.tgc is None else ThinkGearConnectorServer(settings.tgc, self._give_up)
        self._lsl = self._new_lsl(identity.site)
        self._reader = HeadsetReader()

    def run(self, *, ends: bool = False) -> int:
        """Publish until stopped or, with ``ends``, until the last headset ended and the broker has everything."""
        with self._watchdog:
            return self._run(ends=ends)

    def _run(self, *, ends: bool) -> int:
        page = self._new_metrics()
        if self._tgc is not None:
            try:
                self._tgc.start()
            except OSError as error:
                raise SettingsError([f"--tgc: port {self._settings.tgc} cannot be used: {error.strerror}"]) from None
        sys.setswitchinterval(THREAD_SWITCH_S)
        self._stop.on_line = self.on_line
        self._bus.start()
        for source, source_id, owner in self._named:
            self._reader.add(self._new_headset(source, source_id, owner))
        self._reader.on_moved = self._watchdog.watch("headsets")
        self._reader.start()
        if page is not None:
            page.start()
        search = None if self._searched is None else self._search(self._searched)
        beat, broker_beat = self._watchdog.watch("search for ports"), self._watchdog.watch("connection to the broker")
        due_s = time.monotonic() + TICK_S
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            if page is not None:
                page.count_lag(time.monotonic() - due_s)
            due_s = time.monotonic() + TICK_S
            beat()
            self._bus.call(broker_beat)
            self._orphaned.tick(time.monotonic())
            if search is not None:
                search.tick()
            if ends and all(headset.has_ended for headset in self._reader.headsets) and not self._bus.waiting:
                break
        self._reader.close(CLOSE_S)
        if search is not None:
            search.close()
        if self._tgc is not None:
            self._tgc.close()
        everything_arrived = self._bus.close(CLOSE_S)
        if self._stop.exit_code:
            return self._stop.exit_code
        is_well = everything_arrived and not any(headset.fault for headset in self._reader.headsets)
        return lifecycle.OK if is_well or not ends else lifecycle.FAILED

    def _new_metrics(self) -> "MetricsPage | None":
        """Return the server of /metrics, which listens, or None if there is to be none. Raises SettingsError."""
        settings = self._settings
        if not isinstance(settings, RunSettings) or not settings.metrics_port:
            return None
        from serial_bridge.metrics import MetricsPage  # prometheus_client takes a while, and most need none

        return MetricsPage(settings.metrics_host, settings.metrics_port, self._bus, self._health)

    def _new_lsl(self, site: str) -> "Outlets | None":
        """Return what sends everything to LSL, or None if nothing is to be sent there. Raises SettingsError."""
        if not self._settings.lsl:
            return None
        library.check("--lsl")
        from neuroone.lsl.outlets import Outlets, own_clock  # pylsl needs NumPy, and most need neither

        return Outlets(site, lambda: own_clock)

    def _new_headset(
        self, source: PortSource, source_id: str, owner: Owner, probe: Callable[[], Owner] | None = None
    ) -> Headset:
        group = topics.group_id(owner.code)
        publisher = self._publishers[group, source_id] = StreamPublisher(self._bus, group, source_id)
        if self._lsl is not None:
            publisher.on_messages = partial(self._lsl.on_messages, group, source_id, is_simulated=source.is_simulated)
        return Headset(
            source,
            publisher,
            owner,
            HEADSETS[self._settings.headset],
            headset_id=self._settings.headset_id,
            asks_raw=self._settings.raw,
            probe=probe,
            listener=None if self._tgc is None else self._tgc.on_events,
            recording=self._recordings(source, source_id, has_one_speed=len(source.speeds) == 1 and probe is None),
        )

    def _recordings(self, source: PortSource, source_id: str, *, has_one_speed: bool) -> Recordings:
        return Recordings(
            lambda: Recording(
                partial(path_in, self._record or Path(), source_id),
                self._settings.headset,
                keeps_all=has_one_speed,
                is_simulated=source.is_simulated,
            ),
            lambda: self._record_number,
        )

    def on_line(self, line: str) -> None:
        """Do what a parent program asks: ``record DIRECTORY`` begins captures of all headsets, ``record`` ends them."""
        word, _, directory = line.partition(" ")
        if word == "record" and directory:
            self._record = Path(directory)
            self._records_begun += 1
            self._record_number = self._records_begun
        elif word == "record":
            self._record_number = 0

    def _search(self, owners: list[Owner]) -> Search:
        def new_headset(source: PortSource, source_id: str, probe: Callable[[], Owner]) -> Headset:
            return self._new_headset(source, source_id, owners[-1], probe)

        publisher = StreamPublisher(self._bus, topics.group_id(owners[-1].code), AUTO)
        return Search(
            self._reader,
            new_headset,
            publisher,
            owners,
            lambda: devices_of([source for source, *_ in self._named]),
            PortMemory(memory_path()),
            self._settings.baud,
        )

    def _on_recorded(self, stream: Stream, seq: int) -> None:
        if (publisher := self._publishers.get(stream[:2])) is not None:
            publisher.on_recorded()

    def _give_up(self, error: Exception | str) -> None:
        log.error("%s", error)
        self._stop.set(lifecycle.FAILED)

    def _health(self) -> HealthReport:
        headsets = self._reader.headsets
        online = sum(headset.link_status.status is StreamStatus.ONLINE for headset in headsets)
        totals = Counter({} if self._tgc is None else self._tgc.counters)
        for headset in headsets:
            totals.update(headset.counters)
        gauges = {"headsets": sum(not headset.is_probe for headset in headsets), "online": online}
        if self._lsl is not None:
            totals["lsl_failed"] = self._lsl.counters["failed"]
        if self._tgc is not None:
            gauges["tgc_connected"] = self._tgc.connected
        return HealthReport(
            counters=totals,
            gauges=gauges,
            working=self._reader.is_alive() and (self._tgc is None or self._tgc.is_alive()),
            memory_bytes=resident_bytes(),
        )


def unique(sources: list[str]) -> list[str]:
    """Return the ids with a number appended to each repeated one: two simulated headsets are two sources."""
    return [
        source if source not in sources[:n] else f"{source}-{sources[:n].count(source) + 1}"
        for n, source in enumerate(sources)
    ]

"""Wire and run lsl-outlet: from the broker to LSL, and markers back."""

import asyncio
import contextlib
import logging
import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from lsl_outlet.marker_reader import MarkerReader
from lsl_outlet.settings import Settings
from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.json import decode
from neuroone.contract.messages import EventType, GroupEvent, RawBlock, Reading, StreamState, StreamStatus
from neuroone.lsl.descriptions import BRIDGE_COUNTER
from neuroone.lsl.outlets import FROM_LSL, Outlets
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.presence import HealthReport
from neuroone.service.lifecycle import FAILED, Stop
from neuroone.service.process_memory import resident_bytes
from neuroone.service.systemd import Report
from neuroone.service.watchdog import Watchdog

SERVICE: Final = "lsl_outlet"
TICK_S: Final = 0.5
"""Time between two beats for the watchdog."""
CLOSE_S: Final = 5.0
"""Time for the broker to accept the last markers when the program ends, and for LSL to stop reading them."""
STATES_MAX: Final = 10_000
"""Streams of which something is remembered; retained states are as many."""

log = logging.getLogger(__name__)


class Service:
    """Send every stream on the broker to LSL until the program must stop. Raises SettingsError."""

    def __init__(self, given: Settings, stop: Stop) -> None:
        self._given = given
        self._stop = stop
        self._outlets = Outlets(given.site)
        self._states: dict[tuple[str, str], StreamState] = {}
        self._markers: MarkerReader | None = None
        identity = given.identity(SERVICE, time.time())
        rules = (topics.READING, topics.RAW, topics.STREAM_STATE, topics.EVENT)
        self._client = AsyncClient(
            given.brokers(random.Random()),
            identity,
            subscriptions={topics.every(rule, given.site): rule.qos for rule in rules},
            on_delivery=self._on_delivery,
            on_fatal=self._on_fatal,
            health=self._health,
            ca_file=given.broker_ca,
            health_file=given.health_file,
        )

    def run(self) -> int:
        """Send until stopped; return the exit code."""
        watchdog = Watchdog(self._given.watchdog_s, on_alive=Report(lambda: self._client.is_connected).on_alive)
        with watchdog:
            asyncio.run(self._serve(watchdog))
        return self._stop.exit_code

    async def _serve(self, watchdog: Watchdog) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        self._stop.call(lambda: loop.call_soon_threadsafe(stopped.set))
        self._outlets.add_group(topics.ALL)
        self._client.start()
        if self._given.markers:
            self._markers = MarkerReader(
                lambda text, age_s: loop.call_soon_threadsafe(self._on_marker, text, age_s),
                watchdog.watch("markers"),
            )
            self._markers.start()
        beat = watchdog.watch("event loop")
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), TICK_S)
            beat()
            self._outlets.close_idle()
        if self._markers is not None:
            await asyncio.to_thread(self._markers.close, CLOSE_S)
        await self._client.close(CLOSE_S)

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            topic = topics.parse(delivery.topic)
            is_cleared = topic.rule is topics.STREAM_STATE and not delivery.payload
            message = None if is_cleared else decode(topic.rule.message, delivery.payload)
        except ContractError:
            self._client.counters["delivered_bad"] += 1
            return
        if isinstance(message, GroupEvent):
            self._outlets.on_event(topic["group"], message)
        elif isinstance(message, RawBlock | Reading):
            self._on_message(topic["group"], topic["source"], message)
        elif isinstance(message, StreamState) and message.status is not StreamStatus.OFFLINE:
            self._on_state(topic["group"], topic["source"], message)
        else:  # the stream has ended; its outlets stay for a while, so that recorders go on when it comes back
            self._states.pop((topic["group"], topic["source"]), None)

    def _on_state(self, group: str, source: str, state: StreamState) -> None:
        self._outlets.add_group(group)
        if len(self._states) < STATES_MAX or (group, source) in self._states:
            self._states[group, source] = state
        if BRIDGE_COUNTER in state.counters:
            self._outlets.remove(group, source)

    def _on_message(self, group: str, source: str, message: RawBlock | Reading) -> None:
        self._outlets.add_group(group)
        state = self._states.get((group, source))
        if state is None or BRIDGE_COUNTER not in state.counters:  # else its bridge sends it (serial-bridge run --lsl)
            is_simulated = state is not None and state.simulated is True
            self._outlets.on_messages(group, source, [message], is_simulated=is_simulated)

    def _on_marker(self, text: str, age_s: float) -> None:
        """Publish another program's marker as an event."""
        event = GroupEvent(
            id=f"{FROM_LSL}{uuid.uuid4().hex}",
            time=datetime.now(UTC) - timedelta(seconds=age_s),
            type=EventType.MARKER,
            text=text,
            source=None,
        )
        self._client.publish(topics.event(self._given.site, self._given.markers_to), event)

    def _on_fatal(self, error: NeuroOneError) -> None:
        log.error("%s", error)
        self._stop.set(FAILED)

    def _health(self) -> HealthReport:
        markers = self._markers
        counters = {**self._outlets.counters, **({} if markers is None else markers.counters)}
        gauges = {"streams": self._outlets.streams, "marker_inlets": 0 if markers is None else len(markers.programs)}
        working = markers is None or markers.is_alive()
        return HealthReport(counters, gauges, working=working, memory_bytes=resident_bytes())

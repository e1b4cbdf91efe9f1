"""``ws-gateway``: serves students' phones, dashboards and games over WebSocket."""

import asyncio
import contextlib
import gc
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from neuroone.contract import codec, topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.messages import GroupEvent, RawBlock, Reading, Recorded, ServiceState, StreamState
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.mqtt.threaded import Delivery
from neuroone.service import lifecycle
from neuroone.service.lifecycle import FAILED, Command, Stop
from neuroone.service.settings import BusSettings, decimal, port_number, setting, switch, text, whole
from ws_gateway.access import Access, Network, join_codes_in, networks, token_in
from ws_gateway.dashboards import Audience
from ws_gateway.dialects.handlers import Room
from ws_gateway.http import metrics
from ws_gateway.http.browsers import Browsers
from ws_gateway.http.pages import Downloads, Pages
from ws_gateway.http.recordings import Recordings
from ws_gateway.students.recent import Recent
from ws_gateway.students.stream_registry import States
from ws_gateway.students.students import Students
from ws_gateway.students.turns import Turns
from ws_gateway.websocket.server import Gateway

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with contextlib.suppress(ImportError):  # Windows, PyPy: the loop of the standard library does the same, slower
    from uvloop import new_event_loop

SERVICE: Final = "ws_gateway"
SEND_WAITING_PERIOD_S: Final = 0.05
LOOK_PERIOD_S: Final = 0.5
FORGET_PERIOD_S: Final = 5.0
MARKS_MAX: Final = 1000
"""Recorders' marks that wait for their turn: those of 100,000 students. The next one makes good one left out."""
LISTENERS_PERIOD_S: Final = 1.0
"""The local headset's frame goes out once a second."""
GC_THRESHOLDS: Final = (1_000_000, 10, 10)
"""Objects more than there were, about 100 MB, before the garbage collector looks for cycles, for which everybody waits.
Neither readings nor connections leave any (docs/decisions/0008)."""
FLUSH_TIMEOUT_S: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BusSettings):
    """What the gateway can be told."""

    host: str = setting("0.0.0.0", text, "Address that the WebSocket server listens on.")  # noqa: S104 (phones)
    ws_port: int = setting(8080, port_number, "Port of the WebSocket server.")
    reading_rate: float = setting(
        5.0, decimal(0.1, 1000), "Readings a second that one student may send; faster ones are coalesced to this rate."
    )
    token: str | None = setting(
        None,
        text,
        "Token that dashboards and clients that only listen must show; none lets everybody see.",
        secret=True,
    )
    token_file: Path | None = setting(
        None, Path, "File with that token; made with a new one where there is none.", metavar="FILE"
    )
    open_dashboards: bool = setting(False, switch, "Let everybody see the students, whatever token there is.")
    open_here: bool = setting(
        False, switch, "Let programs and pages of this machine see the students without the token."
    )
    join_codes: Path | None = setting(
        None,
        Path,
        "JSON file, an object of class code to the join code that its students must show; other classes need none.",
        metavar="FILE",
    )
    origin: tuple[str, ...] = setting(
        (), text, "Origin of web pages that may connect, like https://school.example. Default: all.", many=True
    )
    clients_per_address: int = setting(
        20_000, whole(1, 1_000_000), "Connections that one address may have; a school is behind one."
    )
    recordings: Path | None = setting(
        None,
        Path,
        "Directory of the recorder, from which the page's users may load files. Default: none.",
        metavar="DIR",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        networks,
        "Reverse proxies that are believed when their X-Forwarded-For says whom they serve. Default: none.",
        metavar="CIDR[,CIDR...]",
    )


def run(given: Settings, stop: Stop) -> int:
    """Serve until ``stop``; the exit code."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(given, stop))


async def _serve(given: Settings, stop: Stop) -> int:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    stop.call(lambda: loop.call_soon_threadsafe(stopped.set))
    access = _access(given)
    audience = Audience(time.monotonic)
    recent = Recent()
    ledger = ReplayBuffer(time.monotonic)
    marks: Turns[Delivery] = Turns(lambda delivery: take_mark(delivery), MARKS_MAX)

    def take(delivery: Delivery) -> None:
        try:
            topic = topics.parse(delivery.topic)
            if not delivery.payload and topic.rule is topics.STREAM_STATE:
                students.take_forgotten(topic)
                return
            if topic.rule is topics.RAW and not audience.is_watched(topic):
                return
            if topic.rule is topics.RECORDED:  # a thousand streams' worth at once: 10 us each
                marks.put(delivery)
                return
            message = recent.pop(delivery.payload) or codec.decode(topic.rule.message, delivery.payload)
        except ContractError:
            bus.counters["delivered_bad"] += 1
            return
        match message:
            case Reading():
                audience.take_reading(topic, message)
            case StreamState():
                students.take_state(topic, message)
                audience.take_state(topic, message)
            case GroupEvent():
                audience.take_event(topic, message)
            case ServiceState():
                states.take_service(topic, message)
                had_recorder = ledger.has_recorder
                ledger.take_state(topic, message)
                bus.replay(ledger.owed())
                if ledger.has_recorder != had_recorder:
                    room.tell_link()
            case RawBlock():
                audience.take_raw(topic, message)

    def take_mark(delivery: Delivery) -> None:
        try:
            mark = codec.decode(Recorded, delivery.payload)
        except ContractError:
            bus.counters["delivered_bad"] += 1
            return
        ledger.take_mark(mark)
        audience.take_recorded(topics.parse(delivery.topic)["instance"], mark.streams)

    def die(error: NeuroOneError) -> None:
        log.error("%s", error)
        stop.set(FAILED)

    def linked(up: bool) -> None:
        ledger.linked(up)
        room.tell_link()

    def vitals() -> HealthReport:
        return HealthReport(
            {
                **gateway.counters,
                **students.counters,
                "kept_overflowed": ledger.overflowed,
                "marks_dropped": marks.dropped,
            },
            {
                "clients": gateway.clients,
                "students": len(students),
                "dashboards": len(audience.dashboards) + len(audience.viewers),
                "kept": len(ledger),
                "kept_bytes": ledger.size_bytes,
            },
        )

    identity = given.identity(SERVICE, time.time())
    states = States(identity)
    bus = AsyncClient(
        given.broker,
        identity,
        subscriptions={
            topics.every(topics.READING, given.site): 0,  # a dashboard that misses one has the next
            topics.every(topics.RAW, given.site): 0,
            topics.every(topics.STREAM_STATE, given.site): 1,
            topics.every(topics.SERVICE_STATE, given.site): 1,
            topics.every(topics.RECORDED, given.site): 0,
            topics.every(topics.EVENT, given.site): 1,
        },
        on_delivery=take,
        on_link=linked,
        on_fatal=die,
        on_acked=lambda outgoing: students.take_acked(outgoing),
        vitals=vitals,
        replay=ledger.replay,
        wait_for=ledger.waits_for_recorder,
        ca_file=given.broker_ca,
        health_file=given.health_file,
    )
    students = Students(
        bus, ledger, recent, states, rate_hz=given.reading_rate, now=lambda: datetime.now(UTC), clock=time.monotonic
    )
    ledger.on_covered = students.take_covered
    room = Room(students, audience, access, lambda: (bus.is_connected, ledger.has_recorder))
    recordings = None if given.recordings is None else Recordings(given.recordings)
    gateway = Gateway(
        room,
        clock=time.monotonic,
        is_ready=lambda: bus.is_connected,
        metrics=metrics.page(lambda: _with_bus(vitals(), bus)),
        browsers=Browsers(Pages(), Downloads(recordings, access.may_watch)),
        clients_per_address=given.clients_per_address,
        trusted_proxies=given.trusted_proxies,
    )
    _allow_many_files()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    await gateway.listen(
        given.host, given.ws_port, given.origin
    )  # before the bus: its birth says that the gateway is ready
    log.info("listening on port %d of %s", given.ws_port, given.host)
    bus.start()
    clockwork = [
        asyncio.create_task(_every(period_s, call))
        for period_s, call in (
            (SEND_WAITING_PERIOD_S, students.send_waiting),
            (LOOK_PERIOD_S, students.look),
            (LOOK_PERIOD_S, ledger.look),
            (FORGET_PERIOD_S, students.forget),
            (LISTENERS_PERIOD_S, audience.tick),
        )
    ]
    await stopped.wait()
    gateway.stop_listening()
    for task in clockwork:
        task.cancel()
    students.leave_all()
    if not await bus.close(FLUSH_TIMEOUT_S):
        log.warning("the broker did not take the last %d messages", bus.waiting)
    await gateway.close()
    await asyncio.gather(*clockwork, return_exceptions=True)
    return stop.exit_code


def _access(given: Settings) -> Access:
    """Raises SettingsError."""
    token = given.token
    if token is None and given.token_file is not None:
        token = token_in(given.token_file)
    codes = {} if given.join_codes is None else join_codes_in(given.join_codes)
    return Access(None if given.open_dashboards else token, codes, time.monotonic, open_here=given.open_here)


def _with_bus(vitals: HealthReport, bus: AsyncClient) -> HealthReport:
    return replace(
        vitals, counters={**bus.counters, **vitals.counters}, gauges={"outbox": bus.waiting, **vitals.gauges}
    )


def _allow_many_files() -> None:
    """Every connection is an open file: take as many as the system lets us."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _every(period_s: float, call: Callable[[], None]) -> None:
    """Call at a steady rate; calls that the loop was too busy for are left out."""
    clock = asyncio.get_running_loop().time
    due_s = clock() + period_s
    while True:
        await asyncio.sleep(due_s - clock())
        call()
        due_s = max(due_s + period_s, clock())


def main() -> int:
    """The program ``ws-gateway``."""
    return lifecycle.main(
        "ws-gateway",
        {"run": Command(Settings, run, "serve students, dashboards and games over WebSocket, until stopped")},
    )


if __name__ == "__main__":
    sys.exit(main())

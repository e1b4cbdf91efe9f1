"""The gateway as a program: connect the broker, the students, the dashboards and the WebSocket server."""

import asyncio
import contextlib
import gc
import logging
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from prometheus_client.core import Metric

from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError, SettingsError
from neuroone.contract.json import decode
from neuroone.contract.messages import (
    Admission,
    GroupEvent,
    LessonState,
    RawBlock,
    Reading,
    Recorded,
    ServiceState,
    StreamState,
    Waiting,
)
from neuroone.contract.shards import Shard
from neuroone.contract.topics import RAW, Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.packets import NO_LOCAL
from neuroone.mqtt.presence import HealthReport
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.service.lifecycle import FAILED, Stop
from neuroone.service.local_address import ANY_ADDRESS
from neuroone.service.metrics import Metrics
from neuroone.service.open_files import allow_many_files
from neuroone.service.process_memory import resident_bytes
from neuroone.service.pseudonyms import Pseudonyms
from neuroone.service.systemd import Report
from neuroone.service.token_files import FIRST, Role, Token, TokenFault, TokenFiles, ensure_first, new_token
from neuroone.service.watchdog import Watchdog
from ws_gateway.access import Access, join_codes_in
from ws_gateway.dashboards import Dashboards
from ws_gateway.dialects import v1
from ws_gateway.dialects.handlers import Hub
from ws_gateway.door.entrance import Entrance
from ws_gateway.http import metrics
from ws_gateway.http.access_log import AccessLog
from ws_gateway.http.browsers import HttpHandler
from ws_gateway.http.invitations import Invitations, Site
from ws_gateway.http.pages import Downloads
from ws_gateway.http.readiness import Readiness
from ws_gateway.http.recordings import Recordings
from ws_gateway.http.trust import Trust
from ws_gateway.lessons import Lessons
from ws_gateway.osc import OscSender, connected
from ws_gateway.settings import Settings
from ws_gateway.students.raw_samples import RawSamples
from ws_gateway.students.stream_registry import StreamRegistry
from ws_gateway.students.students import Students
from ws_gateway.visitors import Visitors
from ws_gateway.websocket.certificate import of_settings
from ws_gateway.websocket.server import Server

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with contextlib.suppress(ImportError):  # Windows, PyPy: the standard library's loop does the same, slower
    from uvloop import new_event_loop

SERVICE: Final = "ws_gateway"
SEND_WAITING_PERIOD_S: Final = 0.05
CHECK_PERIOD_S: Final = 0.5
CLEAR_PERIOD_S: Final = 5.0
LISTENERS_PERIOD_S: Final = 1.0
"""The local headset's frame goes out once a second."""
LINK_PERIOD_S: Final = 5.0
"""Dashboards get something at least every 10 s: then one or two that come late do not look like a dead connection."""
TOKENS_PERIOD_S: Final = 2.0
"""A revoked token is worth nothing after this time."""
CERTIFICATE_PERIOD_S: Final = 2.0
"""`neuroone up` notices a new address of this machine within 10 s; phones should not wait much longer."""
GC_THRESHOLDS: Final = (1_000_000, 10, 10)
"""New objects (100 MB) before the garbage collector runs by itself; while it runs, everybody waits.
Neither readings nor connections create reference cycles (docs/decisions/0008)."""
GC_PERIOD_S: Final = 60.0
"""Whatever else creates cycles, it is freed after this time (docs/decisions/0018)."""
FLUSH_TIMEOUT_S: Final = 5.0
"""How long a stopping gateway waits for the broker to acknowledge the last messages."""

log = logging.getLogger(__name__)


class Service:
    """Wire the gateway's parts and run them until the program must stop. Raises SettingsError."""

    def __init__(self, given: Settings, stop: Stop) -> None:
        given.check_places()
        self._token_files = _token_files(given)
        self._access = _access(given, self._token_files)
        identity = given.identity(SERVICE, time.time())
        self._given = given
        self._stop = stop
        self._dashboards = Dashboards(time.monotonic)
        self._dashboards.on_watched = self._on_watched
        self._osc = OscSender(connected(given.osc)) if given.osc else None
        if self._osc is not None:
            self._dashboards.on_each_reading = self._osc.on_reading
        self._replay = ReplayBuffer(time.monotonic)
        self._had_recorders: tuple[bool, list[Shard]] = (False, [])
        """Whether there was any recorder, and which were missing, as clients were told last."""
        self._registry = StreamRegistry(identity)
        self._client = self._new_client(identity)
        self._students = Students(
            self._client,
            self._registry,
            self._replay,
            self._dashboards.on_own_reading,
            rate_hz=given.reading_rate,
            now=_utc_now,
            clock=time.monotonic,
        )
        self._replay.on_acked = self._students.on_acked
        self._replay.on_covered = self._students.on_recorded
        self._latencies = metrics.Latencies()
        self._replay.on_first_ack = self._latencies.ack.observe
        self._hub = self._new_hub()
        if given.pseudonyms is not None:
            self._hub.pseudonyms = Pseudonyms(given.pseudonyms)
            self._hub.pseudonyms.open()
        self._readiness = Readiness(self._client, self._replay, lambda: self._server.is_stopping)
        self._server = self._new_server(identity)

    def _new_server(self, identity: Identity) -> Server:
        given = self._given
        https = of_settings(given.tls_port, given.tls_cert, given.tls_key, given.tls_ca)
        recordings = None if given.recordings is None else Recordings(given.recordings)
        access_log = None if given.access_log is None else AccessLog(given.access_log, self._access.token_name)
        site = Site(given.host, given.ws_port, given.tls_port, given.public_url)
        http = HttpHandler(
            Downloads(recordings, self._access.grant_of, access_log),
            Invitations(site, self._access, https.authority),
            Trust(site, https.authority),
            readiness=self._readiness.answer,
            metrics=Metrics(identity, lambda: self._client.is_connected, self._metrics).page,
        )
        return Server(
            self._hub,
            http,
            clients_per_address=given.clients_per_address,
            visitors=Visitors(given.trusted_proxies, given.origin, given.site_key),
            https=https,
        )

    def _new_hub(self) -> Hub:
        lessons = Lessons(self._client, self._on_lesson, time.monotonic)
        entrance = Entrance(
            self._client,
            self._students,
            lessons,
            rate_hz=self._given.reading_rate,
            now=_utc_now,
            clock=time.monotonic,
        )
        raw = RawSamples(
            self._client, lessons, self._students.announce, self._on_own_raw, now=_utc_now, clock=time.monotonic
        )
        return Hub(
            self._students,
            self._dashboards,
            self._access,
            entrance,
            raw,
            self._link_frame,
        )

    def _link_frame(self, stream: tuple[str, str] | None) -> str:
        """Tell a student of its own recorder, a dashboard of all."""
        is_there = self._replay.has_recorder if stream is None else self._replay.has_recorder_of(*stream)
        missing = self._replay.missing if stream is None else ()
        return v1.link(broker=self._client.is_connected, recorder=is_there, missing=tuple(map(str, missing)))

    def _new_client(self, identity: Identity) -> AsyncClient:
        given = self._given
        return AsyncClient(
            given.brokers(random.Random()),
            identity,
            subscriptions={
                # A dashboard that misses a reading gets the next one; those of this gateway it has already.
                topics.every(topics.READING, given.site): NO_LOCAL | 0,
                topics.every(topics.STREAM_STATE, given.site): 1,
                topics.every(topics.SERVICE_STATE, given.site): 1,
                topics.every(topics.RECORDED, given.site): 0,
                topics.every(topics.EVENT, given.site): 1,
                topics.every(topics.LESSON, given.site): 1,
                topics.every(topics.WAITING, given.site): 0,
                topics.every(topics.ADMISSION, given.site, instance=identity.instance): 1,
            },
            on_delivery=self._on_delivery,
            on_link=self._on_link,
            on_fatal=self._on_fatal,
            health=self._health,
            replay=self._replay,
            ca_file=given.broker_ca,
            health_file=given.health_file,
        )

    def run(self) -> int:
        """Serve until the program must stop; return the exit code. Raises SettingsError."""
        watchdog = Watchdog(self._given.watchdog_s, on_alive=Report(lambda: self._client.is_connected).on_alive)
        with watchdog, asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._serve(watchdog))
        return self._stop.exit_code

    async def _serve(self, watchdog: Watchdog) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        self._stop.call(lambda: loop.call_soon_threadsafe(stopped.set))
        files_max = allow_many_files()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        # Listen before the broker is told that the gateway is online.
        await self._server.listen(self._given.host, self._given.ws_port, files_max)
        hosts = ("all addresses" if host in ANY_ADDRESS else host for host in self._given.host)
        log.info("listening on port %d of %s", self._given.ws_port, ", ".join(hosts))
        if self._given.public_url is not None:
            log.info("others reach this gateway at %s", self._given.public_url)
        self._client.start()
        timers = [
            asyncio.create_task(self._every(period_s, call))
            for period_s, call in (
                (SEND_WAITING_PERIOD_S, self._students.send_waiting),
                (SEND_WAITING_PERIOD_S, self._hub.entrance.visit),
                (CHECK_PERIOD_S, watchdog.watch("event loop")),
                (CHECK_PERIOD_S, self._students.check_silence),
                (CLEAR_PERIOD_S, self._students.clear_outdated),
                (CLEAR_PERIOD_S, self._hub.entrance.lessons.check),
                (LISTENERS_PERIOD_S, self._dashboards.send_headset),
                (LISTENERS_PERIOD_S, self._hub.entrance.publish),
                (GC_PERIOD_S, collect_young),
                (LINK_PERIOD_S, self._send_link),
                (TOKENS_PERIOD_S, self._read_tokens),
                (CERTIFICATE_PERIOD_S, self._server.https.refresh),
            )
        ]
        await stopped.wait()
        self._server.stop_accepting()
        for timer in timers:
            timer.cancel()
        self._students.leave_all()
        if not await self._client.close(FLUSH_TIMEOUT_S):
            log.warning("the broker did not acknowledge the last %d messages", self._client.waiting)
        await self._server.close()
        if self._osc is not None:
            self._osc.close()
        await asyncio.gather(*timers, return_exceptions=True)

    async def _every(self, period_s: float, call: Callable[[], None]) -> None:
        """Call at a steady rate, leaving out calls that the loop was too busy for; end the service on a fault."""
        clock = asyncio.get_running_loop().time
        due_s = clock() + period_s
        while True:
            await asyncio.sleep(due_s - clock())
            self._latencies.loop.observe(max(0.0, clock() - due_s))
            try:
                call()
            except Exception:  # a gateway that no longer does this must not look healthy
                log.exception("a fault in a periodic task: the gateway ends")
                self._stop.set(FAILED)
                return
            due_s = max(due_s + period_s, clock())

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            topic = topics.parse(delivery.topic)
            if topic.rule is topics.RAW and not self._dashboards.is_watched(topic):
                return
            if topic.rule is topics.STREAM_STATE and not delivery.payload:
                self._students.on_state_cleared(topic)
                return
            if topic.rule is topics.LESSON and not delivery.payload:
                self._hub.entrance.lessons.on_state(topic, None)
                return
            message = decode(topic.rule.message, delivery.payload)
        except ContractError:
            self._client.counters["delivered_bad"] += 1
            return
        match message:
            case Reading():
                self._students.newcomers.on_reading(topic, time.monotonic())
                if not self._students.has_sent(topic, message):
                    self._dashboards.on_reading(topic, message)
            case StreamState():
                self._students.on_state(topic, message)
                self._dashboards.on_state(topic, message)
            case GroupEvent():
                self._dashboards.on_event(topic, message)
                self._hub.entrance.lessons.on_event(topic, message)
            case LessonState():
                self._hub.entrance.lessons.on_state(topic, message)
            case Waiting():
                self._hub.entrance.board.on_waiting(topic["instance"], message)
            case Admission():
                self._hub.entrance.on_admission(message)
            case ServiceState():
                self._on_service(topic, message)
            case RawBlock():
                if not self._hub.raw.has_sent(topic, message):
                    self._dashboards.on_raw(topic, message)
            case Recorded():
                self._dashboards.on_receipts(topic["instance"], message.streams)

    def _on_lesson(self, group: str, state: LessonState) -> None:
        self._dashboards.on_lesson(group, state)
        self._hub.entrance.on_lesson(state)
        self._hub.raw.on_lesson(group)

    def _on_own_raw(self, topic: Topic, block: RawBlock) -> None:
        if self._dashboards.is_watched(topic):
            self._dashboards.on_raw(topic, block)

    def _on_watched(self, stream: str, is_watched: bool) -> None:
        """Subscribe to raw samples while a dashboard wants them: of all students they would be too many."""
        filter = str(topics.raw(self._given.site, *stream.split("/")))
        if is_watched:
            self._client.session.subscribe(filter, NO_LOCAL | RAW.qos)
        else:
            self._client.session.unsubscribe(filter)

    def _on_service(self, topic: Topic, state: ServiceState) -> None:
        self._registry.on_service(topic, state)
        self._readiness.on_service(topic, state)
        recorders = self._replay.has_recorder, self._replay.missing
        if recorders != self._had_recorders:
            self._had_recorders = recorders
            self._hub.send_link()

    def _read_tokens(self) -> None:
        """Read the tokens again if `neuroone token` has changed them, and end those who watch by a revoked one."""
        try:
            tokens = self._token_files.read_if_changed()
        except TokenFault as fault:
            self._hub.say(f"the tokens stay as they were: {fault}")
            return
        if tokens is not None:
            self._access.set_tokens(tokens)
            self._hub.on_tokens_changed()

    def _on_link(self, up: bool) -> None:
        self._hub.entrance.lessons.on_link()
        self._hub.send_link()

    def _send_link(self) -> None:
        """Show clients that their connection works: those that get no acks, and no readings now."""
        if self._client.is_connected:
            self._dashboards.send_link(self._hub.link_frame(None))
        else:
            self._hub.send_link()

    def _on_fatal(self, error: NeuroOneError) -> None:
        log.error("%s", error)
        self._stop.set(FAILED)

    def _health(self) -> HealthReport:
        return HealthReport(
            {
                **self._hub.counters,
                **self._students.counters,
                **self._hub.entrance.door.counters,
                **self._hub.raw.counters,
                **self._server.http.counters,
                **self._server.https.counters,
                "kept_overflowed": self._replay.overflowed,
                "osc_lost": 0 if self._osc is None else self._osc.lost,
            },
            {
                "clients": self._server.clients,
                "students": len(self._students),
                "dashboards": len(self._dashboards),
                "waiting": len(self._hub.entrance.door),
                "removed": sum(len(lesson.removed) for lesson in self._hub.entrance.lessons.running()),
                "kept": len(self._replay),
                "kept_bytes": self._replay.size_bytes,
                "recorders_missing": len(self._replay.missing) or int(not self._replay.has_recorder),
            },
            memory_bytes=resident_bytes(),
        )

    def _metrics(self) -> Iterator[Metric]:
        """Yield the gateway's own metrics; the client's numbers, which health messages hold anyway, are among them."""
        report, client = self._health(), self._client
        return metrics.own_metrics(
            {**client.counters, **report.counters},
            {**client.session.publications.gauges(), **report.gauges},
            self._hub.refusals,
            self._latencies,
            self._server.https.left_s(time.time()),
        )


def collect_young() -> None:
    """Free the reference cycles among the objects of the last minute."""
    gc.collect(0)


def _token_files(given: Settings) -> TokenFiles:
    """Return the tokens' files; without --token and --token-file a token for this run. Raises SettingsError."""
    if given.token is not None:
        return TokenFiles(given.token_file, Token(given.token))
    if given.token_file is None:
        first = None if given.open_dashboards else new_token(FIRST, Role.TEACHER)
        if first is not None:
            log.warning(
                "dashboards of other machines need ?token=%s in their address, until this gateway ends; "
                "--token-file keeps a token",
                first.token,
            )
        return TokenFiles(None, first)
    try:
        ensure_first(given.token_file)
    except OSError as error:
        raise SettingsError((f"--token-file: {given.token_file} cannot be read or made ({error})",)) from None
    return TokenFiles(given.token_file, None)


def _access(given: Settings, files: TokenFiles) -> Access:
    try:
        tokens = files.read()
    except TokenFault as fault:
        raise SettingsError((f"--token-file: {fault}",)) from None
    codes = {} if given.join_codes is None else join_codes_in(given.join_codes)
    return Access(
        tokens,
        codes,
        time.monotonic,
        open_here=given.open_here,
        open_dashboards=given.open_dashboards,
        site_key=given.site_key,
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)

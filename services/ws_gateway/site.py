"""One site of the gateway: its broker, students, dashboards, lessons, pages and tokens, and nothing of another site."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

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
from neuroone.service.metrics import Metrics
from neuroone.service.process_memory import resident_bytes
from neuroone.service.pseudonyms import Pseudonyms
from neuroone.service.token_files import FIRST, Role, Token, TokenFault, TokenFiles, ensure_first, new_token
from ws_gateway.access import Access, join_codes_in
from ws_gateway.dashboards import Dashboards
from ws_gateway.dialects import v1
from ws_gateway.dialects.handlers import Hub
from ws_gateway.door.entrance import Entrance
from ws_gateway.http import metrics, responses
from ws_gateway.http.access_log import AccessLog
from ws_gateway.http.browsers import HttpHandler
from ws_gateway.http.invitations import Invitations, Site
from ws_gateway.http.pages import Downloads, Pages
from ws_gateway.http.readiness import Readiness
from ws_gateway.http.recordings import Recordings
from ws_gateway.http.trust import Trust
from ws_gateway.lessons import Lessons
from ws_gateway.osc import OscSender, connected
from ws_gateway.settings import Settings
from ws_gateway.students.raw_samples import RawSamples
from ws_gateway.students.stream_registry import StreamRegistry
from ws_gateway.students.students import Students
from ws_gateway.visitors import Visitor, Visitors
from ws_gateway.websocket.admission import Admission as Connections
from ws_gateway.websocket.certificate import Https
from ws_gateway.websocket.paced_reading import share_of_time
from ws_gateway.websocket.server import Server

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
FLUSH_TIMEOUT_S: Final = 5.0
"""How long a stopping gateway waits for the broker to acknowledge the last messages."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sites of one gateway have in common: its certificate, its connections and the files of its pages.

    ``sites`` lists for a visitor the sites of a district; a gateway of one site is no district and lists none.
    ``on_fatal`` is called when a site has lost its broker for good.
    """

    https: Https
    connections: Connections
    pages: Pages
    on_fatal: Callable[["SiteGateway", NeuroOneError], None]
    is_district: bool = False
    sites: Callable[[Visitor], list[dict[str, Any]]] = lambda visitor: []


class SiteGateway:
    """Wire the parts of one site. ``tokens`` are those that open this site. Raises SettingsError."""

    def __init__(self, given: Settings, tokens: Sequence[TokenFiles], shared: Shared) -> None:
        given.check_places()
        self._tokens = _read(tokens)
        self.access = _access(given, self._tokens)
        identity = given.identity(SERVICE, time.time())
        self._given = given
        self._dashboards = Dashboards(time.monotonic)
        self._dashboards.on_watched = self._on_watched
        self._osc = OscSender(connected(given.osc)) if given.osc else None
        if self._osc is not None:
            self._dashboards.on_each_reading = self._osc.on_reading
        self._replay = ReplayBuffer(time.monotonic)
        self._had_recorders: tuple[bool, list[Shard]] = (False, [])
        """Whether there was any recorder, and which were missing, as clients were told last."""
        self._registry = StreamRegistry(identity)
        self.client = self._new_client(identity, lambda error: shared.on_fatal(self, error))
        self._students = Students(
            self.client,
            self._registry,
            self._replay,
            self._dashboards.on_own_reading,
            rate_hz=given.reading_rate,
            now=_utc_now,
            clock=time.monotonic,
        )
        self._replay.on_acked = self._students.on_acked
        self._replay.on_covered = self._students.on_recorded
        self.latencies = metrics.Latencies()
        self._replay.on_first_ack = self.latencies.ack.observe
        self.hub = self._new_hub()
        if given.pseudonyms is not None:
            self.hub.pseudonyms = Pseudonyms(given.pseudonyms)
            self.hub.pseudonyms.open()
        self.readiness = Readiness(self.client, self._replay, lambda: self.server.is_stopping)
        self.server = self._new_server(identity, shared)

    def _new_server(self, identity: Identity, shared: Shared) -> Server:
        given, https = self._given, shared.https
        recordings = None if given.recordings is None else Recordings(given.recordings)
        access_log = None if given.access_log is None else AccessLog(given.access_log, self.access.token_name)
        site = Site(given.host, given.ws_port, given.tls_port, given.public_url)
        http = HttpHandler(
            shared.pages,
            Downloads(recordings, self.access.grant_of, access_log),
            Invitations(site, self.access, https.authority),
            Trust(site, https.authority),
            readiness=self.readiness.answer,
            metrics=Metrics(identity, lambda: self.client.is_connected, self.metrics).page,
            sites=shared.sites,
        )
        if shared.is_district:  # in a gateway of one site, counts are everybody's
            http.refuse_counts = lambda visitor: responses.unless_granted(self.access.grant_of(visitor))
        return Server(
            self.hub,
            http,
            connections=shared.connections,
            visitors=Visitors(given.trusted_proxies, given.origin, given.site_key),
            https=https,
            share=share_of_time() if shared.is_district else None,
        )

    def _new_hub(self) -> Hub:
        lessons = Lessons(self.client, self._on_lesson, time.monotonic)
        entrance = Entrance(
            self.client,
            self._students,
            lessons,
            rate_hz=self._given.reading_rate,
            now=_utc_now,
            clock=time.monotonic,
        )
        raw = RawSamples(
            self.client, lessons, self._students.announce, self._on_own_raw, now=_utc_now, clock=time.monotonic
        )
        return Hub(
            self._students,
            self._dashboards,
            self.access,
            entrance,
            raw,
            self._link_frame,
        )

    def _link_frame(self, stream: tuple[str, str] | None) -> str:
        """Tell a student of its own recorder, a dashboard of all."""
        is_there = self._replay.has_recorder if stream is None else self._replay.has_recorder_of(*stream)
        missing = self._replay.missing if stream is None else ()
        return v1.link(broker=self.client.is_connected, recorder=is_there, missing=tuple(map(str, missing)))

    def _new_client(self, identity: Identity, on_fatal: Callable[[NeuroOneError], None]) -> AsyncClient:
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
            on_fatal=on_fatal,
            health=self.health,
            replay=self._replay,
            ca_file=given.broker_ca,
            health_file=given.health_file,
        )

    def timers(self) -> list[tuple[float, Callable[[], None]]]:
        """List what must be called again and again, each after the seconds of its period."""
        return [
            (SEND_WAITING_PERIOD_S, self._students.send_waiting),
            (SEND_WAITING_PERIOD_S, self.hub.entrance.visit),
            (CHECK_PERIOD_S, self._students.check_silence),
            (CHECK_PERIOD_S, self._check_recorders),
            (CLEAR_PERIOD_S, self._students.clear_outdated),
            (CLEAR_PERIOD_S, self.hub.entrance.lessons.check),
            (LISTENERS_PERIOD_S, self._dashboards.send_headset),
            (LISTENERS_PERIOD_S, self.hub.entrance.publish),
            (LINK_PERIOD_S, self._send_link),
            (TOKENS_PERIOD_S, self._read_tokens),
        ]

    def attempt(self, call: Callable[[], None]) -> None:
        """Call; after a fault of ours go on, count it, and be ready no more."""
        try:
            call()
        except Exception:
            self.hub.counters["faults"] += 1
            if not self.readiness.is_faulty:
                log.exception("site %s: a fault in a periodic task", self._given.site)
            self.readiness.is_faulty = True

    async def end(self) -> None:
        """End all streams, and hand the rest to the broker."""
        self._students.leave_all()
        if not await self.client.close(FLUSH_TIMEOUT_S):
            log.warning("the broker did not acknowledge the last %d messages", self.client.waiting)
        if self._osc is not None:
            self._osc.close()

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            topic = topics.parse(delivery.topic)
            if topic.rule is topics.RAW and not self._dashboards.is_watched(topic):
                return
            if topic.rule is topics.STREAM_STATE and not delivery.payload:
                self._students.on_state_cleared(topic)
                return
            if topic.rule is topics.LESSON and not delivery.payload:
                self.hub.entrance.lessons.on_state(topic, None)
                return
            message = decode(topic.rule.message, delivery.payload)
        except ContractError:
            self.client.counters["delivered_bad"] += 1
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
                self.hub.entrance.lessons.on_event(topic, message)
            case LessonState():
                self.hub.entrance.lessons.on_state(topic, message)
            case Waiting():
                self.hub.entrance.board.on_waiting(topic["instance"], message)
            case Admission():
                self.hub.entrance.on_admission(message)
            case ServiceState():
                self._on_service(topic, message)
            case RawBlock():
                if not self.hub.raw.has_sent(topic, message):
                    self._dashboards.on_raw(topic, message)
            case Recorded():
                self._dashboards.on_receipts(topic["instance"], message.streams)

    def _on_lesson(self, group: str, state: LessonState) -> None:
        self._dashboards.on_lesson(group, state)
        self.hub.entrance.on_lesson(state)
        self.hub.raw.on_lesson(group)

    def _on_own_raw(self, topic: Topic, block: RawBlock) -> None:
        if self._dashboards.is_watched(topic):
            self._dashboards.on_raw(topic, block)

    def _on_watched(self, stream: str, is_watched: bool) -> None:
        """Subscribe to raw samples while a dashboard wants them: of all students they would be too many."""
        filter = str(topics.raw(self._given.site, *stream.split("/")))
        if is_watched:
            self.client.session.subscribe(filter, NO_LOCAL | RAW.qos)
        else:
            self.client.session.unsubscribe(filter)

    def _on_service(self, topic: Topic, state: ServiceState) -> None:
        self._registry.on_service(topic, state)
        self.readiness.on_service(topic, state)
        self._check_recorders()

    def _check_recorders(self) -> None:
        """Tell clients if a recorder has come or gone; one that only keeps silent is gone, too."""
        recorders = self._replay.has_recorder, self._replay.missing
        if recorders != self._had_recorders:
            self._had_recorders = recorders
            self.hub.send_link()

    def _read_tokens(self) -> None:
        """Read the tokens again if `neuroone token` has changed them, and end those who watch by a revoked one."""
        is_changed = False
        for files in self._tokens:
            try:
                tokens = files.read_if_changed()
            except TokenFault as fault:
                self.hub.say(f"the tokens stay as they were: {fault}")
                continue
            if tokens is not None:
                self._tokens[files] = tokens
                is_changed = True
        if is_changed:
            self.access.set_tokens(list(chain(*self._tokens.values())))
            self.hub.on_tokens_changed()

    def _on_link(self, up: bool) -> None:
        self.hub.entrance.lessons.on_link()
        self.hub.send_link()

    def _send_link(self) -> None:
        """Show clients that their connection works: those that get no acks, and no readings now."""
        if self.client.is_connected:
            self._dashboards.send_link(self.hub.link_frame(None))
        else:
            self.hub.send_link()

    def health(self) -> HealthReport:
        """Return what the site counts, beside what its client does."""
        return HealthReport(
            {
                **self.hub.counters,
                **self._students.counters,
                **self.hub.entrance.door.counters,
                **self.hub.raw.counters,
                **self.server.http.counters,
                **self.server.https.counters,
                "kept_overflowed": self._replay.overflowed,
                "osc_lost": 0 if self._osc is None else self._osc.lost,
            },
            {
                "clients": self.server.clients,
                "students": len(self._students),
                "dashboards": len(self._dashboards),
                "waiting": len(self.hub.entrance.door),
                "removed": sum(len(lesson.removed) for lesson in self.hub.entrance.lessons.running()),
                "kept": len(self._replay),
                "kept_bytes": self._replay.size_bytes,
                "recorders_missing": len(self._replay.missing) or int(not self._replay.has_recorder),
            },
            memory_bytes=resident_bytes(),
        )

    def metrics(self) -> Iterator[Metric]:
        """Yield the gateway's own metrics; the client's numbers, which health messages hold anyway, are among them."""
        report, client = self.health(), self.client
        return metrics.own_metrics(
            {**client.counters, **report.counters},
            {**client.session.publications.gauges(), **report.gauges},
            self.hub.refusals,
            self.latencies,
            self.server.https.left_s(time.time()),
        )


def token_files(given: Settings) -> TokenFiles:
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


def _read(files: Sequence[TokenFiles]) -> dict[TokenFiles, tuple[Token, ...]]:
    try:
        return {each: each.read() for each in files}
    except TokenFault as fault:
        raise SettingsError((f"--token-file: {fault}",)) from None


def _access(given: Settings, tokens: Mapping[TokenFiles, tuple[Token, ...]]) -> Access:
    codes = {} if given.join_codes is None else join_codes_in(given.join_codes)
    return Access(
        list(chain(*tokens.values())),
        codes,
        time.monotonic,
        open_here=given.open_here,
        open_dashboards=given.open_dashboards,
        site_key=given.site_key,
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)

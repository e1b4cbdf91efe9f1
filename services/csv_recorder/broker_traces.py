"""Remove one student from the broker: readings that wait there for the recorder, and states that it keeps.

First everything that waits is recorded, so that the files hold all that is known of the student, and `forget` removes
it there. Then what the broker keeps of the student is replaced.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Final

from csv_recorder.offline.forget_inbox import Student
from csv_recorder.offline.forget_texts import Traces
from csv_recorder.service import INSTANCE, SERVICE, Service
from csv_recorder.settings import RunSettings
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.errors import ContractError, SettingsError
from neuroone.contract.json import encode
from neuroone.contract.messages import SEQ_MAX, GroupEvent, LessonState, Reading, StreamState
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.delivery import STATES, Delivery
from neuroone.mqtt.outbox import Outgoing
from neuroone.service.lifecycle import Stop

CONNECT_S: Final = 30.0
"""Time for the broker to accept us: to be sure that no other recorder is alive takes 12 s of it."""
CONFIRM_S: Final = 10.0
"""Time for the broker to confirm what is removed."""
DRAIN_S: Final = 600.0
"""Time to record what waits: a day of a school, 1000 students for an hour and a half, at 10,000 readings a second."""
QUIET_S: Final = 2.0
"""Our own message comes back behind what waits. A broker with a queue for each subscription (NATS) has nothing more
once it has also sent nothing for so long."""
LIVE_S: Final = 30.0
"""During a lesson it is never quiet: what comes so long after our own message had not waited."""
REFUSED_S: Final = 10.0
"""A broker that refuses our own message has nothing more once it has sent nothing for so long."""
KEPT_MAX: Final = 100_000
"""Retained messages that are looked at: twice the states that a gateway knows; 50 MB."""


class Drain(Service):
    """A recorder that ends once it has all that waited on the broker. ``kept`` are the retained messages, by topic."""

    def __init__(self, settings: RunSettings, stop: Stop) -> None:
        super().__init__(settings, stop)
        self.kept: dict[str, bytes] = {}
        self.is_complete = False
        self._began_s = self._last_s = time.monotonic()
        self._mark = str(topics.stream_state(settings.site, topics.NO_GROUP, f"forget-{uuid.uuid4().hex}"))
        self._is_marked = False
        self._marked_s: float | None = None

    def _on_delivery(self, delivery: Delivery) -> None:
        self._last_s = time.monotonic()
        if delivery.topic == self._mark:
            self._marked_s = self._last_s
        elif delivery.topic.endswith(STATES):  # one that waited here is not sent again as retained
            self.kept.pop(delivery.topic, None)
            if delivery.payload and len(self.kept) < KEPT_MAX:
                self.kept[delivery.topic] = delivery.payload
        super()._on_delivery(delivery)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        super()._tick(loop)
        if self._stop.is_set():  # what comes while it ends is recorded, and changes nothing
            return
        now_s = time.monotonic()
        if self._client.session.has_states and not self._is_marked:  # an empty message is a state to nobody
            self._is_marked = self._client.put(Outgoing(self._mark, b"", qos=1, retained=False))
        elif self._is_marked and not self._arrived:
            quiet_s = REFUSED_S if self._marked_s is None else QUIET_S
            is_live = self._marked_s is not None and now_s - self._marked_s >= LIVE_S
            self.is_complete = is_live or now_s - self._last_s >= quiet_s
        limit_s = DRAIN_S if self._client.is_connected else CONNECT_S
        if self.is_complete or now_s - self._began_s > limit_s:
            self._stop.set()


def drain(settings: RunSettings, stop: Stop) -> Mapping[str, bytes]:
    """Record what waits on the broker; return its retained messages by topic. Raises SettingsError if it cannot."""
    ended = Stop()
    stop.call(ended.set)
    service = Drain(settings, ended)
    if service.run() or not service.is_complete:
        raise SettingsError(["nothing was removed: --broker: it did not answer, or a recorder of this --instance runs"])
    return service.kept


def changes_of(student: Student, traces: Traces, kept: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what is to take the place of each message about a student, by its topic; an empty payload removes one."""
    changes = {}
    for topic, payload in kept.items():
        try:
            opened, message = Delivery(topic, payload, True, 0, 0).open()
        except ContractError:
            is_about = traces.is_in(topic, payload)
        else:
            is_about = traces.is_in(topic, b"")  # others may have the name in theirs
            if isinstance(message, StreamState | Reading):
                is_about = is_about or student.is_of("/".join(opened.ids), message.name)
            elif isinstance(message, LessonState) and (changed := _without(message, traces)) != message:
                changes[topic] = encode(changed)  # replaced below if the whole lesson is the student's
            elif isinstance(message, GroupEvent) and traces.is_mentioned(message.text):
                changes[topic] = encode(replace(message, text="*" * len(message.text)))
        if is_about:
            changes[topic] = b""
    return changes


def _without(lesson: LessonState, traces: Traces) -> LessonState:
    """Return a lesson that goes on, without the student in its name and among those whom the teacher removed."""
    removed = tuple(each for each in lesson.removed if not traces.is_of(each.group, each.source))
    name = None if traces.is_mentioned(lesson.name) else lesson.name
    if (name, removed) == (lesson.name, lesson.removed):
        return lesson
    return replace(lesson, name=name, removed=removed, revision=min(lesson.revision + 1, SEQ_MAX))


def publish(settings: RunSettings, changes: Mapping[str, bytes]) -> Collection[str]:
    """Replace retained messages; return the topics on which the broker does not, or which came back."""
    return asyncio.run(_publish(settings, changes)) if changes else ()


async def _publish(settings: RunSettings, changes: Mapping[str, bytes]) -> Collection[str]:
    """Do so in the recorder's own session: what else comes is not acknowledged, and waits for the recorder."""
    left, done = {*changes}, asyncio.Event()

    def on_delivery(delivery: Delivery) -> None:
        if delivery.topic not in changes:
            return
        client.ack([delivery])
        (left.discard if delivery.payload == changes[delivery.topic] else left.add)(delivery.topic)
        if not left:
            done.set()

    def on_link(is_up: bool) -> None:
        if is_up:  # what removes a message is not kept for a later connection
            for topic, payload in changes.items():
                client.put(Outgoing(topic, payload, qos=1, retained=True))

    client = AsyncClient(
        settings.brokers(random.Random()),
        settings.identity(SERVICE, time.time(), INSTANCE),
        subscriptions={topics.every(rule, settings.site): rule.qos for rule in (topics.STREAM_STATE, topics.LESSON)},
        on_delivery=on_delivery,
        on_link=on_link,
        durable=True,
        ca_file=settings.broker_ca,
    )
    client.start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), CONFIRM_S)
    await client.close(CONFIRM_S)
    return left

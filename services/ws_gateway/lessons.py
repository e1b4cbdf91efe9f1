"""Know which lessons run, publish them for all who come later, and tell the dashboards.

Every gateway hears the events that begin and end lessons, and publishes what follows from them, so it does not matter
which gateway hears them first. A state belongs to the broker once it is there: a gateway that was away learns from it
what it missed, and does not bring back what it knew before.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from msgspec import UNSET

from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.messages import REMOVED_MAX, SEQ_MAX, Door, EventType, GroupEvent, LessonState
from neuroone.contract.topics import ALL, Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.outbox import Outgoing

LESSONS_MAX: Final = 1000
"""Groups whose lesson is remembered; the one that changed longest ago is forgotten first. A school has 100 classes."""
RESTORE_AFTER_S: Final = 5.0
"""What the broker has not sent by then after a reconnect, it has lost."""
CLEAR_AFTER_S: Final = 24 * 3600.0
"""The state of a group without a lesson is taken off the broker after a day: gateways that were away have heard it."""
NO_LESSON: Final = LessonState(name=None, began=None)


class Lessons:
    """The lessons of all groups. ``clock`` is a steady clock in seconds; ``on_change`` is told what the broker has."""

    def __init__(
        self, client: AsyncClient, on_change: Callable[[str, LessonState], None], clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._on_change = on_change
        self._clock = clock
        self._states: OrderedDict[str, tuple[LessonState, float]] = OrderedDict()
        self._ended: dict[str, datetime] = {}
        self._on_its_way: dict[str, LessonState] = {}
        self._shown: dict[str, LessonState] = {}
        self._unheard: set[str] = set()
        self._linked_s = clock()

    def of(self, group: str) -> LessonState:
        """Return the lesson of a group, or of everybody; `NO_LESSON` if none runs."""
        return self._states[group][0] if group in self._states else NO_LESSON

    def taking_in(self, group: str) -> tuple[str, LessonState]:
        """Return the lesson that takes in the students of a group, after the group whose lesson it is."""
        own = self.of(group)
        return (group, own) if own.began is not None else (ALL, self.of(ALL))

    def running(self) -> list[LessonState]:
        """Return the lessons that run."""
        return [state for state, _ in self._states.values() if state.began is not None]

    def on_event(self, topic: Topic, event: GroupEvent) -> None:
        """Begin or end a lesson, as an event says; another start with the same name lets the lesson go on."""
        group, name = topic["group"], event.text or None
        before = self.of(group)
        if event.type is EventType.SESSION_START and (before.began is None or before.name != name):
            self.change(group, LessonState(name=name, began=event.time))
        elif event.type is EventType.SESSION_STOP and before.began is not None:
            self.change(group, NO_LESSON)

    def change(self, group: str, state: LessonState) -> None:
        """Set the lesson of a group, for all gateways."""
        before = self.of(group)
        if before.began is not None and before.began != state.began:
            self._ended[group] = before.began
        self._note(group, state)
        self._publish(group)

    def update(self, group: str, **changes: Any) -> None:
        """Change the lesson that runs in a group, for all gateways."""
        lesson = self.of(group)
        self.change(group, replace(lesson, **changes, revision=min(lesson.revision + 1, SEQ_MAX)))

    def on_state(self, topic: Topic, state: LessonState | None) -> None:
        """Follow the state on the broker, None for one that was cleared there.

        Not while ours is on its way, which comes later; and not if a gateway that was away brings back a lesson that
        has ended.
        """
        group = topic["group"]
        self._unheard.discard(group)
        ours = self.of(group)
        if state is not None and state.began is not None and (state.began, state.name) == (ours.began, ours.name):
            self._merge(group, ours, state)
            return
        if group in self._on_its_way:
            if state == ours:
                self._show(group)
            return
        if state is None:
            if ours.began is not None:
                self._note(group, NO_LESSON)
                self._show(group)
        elif state.began is not None and state.began == self._ended.get(group):
            self._publish(group)
        else:
            self._note(group, state)
            self._show(group)

    def _merge(self, group: str, ours: LessonState, theirs: LessonState) -> None:
        """Follow the newer of two states of one lesson; of two changes at one moment nobody's is lost."""
        if theirs == ours or theirs.revision > ours.revision:
            self._note(group, theirs)
            self._show(group)
        elif theirs.revision < ours.revision:
            if group not in self._on_its_way:  # a gateway that was slow or away has published it
                self._publish(group)
        else:
            stricter = max(ours.door, theirs.door, key=list(Door).index)
            removed = tuple(sorted({*ours.removed, *theirs.removed}, key=lambda each: (each.group, each.source)))
            raw = True if True in (ours.raw, theirs.raw) else UNSET
            self.update(group, door=stricter, removed=removed[:REMOVED_MAX], raw=raw)

    def on_link(self) -> None:
        """Expect the states of the broker anew: the connection has ended, or is there again."""
        self._linked_s = self._clock()
        self._unheard = {group for group, (state, _) in self._states.items() if state.began is not None}

    def check(self) -> None:
        """Publish what the broker has lost, and clear what nobody needs any more. Call every few seconds."""
        now_s = self._clock()
        if not self._client.is_connected:
            return
        if self._unheard and now_s - self._linked_s >= RESTORE_AFTER_S:
            for group in self._unheard:
                self._publish(group)
            self._unheard = set()
        for group, (state, since_s) in [*self._states.items()]:
            if state.began is None and now_s - since_s >= CLEAR_AFTER_S:
                self._forget(group)

    def _note(self, group: str, state: LessonState) -> None:
        if self._states.get(group, (None, 0.0))[0] == state:
            return
        self._states[group] = (state, self._clock())
        self._states.move_to_end(group)
        if len(self._states) > LESSONS_MAX:
            self._forget(next(iter(self._states)))

    def _show(self, group: str) -> None:
        state = self.of(group)
        before = self._shown.pop(group, NO_LESSON)
        if state.began is not None:
            self._shown[group] = state
        if state != before:
            self._on_change(group, state)

    def _publish(self, group: str) -> None:
        state, topic = self.of(group), self._topic(group)

        def on_ack() -> None:
            if self._on_its_way.get(group) is state:
                del self._on_its_way[group]
                self._client.leave_to_broker(topic)
                self._show(group)

        self._on_its_way[group] = state
        self._client.publish(topic, state, on_ack)

    def _forget(self, group: str) -> None:
        """Forget a group; the state of one without a lesson is cleared on the broker, too."""
        state, _ = self._states.pop(group)
        self._ended.pop(group, None)
        self._on_its_way.pop(group, None)
        self._unheard.discard(group)
        self._client.leave_to_broker(self._topic(group))
        self._show(group)
        if state.began is None:
            self._client.put(Outgoing(str(self._topic(group)), b"", qos=1, retained=True))

    def _topic(self, group: str) -> Topic:
        return topics.lesson(self._client.identity.site, group)

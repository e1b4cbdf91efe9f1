"""Choose the retained states that are published once more, for those who subscribed while they were published first."""

from itertools import islice, takewhile
from typing import Final

from msgspec import Struct

from neuroone.mqtt.outbox import RETAINED_MAX, Outgoing
from neuroone.mqtt.packets import Publish

REPEAT_AFTER_S: Final = 12.0
"""NATS answers a SUBSCRIBE within 8 s; and headsets publish a new state every 10 s, which takes the place of this."""
REPEATED_AT_ONCE_MAX: Final = 10
"""States in one tick of 0.5 s: each costs a NATS cluster 5 ms, for which the readings behind it wait."""


class _State(Struct):
    outgoing: Outgoing
    due_s: float
    is_overtaken: bool = False
    is_sent: bool = False


class Repetition:
    """Wait after each state that the broker has acknowledged, and say once that it is to be published again.

    NATS forgets a retained message towards a subscription that is being made, and may go on sending an older one to all
    who come within two minutes (docs/decisions/0050). A state that another client has replaced is not repeated.
    """

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def begin(self) -> None:
        """Begin a connection, at which all states are published anew."""
        self._states.clear()

    def on_ack(self, outgoing: Outgoing, now_s: float) -> None:
        """Wait with a state that the broker has; one that it has for the second time is done."""
        if not outgoing.retained:
            return
        before = self._states.pop(outgoing.topic, None)
        is_done = before is not None and before.outgoing is outgoing
        if outgoing.payload and not is_done and len(self._states) < RETAINED_MAX:
            self._states[outgoing.topic] = _State(outgoing, now_s + REPEAT_AFTER_S)

    def on_publish(self, packet: Publish) -> None:
        """Note whether the last state that was published on a topic is the one that waits here."""
        state = None if packet.retained else self._states.get(packet.topic)
        if state is not None:
            state.is_overtaken = packet.payload != state.outgoing.payload

    def due(self, now_s: float) -> list[Outgoing]:
        """Return the states whose time has come, some at a time."""
        waiting = (state for state in self._states.values() if not state.is_sent)  # in the order of their times
        due = [*islice(takewhile(lambda state: state.due_s <= now_s, waiting), REPEATED_AT_ONCE_MAX)]
        for state in due:
            state.is_sent = True
            if state.is_overtaken:
                del self._states[state.outgoing.topic]
        return [state.outgoing for state in due if not state.is_overtaken]

"""Keep the topic filters that a client wants, and which of them the broker refuses."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from neuroone.mqtt.backoff import Backoff
from neuroone.mqtt.packets import REFUSED, BadPacket, SubAck, Subscribe, Unsubscribe
from neuroone.mqtt.reasons import reason_name

RETRY: Final = Backoff(first_s=2.0, cap_s=60.0)
"""The waits before refused filters are asked for again, without jitter."""

log = logging.getLogger(__name__)


class Subscriptions:
    """Ask for topic filters at each connection, and again while the broker refuses some.

    ``obsolete`` filters are those of earlier runs: they are taken out of a session that outlives its connections.
    ``next_packet_id`` gives the ids that the packets need.
    """

    def __init__(
        self,
        filters: Mapping[str, int],
        obsolete: Iterable[str],
        next_packet_id: Callable[[], int],
        counters: dict[str, int],
    ) -> None:
        self._filters = dict(filters)
        self._obsolete = tuple(obsolete)
        self._next_packet_id = next_packet_id
        self._counters = counters
        self._counters["subscriptions_refused"] = 0
        self._unanswered: dict[int, tuple[tuple[str, int], ...]] = {}
        self._refused: dict[str, int] = {}
        self._tries = 0
        self._retry_due_s = float("inf")

    @property
    def is_unanswered(self) -> bool:
        """True while the broker owes a SUBACK."""
        return bool(self._unanswered)

    @property
    def fault(self) -> str | None:
        """The refusals in words; None when there are none."""
        if not self._refused:
            return None
        filter, reason = next(iter(self._refused.items()))
        others = f" and to {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        return f"the broker refuses the subscription to {filter}{others}: {reason_name(reason)}"

    def begin(self) -> list[Subscribe | Unsubscribe]:
        """Return the packets of a new connection."""
        self._unanswered.clear()
        self._refused.clear()
        self._tries = 0
        self._retry_due_s = float("inf")
        obsolete = [Unsubscribe(self._next_packet_id(), self._obsolete)] if self._obsolete else []
        return [*obsolete, self._subscribe(tuple(self._filters.items()))]

    def add(self, filter: str, qos: int) -> Subscribe:
        """Want a filter from now on."""
        self._filters[filter] = qos
        return self._subscribe(((filter, qos),))

    def remove(self, filter: str) -> Unsubscribe:
        """Want a filter no more."""
        self._filters.pop(filter, None)
        self._refused.pop(filter, None)
        return Unsubscribe(self._next_packet_id(), (filter,))

    def on_suback(self, packet: SubAck, now_s: float) -> None:
        """Note what the broker granted. Raises BadPacket where it answers a question that was not asked."""
        filters = self._unanswered.pop(packet.packet_id, ())
        if len(filters) != len(packet.reasons):
            raise BadPacket(f"the broker answers {len(filters)} filters with {len(packet.reasons)} reasons")
        for (filter, _), reason in zip(filters, packet.reasons, strict=True):
            if reason < REFUSED:
                self._refused.pop(filter, None)
            elif filter in self._filters:
                self._counters["subscriptions_refused"] += 1
                if self._counters["subscriptions_refused"] == 1:
                    log.error("the broker refuses the subscription to %s: %s", filter, reason_name(reason))
                self._refused[filter] = reason
        if self._refused and self._retry_due_s == float("inf"):
            self._retry_due_s = now_s + RETRY.full_s(self._tries)
            self._tries += 1

    def retry(self, now_s: float) -> Subscribe | None:
        """Return the packet that asks for the refused filters again, when it is time."""
        if not self._refused or now_s < self._retry_due_s:
            return None
        self._retry_due_s = float("inf")
        return self._subscribe(tuple((filter, self._filters[filter]) for filter in self._refused))

    def _subscribe(self, filters: tuple[tuple[str, int], ...]) -> Subscribe:
        packet_id = self._next_packet_id()
        self._unanswered[packet_id] = filters
        return Subscribe(packet_id, filters)

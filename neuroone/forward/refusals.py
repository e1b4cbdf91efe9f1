"""Keep what the district's broker refuses, by the kind of topic and over all connections."""

import time
from dataclasses import dataclass
from typing import Final

from neuroone.contract.topics import TopicRule
from neuroone.mqtt.outbox import PERMANENT
from neuroone.mqtt.reasons import reason_name

TRIES_MAX: Final = 5
"""Refusals in a row after which a message is given up. Each ends the connection, so they take half a minute."""
NOT_AUTHORIZED: Final = 0x87
"""A right of the login, which the district can mend. All other permanent reasons are about the message itself."""
REMEMBERED_S: Final = 600.0
"""For so long a refusal is said, and retained states of a refused kind are not sent: at each refusal Mosquitto 2.0 ends
the connection, and the readings behind would wait for every single state. A later state says all that an earlier one
does."""


@dataclass(slots=True)
class _Refused:
    reason: int
    count: int
    last_s: float


class Refusals:
    """What is refused now, until the broker accepts something of the same kind."""

    def __init__(self) -> None:
        self._kinds: dict[TopicRule, _Refused] = {}

    def note(self, rule: TopicRule, reason: int) -> bool:
        """Note a refusal; return True if the message is to be given up.

        A reading or an event that the login may not send waits in the spool until the district lets it.
        """
        before = self._kinds.get(rule)
        count = 1 if before is None else before.count + 1
        self._kinds[rule] = _Refused(reason, count, time.monotonic())
        return count >= TRIES_MAX and reason in PERMANENT and reason != NOT_AUTHORIZED

    def accepted(self, rule: TopicRule) -> None:
        """Note that the broker accepts what it refused before."""
        self._kinds.pop(rule, None)

    def withholds(self, rule: TopicRule) -> bool:
        """Return True while messages of a kind are not sent."""
        refused = self._recent.get(rule)
        return refused is not None and rule.retained and refused.count >= TRIES_MAX and refused.reason == NOT_AUTHORIZED

    @property
    def words(self) -> str | None:
        """What is refused, and why; None if nothing is."""
        kinds = [f"{rule.shape} ({reason_name(each.reason)})" for rule, each in self._recent.items()]
        return f"the district's broker refuses {', '.join(kinds)}" if kinds else None

    @property
    def _recent(self) -> dict[TopicRule, _Refused]:
        now_s = time.monotonic()
        return {rule: each for rule, each in self._kinds.items() if now_s - each.last_s < REMEMBERED_S}

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
WITHHELD_S: Final = 600.0
"""For so long states of a refused kind are not sent: at each refusal Mosquitto 2.0 ends the connection, and the
readings behind would wait for every single state. A later state says all that an earlier one does."""


@dataclass(slots=True)
class _Refused:
    reason: int
    count: int = 0
    withheld_until_s: float = 0.0


class Refusals:
    """What is refused now, until the broker accepts something of the same kind."""

    def __init__(self) -> None:
        self._kinds: dict[TopicRule, _Refused] = {}

    def note(self, rule: TopicRule, reason: int) -> bool:
        """Note a refusal; return True if the message is to be given up.

        A reading, event or lesson that the login may not send waits in the spool until the district lets it.
        """
        refused = self._kinds.setdefault(rule, _Refused(reason))
        refused.reason = reason
        refused.count += 1
        if refused.count < TRIES_MAX or reason not in PERMANENT:
            return False
        if reason == NOT_AUTHORIZED and rule.retained:
            refused.withheld_until_s = time.monotonic() + WITHHELD_S
        return reason != NOT_AUTHORIZED

    def accepted(self, rule: TopicRule) -> None:
        """Note that the broker accepts what it refused before."""
        self._kinds.pop(rule, None)

    def withholds(self, rule: TopicRule) -> bool:
        """Return True while messages of a kind are not sent."""
        refused = self._kinds.get(rule)
        return refused is not None and time.monotonic() < refused.withheld_until_s

    @property
    def words(self) -> str | None:
        """What is refused, and why; None if nothing is."""
        kinds = [f"{rule.shape} ({reason_name(each.reason)})" for rule, each in self._kinds.items()]
        return f"the district's broker refuses {', '.join(kinds)}" if kinds else None

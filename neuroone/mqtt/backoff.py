"""Decide where and when to try next."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from neuroone.mqtt.address import BrokerAddress

PATIENCE_S: Final = 10.0
"""A broker that leaves a message unacknowledged for so long is given up for another one of the list: it may be cut off
from the others. NATS answers a subscription after up to 8 s while it elects leaders."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays with a cap and jitter, so that a class of clients does not return in one moment."""

    first_s: float = 0.5
    cap_s: float = 10.0

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """Return the seconds before try number ``attempt`` (0 is the first retry): 50 to 100 % of the doubled delay."""
        return self.full_s(attempt) * (0.5 + 0.5 * rng.random())

    def full_s(self, attempt: int) -> float:
        """Return the same without jitter."""
        return min(self.cap_s, self.first_s * 2.0 ** min(attempt, 32))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to connect: wait, then speak MQTT 5 or else 3.1.1 to this broker."""

    address: BrokerAddress
    v5: bool = True
    delay_s: float = 0.0


class Attempts:
    """Choose the next try: each broker of the list in turn, a longer wait after each round without success.

    Every broker is spoken to in MQTT 5 first; one that refuses it, or hangs up on it, gets 3.1.1 at once. So a broker
    that was only starting when it hung up is spoken to in MQTT 5 again at the next connection.

    A client without a session adds ``id_suffix`` to its client id. It is another one after a broker has hung up on
    CONNECT: a NATS cluster that has lost its leader cannot clear what it keeps under the old id, for up to 10 s.
    """

    def __init__(self, addresses: Sequence[BrokerAddress], backoff: Backoff) -> None:
        self._addresses = tuple(addresses)
        self._backoff = backoff
        self._rng = random.Random()
        self._index = 0
        self.failures = self._ids = 0
        self.next = Attempt(self._addresses[0])

    @property
    def is_first_round(self) -> bool:
        """True until every broker of the list has failed once since the last connection."""
        return self.failures < len(self._addresses)

    @property
    def id_suffix(self) -> str:
        """What makes the client id another one than that of before."""
        return f"-{self._ids}" if self._ids else ""

    def patience_s(self, alone_s: float) -> float:
        """Return how long to wait for an ack: ``alone_s`` if there is no other broker."""
        return alone_s if len(self._addresses) == 1 else min(alone_s, PATIENCE_S)

    def again(self, *, v5: bool) -> None:
        """Try the same broker at once."""
        self.next = Attempt(self.next.address, v5)

    def failed(self, *, hung_up: bool = False) -> None:
        """Go on to the next broker, after a wait."""
        self._ids += hung_up
        delay_s = self._backoff.delay_s(self.failures // len(self._addresses), self._rng)
        self.failures += 1
        self._index = (self._index + 1) % len(self._addresses)
        self.next = Attempt(self._addresses[self._index], delay_s=delay_s)

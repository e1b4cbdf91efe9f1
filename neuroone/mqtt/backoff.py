"""Decide where and when to try next."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.reasons import NoAnswer

CONNECT_TIMEOUT_S: Final = 5.0
"""For the TCP and TLS handshakes, and again for the broker's CONNACK."""
FIRST_TIMEOUT_S: Final = 2.0
"""The same while another broker of the list has not been tried: TCP sends its first packet again after one second."""
PATIENCE_S: Final = 10.0
"""A broker that leaves a message unacknowledged for so long is given up for another one of the list: it may be cut off
from the others. NATS answers a subscription after up to 8 s while it elects leaders."""
SEVERAL_CAP_S: Final = 0.5
"""The longest wait between tries with several brokers, of which one is there as a rule: a cluster that elects a leader
accepts connections and ends them again, and then it is not to take longer each time."""


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

    Brokers that did not answer when last tried come last after the end of a connection, and after the first that hangs
    up on CONNECT, as NATS does on a session that it remembers wrongly: one that is cut off costs `FIRST_TIMEOUT_S`.

    A client without a session adds ``id_suffix`` to its client id. It is another one after a broker has hung up on
    CONNECT, and with several brokers after each connection: a NATS cluster that has lost a node cannot clear what it
    keeps under the old id, for up to 10 s.
    """

    def __init__(self, addresses: Sequence[BrokerAddress], backoff: Backoff) -> None:
        self._order = list(addresses)
        self.has_others = len(addresses) > 1
        cap_s = min(backoff.cap_s, SEVERAL_CAP_S) if self.has_others else backoff.cap_s
        self._backoff = replace(backoff, cap_s=cap_s)
        self._rng = random.Random()
        self._silent: set[BrokerAddress] = set()
        self.failures = self._ids = 0
        self._has_hung_up = False
        self.next = Attempt(self._order[0])

    @property
    def is_first_round(self) -> bool:
        """True until every broker of the list has failed once since the last connection."""
        return self.failures < len(self._order)

    @property
    def connect_timeout_s(self) -> float:
        """How long to wait for the answer to each step of connecting."""
        return FIRST_TIMEOUT_S if self.has_others and self.is_first_round else CONNECT_TIMEOUT_S

    @property
    def id_suffix(self) -> str:
        """What makes the client id another one than that of before."""
        return f"-{self._ids}" if self._ids else ""

    def patience_s(self, alone_s: float) -> float:
        """Return how long to wait for an ack: ``alone_s`` if there is no other broker."""
        return min(alone_s, PATIENCE_S) if self.has_others else alone_s

    def again(self, *, v5: bool) -> None:
        """Try the same broker at once."""
        self.next = Attempt(self.next.address, v5)

    def failed(self, fault: NeuroOneError, *, was_connected: bool = False, hung_up: bool = False) -> None:
        """Go on to the next broker, after a wait."""
        self._ids += hung_up or (was_connected and self.has_others)
        delay_s = self._backoff.delay_s(self.failures // len(self._order), self._rng)
        self.failures += 1
        (self._silent.add if isinstance(fault, NoAnswer) else self._silent.discard)(self.next.address)
        self._order.append(self._order.pop(0))
        if was_connected or (hung_up and not self._has_hung_up):
            self._order.sort(key=lambda each: each in self._silent)
        self._has_hung_up = hung_up
        self.next = Attempt(self._order[0], delay_s=delay_s)

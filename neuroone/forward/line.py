"""Send what is in the spool to the district's broker, in order, and remove what that broker has acknowledged."""

import contextlib
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from neuroone.contract import topics
from neuroone.contract.errors import ContractError
from neuroone.contract.json import decode
from neuroone.contract.messages import Reading
from neuroone.forward.refusals import Refusals
from neuroone.forward.settings import ForwardSettings
from neuroone.forward.spool import Spool, Waiting
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.reasons import ConnectionLost, LoginRefused, reason_name
from neuroone.mqtt.replay import ReplayBuffer

LOOK_MAX: Final = 500
"""Messages of one look into the spool."""
IN_FLIGHT_MAX: Final = 1000
"""Messages that are on their way to the district: two windows of the outbox, so that it never waits for the disk."""
AWAY_S: Final = 30.0
"""If the district acknowledges nothing of what waits for so long, the forwarder's state says so."""
NOT_TAKEN: Final = "nothing reaches the district: its broker is away, or refuses what this school sends"
LOGIN: Final = "the district's broker refuses this school's login"
NO_ECHO: Final = "the district's broker does not show this school its own state: its login may not write or not read"
NOT_RECORDED: Final = "the district's recorder does not confirm what its broker has taken"
UNRECORDED_S: Final = 300.0
"""For so long it is said that readings were not confirmed in time: in two minutes, by `ReplayBuffer`."""


class Line:
    """The way to the district. ``on_some`` is called when more may be sent; ``options`` are those of its client.

    Nothing is sent before the broker has shown this school its own state, which was published after the subscription to
    it: NATS acknowledges what a login may not publish, and drops it. What a broker refuses openly ends the connection,
    and the next one begins with it again, so that nothing overtakes it.
    """

    def __init__(
        self, given: ForwardSettings, identity: Identity, spool: Spool, on_some: Callable[[], None], **options: Any
    ) -> None:
        brokers = given.check()
        self.client = AsyncClient(
            brokers.shuffled(random.Random()) if given.broker_shuffle else brokers,
            identity,
            on_link=self._on_link,
            on_refused=self._give_up,  # only what is too large: all else ends the connection, in `_on_refusal`
            replay=ReplayBuffer(time.monotonic),
            ca_file=given.district_ca,
            **options,
        )
        self.client.session.publications.on_refusal = self._on_refusal
        self.counters = dict.fromkeys(("forwarded", "refused", "given_up"), 0)
        self.refusals = Refusals()
        self._spool = spool
        self._on_some = on_some
        self._unacked: dict[int, Outgoing] = {}
        self._sent = self._done = 0
        self._progress_s = time.monotonic()
        """When the district last acknowledged something, or nothing waited for it."""
        self._unconfirmed, self._unconfirmed_s = 0.0, float("-inf")
        """How many readings no recorder there has confirmed in time, and when there were more of them."""

    @property
    def is_open(self) -> bool:
        """True while the district's broker is there and lets this school publish."""
        return self.client.is_connected and self.client.session.has_states

    @property
    def is_login_refused(self) -> bool:
        """True if the district's broker answered the last try to connect that the login is wrong."""
        return not self.client.is_connected and isinstance(self.client.fault, LoginRefused)

    def gauges(self) -> dict[str, float]:
        """Return what the forwarder's health says of the line."""
        gauges, fault = self.client.session.publications.gauges(), self.fault()
        return {
            "in_flight": len(self._unacked),
            "unconfirmed": gauges["kept"],
            "district_records": int(fault != NOT_RECORDED),
            "district_connected": int(self.is_open),
            "district_login_refused": int(self.is_login_refused),
            "district_refuses": int(fault is not None and fault in (self.refusals.words, NO_ECHO)),
        }

    def fault(self) -> str | None:
        """Say what keeps messages from the district; None if nothing does, or nothing waits."""
        now_s = time.monotonic()
        if not self._spool.length and self.is_open:
            self._progress_s = now_s
        if (count := self.client.session.publications.gauges()["kept_overflowed"]) > self._unconfirmed:
            self._unconfirmed, self._unconfirmed_s = count, now_s
        if self.is_login_refused:
            return LOGIN
        if self.refusals.words is not None:
            return self.refusals.words
        if now_s - self._progress_s < AWAY_S:
            return NOT_RECORDED if now_s - self._unconfirmed_s < UNRECORDED_S else None
        return NO_ECHO if self.client.is_connected and not self.is_open else NOT_TAKEN

    def send(self) -> None:
        """Hand what is next in the spool to the client. Raises sqlite3.Error."""
        while self.is_open and len(self._unacked) < IN_FLIGHT_MAX:
            found = self._spool.after(self._sent, LOOK_MAX)
            for each in found:
                if not self._put(each):
                    return
                self._sent = each.id
            if not found:
                return

    def remove_acked(self) -> None:
        """Remove from the spool what the district has. Raises sqlite3.Error."""
        done = min(self._unacked, default=self._sent + 1) - 1
        if done > self._done:
            self._spool.remove(done)
            self._done = done

    def _put(self, waiting: Waiting) -> bool:
        """Hand a message to the client; return False if it takes no more now.

        One whose topic has other ids than the contract's, which nobody there would read, is given up.
        """
        try:
            topic = topics.parse(waiting.topic)
        except ContractError:
            self.counters["given_up"] += 1
            return True
        rule = topic.rule
        if self.refusals.withholds(rule):
            self.counters["given_up"] += 1
            return True
        reading = None
        if rule is topics.READING:
            with contextlib.suppress(ContractError):  # the recorder will set it aside
                message = decode(Reading, waiting.payload)
                reading = ((topic["group"], topic["source"], message.session), message.seq)
        id = waiting.id
        on_ack = partial(self._on_ack, id, rule)
        outgoing = Outgoing(waiting.topic, waiting.payload, rule.qos, rule.retained, on_ack, reading)
        if rule.qos:
            self._unacked[id] = outgoing
        if self.client.put(outgoing) or not rule.qos:
            return True
        del self._unacked[id]
        return False

    def _on_ack(self, id: int, rule: topics.TopicRule) -> None:
        if self._unacked.pop(id, None) is not None:
            self.refusals.accepted(rule)
            self.counters["forwarded"] += 1
            self._on_progress()

    def _on_refusal(self, outgoing: Outgoing, reason: int) -> None:
        """Begin again with what the broker has refused, or behind it. Raises ConnectionLost."""
        rule = topics.parse(outgoing.topic).rule
        self.counters["refused"] += 1
        if self.refusals.note(rule, reason):
            self._give_up(outgoing)
        raise ConnectionLost(f"it refuses {rule.shape}: {reason_name(reason)}")

    def _give_up(self, outgoing: Outgoing) -> None:
        """Go on without a message that the district's broker will never accept."""
        id = next((id for id, each in self._unacked.items() if each is outgoing), None)
        if id is not None:
            del self._unacked[id]
            self.counters["given_up"] += 1
            self._on_progress()

    def _on_progress(self) -> None:
        self._progress_s = time.monotonic()
        if len(self._unacked) < IN_FLIGHT_MAX / 2:
            self._on_some()

    def _on_link(self, up: bool) -> None:
        """Begin again with what is in the spool: what was on its way may not have arrived."""
        if up:
            self._on_some()
            return
        self.client.session.publications.outbox.forget()
        self._sent = min(self._unacked, default=self._sent + 1) - 1
        self._unacked.clear()

"""Publish messages: queue them, follow their acks and refusals, and replay what a broker may have lost."""

import logging
from collections.abc import Callable
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import ContractError
from neuroone.contract.json import encode
from neuroone.contract.messages import Message, Reading, Recorded, ServiceState
from neuroone.contract.topics import Topic
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.outbox import Outbox, Outgoing
from neuroone.mqtt.packets import REFUSED, ConnAck, PubAck, Publish
from neuroone.mqtt.reasons import reason_name
from neuroone.mqtt.repetition import Repetition
from neuroone.mqtt.replay import RECORDER, ReplayBuffer
from neuroone.mqtt.unsaved import FORWARDER, Unsaved

RECORDERS_TOPICS: Final = f"/services/{RECORDER}/"
FORWARDERS_TOPICS: Final = f"/services/{FORWARDER}/"

log = logging.getLogger(__name__)


class Publications:
    """What a service publishes, over all its connections.

    ``on_refused`` gets messages that the broker will not accept, however often they are sent; ``on_refusal`` every one
    that it refuses, with its reason, and may end the connection by raising ConnectionLost.
    """

    def __init__(
        self,
        outbox: Outbox,
        replay: ReplayBuffer | None,
        on_refused: Callable[[Outgoing], None],
        counters: dict[str, int],
    ) -> None:
        self.outbox = outbox
        self._replay = replay
        self._unsaved = Unsaved()
        self._on_refused = on_refused
        self.on_refusal: Callable[[Outgoing, int], None] = lambda outgoing, reason: None
        self._counters = counters
        self._repetition = Repetition()
        counters.update(dict.fromkeys(("acked", "refused", "given_up", "states_repeated"), 0), **outbox.counters)
        outbox.counters = counters
        outbox.on_too_large = self._give_up

    def filters(self, site: str) -> dict[str, int]:
        """Return the subscriptions that the replay buffer needs."""
        if self._replay is None:
            return {}
        return {
            topics.every(topics.SERVICE_STATE, site, service=RECORDER): topics.SERVICE_STATE.qos,
            topics.every(topics.RECORDED, site): topics.RECORDED.qos,
            topics.every(topics.SERVICE_STATE, site, service=FORWARDER): 0,  # for NATS that is less work than QoS 1
            topics.every(topics.HEALTH, site, service=FORWARDER): 0,
        }

    def gauges(self) -> dict[str, float]:
        """Return what a service's health says of its outbox and what it keeps beside it."""
        if self._replay is None:
            return self.outbox.gauges()
        return {**self.outbox.gauges(), **self._replay.gauges(), "unsaved": len(self._unsaved)}

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        """Queue a message with the QoS and retain of its topic; return False if it is dropped."""
        reading = None
        if self._replay is not None and isinstance(message, Reading):
            reading = ((topic["group"], topic["source"], message.session), message.seq)
        rule = topic.rule
        return self.outbox.put(Outgoing(str(topic), encode(message), rule.qos, rule.retained, on_ack, reading))

    def begin(self, answer: ConnAck, birth: Outgoing) -> None:
        """Begin a connection within the limits that the broker states; queue what it may not have."""
        if not answer.maximum_qos or not answer.retain_available:
            log.warning("the broker does not offer QoS 1 and retained messages: readings and states may be lost")
        self._repetition.begin()
        kept = [] if self._replay is None else self._replay.replay()
        self.outbox.link(answer, birth, [*self._unsaved.on_connected(kept), *kept])
        if self._replay is not None:
            self._replay.on_connected()

    def waits_for_recorder(self) -> bool:
        """Return True while only states may be sent: see `ReplayBuffer.waits_for_recorder`."""
        return self._replay is not None and self._replay.waits_for_recorder()

    def on_publish(self, packet: Publish) -> None:
        """Note what was published, by anybody, on the topics that we publish on."""
        self._repetition.on_publish(packet)

    def on_delivery(self, delivery: Delivery) -> None:
        """Note recorders' states and receipts, and forwarders' states."""
        is_forwarders = FORWARDERS_TOPICS in delivery.topic
        if self._replay is None or not (is_forwarders or RECORDERS_TOPICS in delivery.topic):
            return
        try:
            topic, message = delivery.open()
        except ContractError:
            return
        if is_forwarders:
            self._unsaved.on_forwarder(topic["instance"], message, retained=delivery.retained)
        elif isinstance(message, Recorded):
            self._replay.on_receipt(message)
        elif isinstance(message, ServiceState):
            self.outbox.put_again(self._replay.on_recorder(topic["instance"], message))

    def on_puback(self, packet: PubAck, now_s: float) -> None:
        """Note that the broker has a message, or refuses it."""
        if packet.reason >= REFUSED:
            self._on_refusal(packet, now_s)
            return
        outgoing = self.outbox.acked(packet.packet_id)
        if outgoing is None:
            return
        self._counters["acked"] += 1
        self._repetition.on_ack(outgoing, now_s)
        if self._replay is not None and outgoing.reading is not None:
            self._replay.acked(*outgoing.reading, outgoing)
            self._unsaved.acked(outgoing, now_s)
        if outgoing.on_ack is not None:
            outgoing.on_ack()

    def tick(self, now_s: float) -> None:
        """Queue refused messages and states whose wait is over, and let go of what no recorder covered in time."""
        self.outbox.retry(now_s)
        self._unsaved.forget_saved(now_s)
        for state in self._repetition.due(now_s):
            self._counters["states_repeated"] += self.outbox.put_state_again(state)
        if self._replay is not None:
            self._replay.forget_overdue()
            self.outbox.put_again(self._replay.due_later())

    def _on_refusal(self, packet: PubAck, now_s: float) -> None:
        outgoing, is_given_up = self.outbox.refused(packet.packet_id, packet.reason, now_s)
        if outgoing is None:
            return
        self._counters["refused"] += 1
        if self._counters["refused"] == 1:
            log.error("the broker refuses what we publish: %s", reason_name(packet.reason))
        if is_given_up:
            self._give_up(outgoing)
        elif self._replay is not None and outgoing.reading is not None:
            self._replay.refused(*outgoing.reading, is_lost=False)
        self.on_refusal(outgoing, packet.reason)

    def _give_up(self, outgoing: Outgoing) -> None:
        self._counters["given_up"] += 1
        if self._replay is not None and outgoing.reading is not None:
            self._replay.refused(*outgoing.reading, is_lost=True)
        self._on_refused(outgoing)

"""Students over a fake client, with a clock that is set by hand."""

import json
from collections.abc import Callable
from typing import Any, cast

from neuroone.contract import topics
from neuroone.contract.json import decode
from neuroone.contract.messages import (
    Kind,
    Message,
    Reading,
    ServiceState,
    ServiceStatus,
    StreamState,
    StreamStatus,
)
from neuroone.contract.topics import Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.replay import ReplayBuffer
from tests.support.messages import NOON, stream_state
from ws_gateway.dialects import first
from ws_gateway.students.stream_registry import StreamRegistry
from ws_gateway.students.students import Students


class FakeClient:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.identity = Identity("local", "ws_gateway", "host", "0.1.0", epoch=1000, run="now")
        self.sent: list[tuple[Topic, Message]] = []
        self.cleared: list[str] = []
        self.left_to_broker: list[Topic] = []
        self.on_acked: Callable[[Outgoing], None] = lambda outgoing: None

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        self.sent.append((topic, message))
        return True

    def put(self, outgoing: Outgoing) -> bool:
        if not outgoing.payload:
            self.cleared.append(outgoing.topic)
            return True
        topic = topics.parse(outgoing.topic)
        self.sent.append((topic, decode(topic.rule.message, outgoing.payload)))
        if outgoing.qos:
            self.on_acked(outgoing)
        return True

    def leave_to_broker(self, topic: Topic) -> None:
        self.left_to_broker.append(topic)

    def readings(self) -> list[Reading]:
        return [message for _, message in self.sent if isinstance(message, Reading)]

    def statuses(self) -> list[StreamStatus]:
        return [message.status for _, message in self.sent if isinstance(message, StreamState)]


class World:
    """Students over a fake client, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.shown: list[tuple[Topic, Reading]] = []
        self.client = FakeClient()
        self.replay = ReplayBuffer(lambda: self.now_s)
        self.registry = StreamRegistry(self.client.identity)
        self.students = Students(
            cast(AsyncClient, self.client),
            self.registry,
            self.replay,
            lambda topic, reading: self.shown.append((topic, reading)),
            rate_hz=5,
            now=lambda: NOON,
            clock=lambda: self.now_s,
        )
        self.client.on_acked = self.acked
        self.replay.on_acked = self.students.on_acked

    def acked(self, outgoing: Outgoing) -> None:
        assert outgoing.reading is not None
        stream, seq = outgoing.reading
        self.replay.acked(stream, seq, outgoing)

    def check_silence(self) -> None:
        """Check twice: the first check after a busy time is skipped."""
        self.students.check_silence()
        self.students.check_silence()


def frame(name: str | None = "Joao_Silva", code: str | None = "ABC123", **values: Any) -> first.StudentFrame:
    return first.student_frame(json.dumps({"Nome": name, "Codigo": code, "Att": 85, **values}).encode())


ANA = topics.stream_state("local", "A", "Ana")


def elsewhere(**changes: Any) -> StreamState:
    """The state of a student at another gateway."""
    about = {"kind": Kind.CLIENT, "name": "Ana", "code": "A"}
    return stream_state(**{"service": "ws_gateway", "instance": "other", "time": NOON, **about, **changes})


def other_gateway(world: World, status: ServiceStatus = ServiceStatus.ONLINE) -> None:
    topic = topics.service_state("local", "ws_gateway", "other")
    world.registry.on_service(topic, ServiceState(status=status, version="0.1.0", epoch=1, connection=1))

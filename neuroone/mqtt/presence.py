"""Publish a service's state and health, and notice another living run of the same service and instance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET

from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.json import decode, encode
from neuroone.contract.messages import Health, ServiceState, ServiceStatus
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outgoing
from neuroone.mqtt.packets import Publish

HEALTH_PERIOD_S: Final = 10.0
HEARTBEAT_PERIOD_S: Final = 2.0
"""How often the health file is touched; a health check may call 10 s without it a fault."""
PROBE_EMPTY_S: Final = 0.5
"""For the broker to deliver our retained state; after that there is none."""
PROBE_ALIVE_S: Final = HEALTH_PERIOD_S + 2.0
"""For a sign of life of another run: it publishes its health within HEALTH_PERIOD_S; 2 s are for a busy machine."""
TWIN: Final = "another program uses the same site, service and instance: give one of them another --instance"


class Replaced(NeuroOneError):
    """Another living run of the same service and instance is on the broker."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Totals, values of the moment, whether the service works, and how much memory it takes."""

    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    working: bool = True
    memory_bytes: int | None = None


class Presence:
    """A service's own two topics: its retained state, which is also its Last Will, and its health.

    ``wall_clock`` gives seconds since 1970; times that are called ``now_s`` are those of a steady clock.
    """

    def __init__(self, identity: Identity, wall_clock: Callable[[], float]) -> None:
        self._identity = identity
        self._wall_clock = wall_clock
        self._faults: dict[str, str] = {}
        self._started_s = 0.0
        self._heartbeat_due_s = float("-inf")
        self._health_due_s = float("-inf")
        self.state_topic = str(topics.service_state(identity.site, identity.service, identity.instance))
        self.health_topic = topics.health(identity.site, identity.service, identity.instance)

    def start(self, now_s: float) -> None:
        """Begin to count the uptime."""
        self._started_s = now_s

    def set_fault(self, source: str, words: str | None) -> bool:
        """Note what one part of the service has to say of a fault, or None; return whether that changes the state.

        The state says the newest: a recorder that divides the work in another way waits for it.
        """
        before = self._fault
        if words != self._faults.get(source):
            others = {each: said for each, said in self._faults.items() if each != source}
            self._faults = others if words is None else {source: words, **others}
        return self._fault != before

    def state(self, status: ServiceStatus, connection: int) -> Outgoing:
        """Return the state to publish: birth, goodbye or Last Will of one connection, counted from 1."""
        identity = self._identity
        state = ServiceState(
            status=status,
            version=identity.version,
            epoch=identity.epoch,
            run=identity.run,
            connection=connection,
            fault=self._fault if status is ServiceStatus.ONLINE else None,
            shard=UNSET if identity.shard is None else identity.shard.number,
            shards=UNSET if identity.shard is None else identity.shard.of,
        )
        return Outgoing(self.state_topic, encode(state), qos=1, retained=True)

    def is_current(self, payload: bytes, connection: int) -> bool:
        """Return True if this state of our topic says that this run is online on this connection."""
        state = _online_state(payload)
        return state is not None and (state.run, state.connection) == (self._identity.run, connection)

    def is_twin(self, payload: bytes) -> bool:
        """Return True if this state of our topic says that another run is online."""
        state = _online_state(payload)
        return state is not None and state.run != self._identity.run

    def heartbeat_is_due(self, now_s: float) -> bool:
        """Return True once every HEARTBEAT_PERIOD_S."""
        is_due = now_s >= self._heartbeat_due_s
        if is_due:
            self._heartbeat_due_s = now_s + HEARTBEAT_PERIOD_S
        return is_due

    def health(
        self, now_s: float, counters: Mapping[str, float], gauges: Mapping[str, float], report: HealthReport
    ) -> Health | None:
        """Return the client's and the service's health of this moment once every HEALTH_PERIOD_S, else None."""
        if now_s < self._health_due_s:
            return None
        self._health_due_s = now_s + HEALTH_PERIOD_S
        return Health(
            time=datetime.fromtimestamp(self._wall_clock(), UTC),
            uptime_s=round(now_s - self._started_s, 1),
            memory_bytes=report.memory_bytes,
            counters={**counters, **report.counters},
            gauges={**gauges, **report.gauges},
        )

    @property
    def _fault(self) -> str | None:
        return next(iter(self._faults.values()), None)


class Probe:
    """Find out whether another run is alive, before a service takes over the client id that it shares with that run.

    It sees what is published on the service's own topics. A retained online state proves no life: its run may have
    died with the broker, or have had a wrong clock.
    """

    def __init__(self, identity: Identity, presence: Presence) -> None:
        self._identity = identity
        self._presence = presence
        self._wait_s = PROBE_EMPTY_S
        self._subscribed_s = float("inf")
        self._is_free = False
        self.filters: Mapping[str, int] = {
            presence.state_topic: 0,  # with QoS 1, NATS would need the leaders of another node
            str(presence.health_topic): 0,
        }
        if identity.service in topics.RECORDED.shape:  # else a recorder of this instance is another service
            self.filters = {**self.filters, str(topics.recorded(identity.site, identity.instance)): 0}

    def on_suback(self, now_s: float) -> None:
        """Begin to wait: only now does the broker deliver what is published."""
        self._subscribed_s = now_s

    def on_publish(self, packet: Publish) -> None:
        """Note what another run has published. Raises Replaced when that proves that it is alive."""
        if packet.topic != self._presence.state_topic:
            is_alive = not packet.retained
        elif self._presence.is_twin(packet.payload):
            is_alive = not packet.retained
            self._wait_s = PROBE_ALIVE_S
        else:
            is_alive, self._is_free = False, True
        if is_alive:
            identity = self._identity
            raise Replaced(
                f"another {identity.service} named {identity.instance} is recording on this broker "
                f"(site {identity.site}): give one of them another --{'shard' if identity.shard else 'instance'}"
            )

    def is_done(self, now_s: float) -> bool:
        """Return True when no other run is alive."""
        return self._is_free or now_s >= self._subscribed_s + self._wait_s


def _online_state(payload: bytes) -> ServiceState | None:
    try:
        state = decode(ServiceState, payload)
    except ContractError:
        return None
    return state if state.status is ServiceStatus.ONLINE else None

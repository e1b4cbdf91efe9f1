"""What a service says of itself on the broker, and what it makes of the word on its own topic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.json import decode, encode
from neuroone.contract.messages import Health, ServiceState, ServiceStatus
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outgoing

HEALTH_PERIOD_S: Final = 10.0
HEARTBEAT_PERIOD_S: Final = 2.0
"""How often the health file is touched; a health check may call 10 s without it a fault."""
TAKEN_OVER: Final = 0x8E
"""The reason code with which a broker of MQTT 5 throws out the older of two clients with one id."""


class Replaced(NeuroOneError):
    """Another program with the same client id has taken this service's place on the broker."""

    def __init__(self) -> None:
        super().__init__(
            "another program uses the same site, service and instance: give one of them another --instance"
        )


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Totals, values of the moment, whether the service works, and how much memory it takes."""

    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    working: bool = True
    memory_bytes: int | None = None


class Presence:
    """A service's own two topics: its retained state, also its Last Will, and its health."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.fault: str | None = None
        self.state_topic = str(topics.service_state(identity.site, identity.service, identity.instance))
        self.health_topic = topics.health(identity.site, identity.service, identity.instance)

    def state(self, status: ServiceStatus, connection: int) -> Outgoing:
        """The state as it is published: birth, goodbye or Last Will of one connection, counted from 1."""
        identity = self._identity
        state = ServiceState(
            status=status,
            version=identity.version,
            epoch=identity.epoch,
            connection=connection,
            fault=self.fault if status is ServiceStatus.ONLINE else None,
        )
        return Outgoing(self.state_topic, encode(state), qos=1, retained=True)

    def is_outdated(self, payload: bytes, connection: int) -> bool:
        """Whether what stands on our topic is the word of an earlier connection or run, and must be said anew.

        Raises Replaced when it is that of a later run: then ours must not stand.
        """
        try:
            state = decode(ServiceState, payload)
        except ContractError:
            return False
        if state.epoch > self._identity.epoch:
            raise Replaced
        return (state.epoch, state.connection) < (self._identity.epoch, connection)

    def health(
        self,
        now: datetime,
        uptime_s: float,
        counters: Mapping[str, float],
        gauges: Mapping[str, float],
        vitals: HealthReport,
    ) -> Health:
        """The health of this moment: what the bus counts, and what the service itself has to say."""
        return Health(
            time=now,
            uptime_s=round(uptime_s, 1),
            memory_bytes=vitals.memory_bytes,
            counters={**counters, **vitals.counters},
            gauges={**gauges, **vitals.gauges},
        )

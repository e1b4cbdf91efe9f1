"""Tell load balancers and technicians whether the gateway can work: the page ``/readyz``."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.replay import RECORDER, ReplayBuffer

FAULTY_MAX: Final = 100
"""Recorders whose fault is remembered; a school has one, a large site a few."""


class Readiness:
    """Know what the gateway needs: the broker, to work at all, and a recorder without a fault."""

    def __init__(self, client: AsyncClient, replay: ReplayBuffer, is_stopping: Callable[[], bool]) -> None:
        self._client = client
        self._replay = replay
        self._is_stopping = is_stopping
        self._faults: dict[str, str] = {}
        self.is_faulty = False
        """Set after a fault of ours that the gateway outlives for its other sites."""

    def on_service(self, topic: Topic, state: ServiceState) -> None:
        """Note the fault of a recorder, or that it has none."""
        if topic["service"] != RECORDER:
            return
        self._faults.pop(topic["instance"], None)
        if state.status is ServiceStatus.ONLINE and state.fault and len(self._faults) < FAULTY_MAX:
            self._faults[topic["instance"]] = " ".join(state.fault.split())

    def answer(self) -> tuple[HTTPStatus, str]:
        """Return the answer to ``/readyz``. Without a recorder the gateway still works: it is ready, but degraded."""
        if self._is_stopping():
            return HTTPStatus.SERVICE_UNAVAILABLE, "The gateway is stopping.\n"
        if self.is_faulty:
            return HTTPStatus.SERVICE_UNAVAILABLE, "A fault of ours is in the log: start the gateway again.\n"
        if not self._client.is_connected:
            return HTTPStatus.SERVICE_UNAVAILABLE, "The broker is not there.\n"
        words = [f"the recorder {name}: {fault}" for name, fault in self._faults.items()]
        if missing := self._replay.missing:
            words.append(f"no recorder of {', '.join(map(str, missing))} is there, so their students are not recorded")
        elif not self._replay.has_recorder:
            words.append("no recorder is there, so nothing is recorded")
        return HTTPStatus.OK, "".join(f"degraded: {each}\n" for each in words) or "ready\n"

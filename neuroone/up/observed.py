"""What the broker says of the services and headsets of this system."""

import contextlib
from collections.abc import Mapping
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import ContractError
from neuroone.contract.messages import Health, ServiceState, ServiceStatus, StreamState
from neuroone.mqtt.delivery import Delivery

BRIDGE: Final = "serial_bridge"
GATEWAY: Final = "ws_gateway"
RECORDER: Final = "csv_recorder"
WINDOW: Final = "monitor_gui"
SERVICES_MAX: Final = 200
"""Services that are online at a time: one copy of each here, and those of others on a shared broker."""
HEADSETS_MAX: Final = 40
"""Headsets of one computer whose links are remembered: a room full of them."""


class Observed:
    """Collect states. The broker's client calls `on_delivery` in its thread; any thread reads the rest.

    A state counts if it comes now, or was sent by a run that began after ``since_ms``: retained ones of earlier runs
    prove nothing. ``host`` begins the instance of each bridge of this computer.
    """

    def __init__(self, site: str, since_ms: int, host: str) -> None:
        self.filters: Mapping[str, int] = {
            topics.every(topics.SERVICE_STATE, site): 1,
            topics.every(topics.STREAM_STATE, site): 1,
            topics.every(topics.HEALTH, site, service=RECORDER): 0,
        }
        self._since_ms = since_ms
        self._host = host
        self._services: dict[tuple[str, str], ServiceState] = {}
        """Those that are online, by service and instance."""
        self._headsets: dict[str, StreamState] = {}
        self.free_bytes: float | None = None
        """Free space on the disk of the recordings, as the recorder reports it; None: it has not, or does not know."""

    def on_delivery(self, delivery: Delivery) -> None:
        """Note what a delivery says."""
        with contextlib.suppress(ContractError):
            topic, message = delivery.open()
            match message:
                case ServiceState() if self._is_new(delivery, message):
                    self._on_service((topic["service"], topic["instance"]), message)
                case StreamState(service=service) if service == BRIDGE and self._is_new(delivery, message):
                    self._on_headset(f"{topic['group']}/{topic['source']}", message)
                case Health(gauges={"free_bytes": free_bytes}):
                    self.free_bytes = free_bytes if free_bytes >= 0 else None

    def _is_new(self, delivery: Delivery, state: ServiceState | StreamState) -> bool:
        return not delivery.retained or state.epoch >= self._since_ms

    def _on_service(self, key: tuple[str, str], state: ServiceState) -> None:
        if state.status is not ServiceStatus.ONLINE:
            self._services.pop(key, None)
        elif key in self._services or len(self._services) < SERVICES_MAX:
            self._services[key] = state

    def _on_headset(self, stream: str, state: StreamState) -> None:
        if not state.instance.startswith(self._host):
            return
        if state.hint is None:
            self._headsets.pop(stream, None)
        elif stream in self._headsets or len(self._headsets) < HEADSETS_MAX:
            self._headsets[stream] = state

    def online(self, service: str) -> list[ServiceState]:
        """Return the states of all copies of a service that are online."""
        return [state for (name, _), state in tuple(self._services.items()) if name == service]

    @property
    def headsets(self) -> Mapping[str, StreamState]:
        """Return the states of this computer's headsets that need somebody to do something, by stream."""
        return dict(self._headsets)

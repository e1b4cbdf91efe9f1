"""The rules for the state of streams, shared by the services that own streams and by whoever shows them."""

from datetime import datetime
from typing import Final

from neuroone.contract.checks import replace
from neuroone.contract.messages import ServiceState, ServiceStatus, StreamState, StreamStatus
from neuroone.mqtt.identity import Identity

STALE_AFTER_S: Final = 3.0
"""A stream without a reading for this long is stale: a headset sends one each second, so three are missing."""
OFFLINE_AFTER_S: Final = 10.0
"""A stream without a reading for this long counts as offline, even if its link is still up."""


def status_after(silent_s: float) -> StreamStatus:
    """Return the status of a linked stream whose last reading is ``silent_s`` ago."""
    if silent_s >= OFFLINE_AFTER_S:
        return StreamStatus.OFFLINE
    return StreamStatus.STALE if silent_s >= STALE_AFTER_S else StreamStatus.ONLINE


def status_of(state: StreamState | None, owner: ServiceState | None, age_s: float | None) -> StreamStatus:
    """Return a stream's status from its state, the state of its service and the age of its last reading."""
    if state is None or state.status is StreamStatus.OFFLINE:
        return StreamStatus.OFFLINE
    if owner is not None and owner.status is ServiceStatus.OFFLINE:
        return StreamStatus.OFFLINE
    return state.status if age_s is None else status_after(age_s)


def clear_orphan(state: StreamState, owner: Identity, now: datetime) -> StreamState | None:
    """Return the offline state to publish over one that a dead run of ``owner`` left; None if there is no need."""
    if (state.service, state.instance) != (owner.service, owner.instance):
        return None
    if state.run == owner.run or state.status is StreamStatus.OFFLINE:
        return None
    return replace(state, status=StreamStatus.OFFLINE, time=now, epoch=owner.epoch, run=owner.run)

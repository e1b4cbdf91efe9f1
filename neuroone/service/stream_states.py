"""What the services that own streams (serial_bridge, ws_gateway) share about the streams' retained state."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from neuroone.contract.messages import StreamState, StreamStatus
from neuroone.mqtt.identity import Identity

STALE_AFTER_S: Final = 3.0
"""Without a reading for so long a stream is stale: three of the readings that a headset sends each second."""
OFFLINE_AFTER_S: Final = 10.0
"""Without a reading for so long a stream counts as offline, though its link may still be there."""


def status_after(silent_s: float) -> StreamStatus:
    """The status of a linked stream whose last reading is ``silent_s`` ago."""
    if silent_s >= OFFLINE_AFTER_S:
        return StreamStatus.OFFLINE
    return StreamStatus.STALE if silent_s >= STALE_AFTER_S else StreamStatus.ONLINE


def left_behind(state: StreamState, owner: Identity, now: datetime) -> StreamState | None:
    """The offline state to publish over one that a dead run of ``owner`` left; None when there is no need."""
    if (state.service, state.instance) != (owner.service, owner.instance):
        return None
    if state.epoch >= owner.epoch or state.status is StreamStatus.OFFLINE:
        return None
    return replace(state, status=StreamStatus.OFFLINE, time=now, epoch=owner.epoch)

"""Keep readings for a school's forwarder that does not run: Mosquitto holds them in memory between two saves.

A recorder confirms what it has, and the replay buffer lets go of it. A forwarder confirms nothing: one that runs has
everything within moments. What one that does not run is to get later is lost if Mosquitto is killed before it saves.
"""

from collections import deque
from collections.abc import Collection
from typing import Final

from neuroone.contract.messages import Message, ServiceState, ServiceStatus
from neuroone.mqtt.outbox import Outgoing

FORWARDER: Final = "forwarder"
UNSAVED_S: Final = 40.0
"""Mosquitto saves every 30 s (`autosave_interval`); 10 s are for the save itself."""
UNSAVED_MAX_BYTES: Final = 32 * 2**20
"""Payload bytes: 2000 students' readings for 40 s. Beyond it the oldest go, for these are the likeliest to be saved."""


class Unsaved:
    """The readings that the broker has acknowledged and may not have saved, while a known forwarder is away."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, Outgoing]] = deque()
        self._size_bytes = 0
        self._is_there: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def on_forwarder(self, instance: str, message: Message, *, retained: bool) -> None:
        """Note by a forwarder's state or health whether it is there."""
        is_there = not isinstance(message, ServiceState) or message.status is ServiceStatus.ONLINE
        # After a reconnect what is retained may be older than the end of the broker, and of the forwarder with it.
        if not is_there or not retained or instance not in self._is_there:
            self._is_there[instance] = is_there

    def acked(self, outgoing: Outgoing, now_s: float) -> None:
        """Keep a reading that the broker has acknowledged, if a forwarder may need it from there later."""
        if all(self._is_there.values()):
            return
        self._kept.append((now_s, outgoing))
        self._size_bytes += len(outgoing.payload)
        while self._size_bytes > UNSAVED_MAX_BYTES:
            self._drop_first()

    def forget_saved(self, now_s: float) -> None:
        """Let go of what the broker has saved meanwhile."""
        while self._kept and self._kept[0][0] < now_s - UNSAVED_S:
            self._drop_first()

    def on_connected(self, others: Collection[Outgoing]) -> list[Outgoing]:
        """Return what must go to the broker again, beside others that do."""
        # A forwarder that is there will say so: by its birth, if the broker is new, or by its health.
        self._is_there = dict.fromkeys(self._is_there, False)
        known = {id(each) for each in others}
        again = [each for _, each in self._kept if id(each) not in known]
        self._kept.clear()  # each is kept again once it is acknowledged again
        self._size_bytes = 0
        return again

    def _drop_first(self) -> None:
        _, outgoing = self._kept.popleft()
        self._size_bytes -= len(outgoing.payload)

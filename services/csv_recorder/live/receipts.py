"""Publish receipts so that a lost connection loses none, not even the last one of a stream that has ended."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from neuroone.contract.messages import RECORDED_STREAMS_MAX, Recorded, RecordedStream

AGAIN_S: Final = 60.0
"""Receipts of so long before a reconnect are published again: a broker is found dead after 30 s at most."""
STREAMS_MAX: Final = 20_000
"""Streams whose newest receipt is kept, the oldest given up first. About 10 MB."""


class Receipts:
    """Publish each stream's newest receipt until a connection has carried it, and again after a reconnect.

    ``publish`` returns False while there is no connection; ``clock`` is a steady clock in seconds.
    """

    def __init__(self, publish: Callable[[Recorded], bool], clock: Callable[[], float]) -> None:
        self._publish = publish
        self._clock = clock
        self._newest: OrderedDict[tuple[str, str, str], tuple[float, RecordedStream]] = OrderedDict()
        """When each stream's newest receipt was added, and the receipt."""
        self._unsent: dict[tuple[str, str, str], None] = {}

    def add(self, receipts: Iterable[RecordedStream]) -> None:
        """Note what has become durable; `send` publishes it."""
        now_s = self._clock()
        for each in receipts:
            key = (each.group, each.source, each.session)
            self._newest[key] = now_s, each
            self._newest.move_to_end(key)
            self._unsent[key] = None
        while self._newest and (len(self._newest) > STREAMS_MAX or self._is_carried(now_s)):
            self._unsent.pop(self._newest.popitem(last=False)[0], None)

    def on_link(self, up: bool) -> None:
        """Publish the receipts of the last minute again: the connection may have lost them."""
        if up:
            self._unsent.update(dict.fromkeys(self._newest))

    def send(self) -> None:
        """Publish what waits, as far as there is a connection. Call about once a second."""
        keys = list(self._unsent)
        now = datetime.now(UTC)
        for start in range(0, len(keys), RECORDED_STREAMS_MAX):
            batch = keys[start : start + RECORDED_STREAMS_MAX]
            streams = tuple(self._newest[key][1] for key in batch)
            if not self._publish(Recorded(time=now, streams=streams)):
                return
            for key in batch:
                del self._unsent[key]

    def _is_carried(self, now_s: float) -> bool:
        """Return True if the oldest receipt is published and older than a connection that would have lost it."""
        key, (at_s, _) = next(iter(self._newest.items()))
        return key not in self._unsent and now_s - at_s > AGAIN_S

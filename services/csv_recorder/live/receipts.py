"""Publish receipts so that a lost connection loses none, not even the last one of a stream that has ended.

They are spread over the time between two of a stream: a gateway that got those of thousands of streams at once would
handle nothing else for 40 ms.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from neuroone.contract.messages import RECORDED_STREAMS_MAX, Recorded, RecordedStream
from neuroone.contract.shards import Shard

AGAIN_S: Final = 60.0
"""Receipts of so long before a reconnect are published again: a broker is found dead after 30 s at most."""
STREAMS_MAX: Final = 20_000
"""Streams whose newest receipt is kept, the oldest given up first. About 10 MB."""


class Receipts:
    """Publish each stream's newest receipt until a connection has carried it, and again after a reconnect.

    ``publish`` returns False while there is no connection; ``clock`` is a steady clock in seconds. Each receipt says
    the ``shard`` of the recorder.
    """

    def __init__(
        self, publish: Callable[[Recorded], bool], clock: Callable[[], float], shard: Shard | None = None
    ) -> None:
        self.due_s = math.inf
        """When the next message is due, by ``clock``; infinite while nothing waits."""
        self._publish = publish
        self._clock = clock
        self._shard = {} if shard is None else {"shard": shard.number, "shards": shard.of}
        self._newest: OrderedDict[tuple[str, str, str], tuple[float, RecordedStream]] = OrderedDict()
        """When each stream's newest receipt was added, and the receipt."""
        self._unsent: dict[tuple[str, str, str], None] = {}
        self._within_s = 0.0
        self._pause_s = 0.0

    def add(self, receipts: Iterable[RecordedStream], within_s: float) -> None:
        """Note what has become durable; `send`, called when it is due, publishes all within that time."""
        now_s = self._clock()
        for each in receipts:
            key = (each.group, each.source, each.session)
            self._newest[key] = now_s, each
            self._newest.move_to_end(key)
            self._unsent[key] = None
        while self._newest and (len(self._newest) > STREAMS_MAX or self._is_carried(now_s)):
            self._unsent.pop(self._newest.popitem(last=False)[0], None)
        self._within_s = within_s
        self._spread()

    def on_link(self, up: bool) -> None:
        """Publish the receipts of the last minute again: the connection may have lost them."""
        if up:
            self._unsent.update(dict.fromkeys(self._newest))
            self._spread()

    def send(self) -> None:
        """Publish what is due, as far as there is a connection."""
        while (now_s := self._clock()) >= self.due_s:
            self.due_s = max(self.due_s, now_s - self._within_s) + self._pause_s
            if not self._send_next():
                self.due_s = now_s + self._within_s
                return

    def send_all(self) -> None:
        """Publish all that waits, as far as there is a connection."""
        while self._unsent and self._send_next():
            pass

    def _spread(self) -> None:
        """Space the messages so that all are sent in time, and the next is due at once."""
        if self._unsent:
            self.due_s = self._clock()
            self._pause_s = self._within_s / math.ceil(len(self._unsent) / RECORDED_STREAMS_MAX)

    def _send_next(self) -> bool:
        """Publish one message; return False if it cannot be sent."""
        keys = list(islice(self._unsent, RECORDED_STREAMS_MAX))
        streams = tuple(self._newest[key][1] for key in keys)
        if not self._publish(Recorded(time=datetime.now(UTC), streams=streams, **self._shard)):
            return False
        for key in keys:
            del self._unsent[key]
        if not self._unsent:
            self.due_s = math.inf
        return True

    def _is_carried(self, now_s: float) -> bool:
        """Return True if the oldest receipt is published and older than a connection that would have lost it."""
        key, (at_s, _) = next(iter(self._newest.items()))
        return key not in self._unsent and now_s - at_s > AGAIN_S

"""Receive readings in another program: blocking or in an event loop, over one thread that talks to the broker.

docs/decisions/0040 says why it works like this.
"""

import asyncio
import contextlib
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, TypeVar

from neuroone import __version__
from neuroone.client.streams import LiveReading, StatusChange, Streams
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import StreamStatus
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outbox
from neuroone.mqtt.reasons import ConnectionLost, LoginRefused
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service.settings import host_id

SERVICE: Final = "client"
"""The part of the MQTT client id that says what this is; no topic has it."""
HOST_MAX_CHARS: Final = 40
"""Part of the computer's name in the MQTT client id; the rest of an id's 64 characters is for the process id."""
LOOK_S: Final = 0.5
"""How late a change of status is told that no message brings, such as a silence."""
CONNECT_LOOK_S: Final = 0.02
"""How often a program that waits for its first connection looks whether it is there."""
CLOSE_S: Final = 1.0
"""For the broker to take the goodbye; nothing is lost without."""

Item = TypeVar("Item", bound=LiveReading | StatusChange)


class Subscription(Generic[Item]):
    """Readings as they come, for one consumer and one use: ``for`` and ``with``, or ``async for`` and ``async with``.

    Make it with `neuroone.client.subscribe`. It reconnects by itself. What the consumer does not fetch waits in a
    bounded queue; beyond that the oldest reading is dropped and counted.
    """

    def __init__(
        self,
        addresses: BrokerAddresses,
        filters: Mapping[str, int],
        site: str,
        *,
        presence: bool,
        queue_max: int,
        connect_timeout_s: float | None,
        ca_file: Path | None,
    ) -> None:
        epoch, run = int(time.time() * 1000), uuid.uuid4().hex
        instance = f"{host_id()[:HOST_MAX_CHARS]}-{os.getpid()}"
        self._client = ThreadedClient(
            addresses,
            Identity(site, SERVICE, instance, __version__, epoch, run),
            subscriptions=filters,
            on_delivery=self._on_delivery,
            on_link=self._on_link,
            on_fatal=self._on_fatal,
            outbox=Outbox(is_closed=True),
            ca_file=ca_file,
        )
        self._addresses = addresses
        self._connect_timeout_s = connect_timeout_s
        self._tells_presence = presence
        self._streams = Streams()
        self._queue: deque[LiveReading] = deque(maxlen=queue_max)
        self._changes: deque[StatusChange] = deque()
        self._changed = threading.Condition()
        self._starting = threading.Lock()
        self._wake: Callable[[], object] | None = None
        self._fatal: NeuroOneError | None = None
        self._look_due_s = 0.0
        self._dropped = 0
        self._is_open = self._is_closed = False

    def __enter__(self) -> "Subscription[Item]":
        """Connect, and return when the broker sends readings. Raises LoginRefused or ConnectionLost."""
        self._check_unused()
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> "Subscription[Item]":
        """Do as `__enter__`, while the event loop goes on."""
        self._check_unused()
        try:
            await asyncio.to_thread(self._open)
        except asyncio.CancelledError:
            self._is_closed = True  # ends the wait in the other thread
            asyncio.get_running_loop().run_in_executor(None, self.close)  # it may have connected just now
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def __iter__(self) -> "Subscription[Item]":
        return self

    def __next__(self) -> Item:
        """Wait for the next item. Ends after `close`, also from another thread."""
        self._open()
        while True:
            with self._changed:
                if (item := self._pop()) is not None:
                    return item
                if self._is_closed:
                    raise StopIteration
                self._changed.wait(LOOK_S)

    def __aiter__(self) -> "Subscription[Item]":
        return self

    async def __anext__(self) -> Item:
        """Do as `__next__`, while the event loop goes on."""
        if not (self._is_open or self._is_closed):
            await self.__aenter__()
        loop = asyncio.get_running_loop()
        while True:
            news = asyncio.Event()
            with self._changed:
                if (item := self._pop()) is not None:
                    return item
                if self._is_closed:
                    raise StopAsyncIteration
                self._wake = lambda news=news: loop.call_soon_threadsafe(news.set)
            try:
                async with asyncio.timeout(LOOK_S):
                    await news.wait()
            except TimeoutError:
                pass
            finally:
                self._wake = None

    @property
    def counters(self) -> Mapping[str, int]:
        """Totals since the start.

        ``readings`` came; ``dropped`` of them, since the consumer was too slow; ``repeated`` came again and were left
        out; ``bad_messages`` break the contract; ``connects`` to the broker.
        """
        return {**self._streams.counters, "dropped": self._dropped, "connects": self._client.counters["connects"]}

    @property
    def is_connected(self) -> bool:
        """True while the broker is there and sends readings: it has answered our subscriptions."""
        return self._streams.is_connected and self._client.is_subscribed

    @property
    def fault(self) -> NeuroOneError | None:
        """Why the last connection, or try to connect, ended; None if none did."""
        return self._client.fault

    def status(self, group: str, source: str) -> StreamStatus | None:
        """Return whether a stream is online, stale or offline, by the ids of its topic; None: the broker is away."""
        with self._changed:
            return self._streams.status(group, source, time.monotonic())

    def close(self) -> None:
        """Disconnect and end the iteration. Idempotent."""
        self._is_closed = True
        with self._starting:
            self._client.close(CLOSE_S)
        self._notify()

    def _check_unused(self) -> None:
        if self._is_closed:
            raise ConnectionLost("this subscription has been closed: make another one")

    def _open(self) -> None:
        """Connect and wait for the answers to our subscriptions, unless that was done before."""
        with self._starting:
            if self._is_open or self._is_closed:
                return
            self._is_open = True
            self._client.start()
        try:
            self._wait_for_broker()
        except BaseException:
            self.close()
            raise

    def _wait_for_broker(self) -> None:
        given_s = self._connect_timeout_s
        deadline_s = time.monotonic() + (float("inf") if given_s is None else given_s)
        while not self.is_connected:
            fault = self._client.fault
            if self._fatal is not None:
                raise self._fatal
            if isinstance(fault, LoginRefused) and len(self._addresses) == 1:
                raise LoginRefused(f"{self._addresses}: {fault}")
            if self._is_closed or time.monotonic() >= deadline_s:
                raise ConnectionLost(f"no broker at {self._addresses} ({fault or 'no answer'})")
            time.sleep(CONNECT_LOOK_S)
        if self._client.refusal is not None:
            raise ConnectionLost(f"{self._addresses}: {self._client.refusal}")

    def _pop(self) -> Item | None:
        """Return what comes next, if it is there: changes first, since readings are what a status tells about."""
        if self._fatal is not None:
            raise self._fatal
        now_s = time.monotonic()
        if self._tells_presence and (self._streams.has_news or now_s >= self._look_due_s):
            self._changes.extend(self._streams.changes(now_s))
            self._look_due_s = now_s + LOOK_S
        waiting = self._changes or self._queue
        return waiting.popleft() if waiting else None  # type: ignore[return-value]

    def _on_delivery(self, delivery: Delivery) -> None:
        with self._changed:
            reading = self._streams.on_delivery(delivery, time.monotonic())
            if reading is not None:
                self._dropped += len(self._queue) == self._queue.maxlen
                self._queue.append(reading)
        self._notify()

    def _on_link(self, is_up: bool) -> None:
        with self._changed:
            self._streams.on_link(is_up, time.monotonic())
        self._notify()

    def _on_fatal(self, fault: NeuroOneError) -> None:
        self._fatal = fault
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
            wake, self._wake = self._wake, None
        if wake is not None:
            with contextlib.suppress(RuntimeError):  # the consumer's event loop is closed
                wake()

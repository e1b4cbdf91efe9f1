"""Connect a service to the broker from a thread of its own, for programs without an event loop.

The thread runs an event loop with an `AsyncClient`: one implementation carries both.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Message
from neuroone.contract.topics import Topic
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.client import GOODBYE_S, AsyncClient
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outbox

CLOSE_S: Final = 5.0
"""For a thread that was told to end: only a callback of the service can hold it up."""

log = logging.getLogger(__name__)


class ThreadedClient:
    """A service's client of the broker; its methods may be called from any thread.

    It has the options and callbacks of `AsyncClient`. Callbacks run in the client's thread and must not block.
    """

    def __init__(
        self,
        addresses: Sequence[BrokerAddress],
        identity: Identity,
        *,
        on_fatal: Callable[[NeuroOneError], None] = lambda error: None,
        **options: Any,
    ) -> None:
        self.identity = identity
        self._on_fatal = on_fatal
        options.setdefault("outbox", Outbox(lock=threading.Lock()))
        self._client = AsyncClient(addresses, identity, on_fatal=on_fatal, **options)
        self.counters = self._client.counters
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_started = threading.Event()
        self._closing: asyncio.Future[float] | None = None
        self._pump_is_due = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start connecting in the background."""
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()
        self._is_started.wait()

    @property
    def is_connected(self) -> bool:
        """True while the broker is there and has our birth."""
        return self._client.is_connected

    @property
    def is_subscribed(self) -> bool:
        """True once the broker has granted or refused every subscription of this connection."""
        return self.is_connected and not self._client.session.subscriptions.is_unanswered

    @property
    def refusal(self) -> str | None:
        """Which subscriptions the broker refuses, in words; None if it refuses none."""
        return self._client.session.subscriptions.fault

    @property
    def fault(self) -> NeuroOneError | None:
        """Why the last connection, or try to connect, ended."""
        return self._client.fault

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return self._client.waiting

    def gauges(self) -> Mapping[str, float]:
        """Return what waits for the broker and for recorders, as health messages have it."""
        return self._client.session.publications.gauges()

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        """Send a message; return False if it is dropped: see `AsyncClient.publish`."""
        accepted = self._client.session.publications.publish(topic, message, on_ack)
        if not self._pump_is_due:
            self._pump_is_due = True
            self.call(self._pump)
        return accepted

    def subscribe(self, filter: str, qos: int) -> None:
        """Add a subscription, now and at every later connection."""
        self.call(self._client.session.subscribe, filter, qos)

    def unsubscribe(self, filter: str) -> None:
        """Remove a subscription."""
        self.call(self._client.session.unsubscribe, filter)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Do as `AsyncClient.close`. Retained messages are not removed: publish their last state before."""
        thread, self._thread = self._thread, None
        if thread is not None and self._closing is not None:
            self.call(self._closing.set_result, timeout_s)
            thread.join(timeout_s + GOODBYE_S + CLOSE_S)
        return not self.waiting

    def _run(self) -> None:
        self._guarded(lambda: asyncio.run(self._serve()))
        self._is_started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = self._loop.create_future()
        self._client.start()
        self._is_started.set()
        await self._client.close(await self._closing)

    def _pump(self) -> None:
        self._pump_is_due = False
        self._client.session.pump()

    def call(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call in the client's thread, or here while there is none."""
        loop = self._loop
        if loop is None:
            call(*arguments)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: the client has left
            loop.call_soon_threadsafe(self._guarded, call, *arguments)

    def _guarded(self, call: Callable[..., object], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:  # a service without its broker must not look alive
            self.counters["faults"] += 1
            log.exception("a fault in the thread of the connection to the broker: the service ends")
            self._on_fatal(NeuroOneError(f"the connection to the broker failed: {error!r}"))

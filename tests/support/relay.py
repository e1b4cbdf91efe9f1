"""A TCP relay that behaves like a bad network: silent, slow, dropping, refusing, or half-open."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.brokers import LOOPBACK
from tests.support.waiting import WITHIN_S

CHUNK_BYTES = 65_536


@dataclass(eq=False)
class _Link:
    """One connection of a client, and the relay's own to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_frozen: bool = False
    is_deaf: bool = False


class Relay:
    """Relay TCP connections to a port of this machine. Its methods may be called from any thread."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_refusing = False
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay")
        self._passes = asyncio.Event()
        self._passes.set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(WITHIN_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        self._loop.close()

    def freeze(self) -> None:
        """Carry nothing more on the present connections, and tell neither end: they are half-open."""

        def freeze() -> None:
            for link in self._links:
                link.is_frozen = True

        self._call(freeze)

    def deafen(self) -> None:
        """Carry nothing more to the clients of the present connections; what they send still arrives."""

        def deafen() -> None:
            for link in self._links:
                link.is_deaf = True

        self._call(deafen)

    def cut(self) -> None:
        """Drop the present connections; both ends notice."""

        def cut() -> None:
            for link in tuple(self._links):
                self._end(link)

        self._call(cut)

    def refuse(self) -> None:
        """Drop the present connections, and each new one at once."""
        self._call(lambda: setattr(self, "_is_refusing", True))
        self.cut()

    def hold(self) -> None:
        """Go silent, for new connections too: what comes is kept, and delivered when the relay is healed."""
        self._call(self._passes.clear)

    def delay(self, time_s: float) -> None:
        """Deliver everything so much later."""
        self._call(lambda: setattr(self, "_delay_s", time_s))

    def heal(self) -> None:
        """Carry everything again at once; half-open connections stay so."""
        self._call(lambda: setattr(self, "_is_refusing", False))
        self.delay(0.0)
        self._call(self._passes.set)

    def _call(self, act: Callable[[], object]) -> None:
        done = threading.Event()

        def call() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(call)
        assert done.wait(WITHIN_S)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_refusing:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        for source, sink, is_down in ((reader, server_writer, False), (server_reader, writer, True)):
            task = asyncio.ensure_future(self._pump(link, source, sink, is_down))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_down: bool) -> None:
        with contextlib.suppress(OSError):
            while True:
                chunk = await source.read(CHUNK_BYTES)
                await self._passes.wait()
                await asyncio.sleep(self._delay_s)
                if link.is_frozen or (is_down and link.is_deaf):
                    if not chunk:
                        return
                elif chunk:
                    sink.write(chunk)
                    await sink.drain()
                else:
                    break
        self._end(link)

    def _end(self, link: _Link) -> None:
        self._links.discard(link)
        for end in (link.client, link.server):
            end.close()

    async def _close(self) -> None:
        self._listener.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in tuple(self._links):
            for end in (link.client, link.server):
                end.transport.abort()
        await asyncio.sleep(0)

"""Keep track of the connections, and let silent ones make room where there are too many."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from ws_gateway.websocket.connection import Connection

SILENT_MIN_S: Final = 10.0
"""A client that has sent nothing for so long after its handshake makes room for another one, where room is short.
Students and dashboards send at once; games that only listen lose their place last come, last gone, and come again."""
FILES_RESERVED: Final = 256
"""Open files that are kept from connections: the broker's socket, pages, downloads."""


class Admission:
    """All connections: with a client's address from its handshake on, and silent until its first message.

    ``per_address`` is how many clients one address may have, ``connections_max`` how many connections there may be.
    """

    def __init__(self, per_address: int, clock: Callable[[], float]) -> None:
        self._per_address = per_address
        self._clock = clock
        self._addresses: Counter[str] = Counter()
        self._all: dict[Connection, str | None] = {}
        self._silent: dict[str | None, dict[Connection, float]] = {None: {}}
        self.connections_max = 1_000_000
        self.is_empty = asyncio.Event()
        self.is_empty.set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._all))

    @property
    def clients(self) -> int:
        """Connections with a handshake."""
        return self._addresses.total()

    def clients_at(self, server: object) -> int:
        """Return how many clients one server of the gateway has."""
        return sum(each.server is server and address is not None for each, address in self._all.items())

    def clients_of(self, address: str) -> int:
        """Return how many clients this address has."""
        return self._addresses[address]

    def is_client(self, connection: Connection) -> bool:
        """Return True if the connection has had its handshake, and was not told to make room."""
        return self._all[connection] is not None

    def add(self, connection: Connection) -> Connection | None:
        """Register a new connection; return the one that must go, which is the new one if no other can."""
        self.is_empty.clear()
        self._all[connection] = None
        self._silent[None][connection] = self._clock()
        if len(self._all) <= self.connections_max:
            return None
        oldest = next(iter(self._silent[None]))
        if oldest is not connection:  # without a request: clients send it at once
            return oldest
        most = max((silent for address, silent in self._silent.items() if address is not None), key=len, default={})
        return self._oldest(most) or connection

    def has_room(self, address: str) -> bool:
        """Return True if this address may have one more client."""
        return self._addresses[address] < self._per_address

    def silent_one(self, address: str) -> Connection | None:
        """Return the client of this address that has been silent for longest, if it has been so for long enough."""
        return self._oldest(self._silent.get(address, {}))

    def open(self, connection: Connection, address: str) -> None:
        """Note the address of a client that had its handshake."""
        self._silent[None].pop(connection, None)
        self._all[connection] = address
        self._addresses[address] += 1
        self._silent.setdefault(address, {})[connection] = self._clock()

    def on_first_message(self, connection: Connection) -> None:
        """Note that a client is silent no longer."""
        self._forget_silent(connection, self._all[connection])

    def release(self, connection: Connection) -> None:
        """Count a client no longer, although its connection still has to close."""
        address = self._all[connection]
        self._all[connection] = None
        self._forget_silent(connection, address)
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.release(connection)
        del self._all[connection]
        if not self._all:
            self.is_empty.set()

    def _oldest(self, silent: dict[Connection, float]) -> Connection | None:
        for connection, since_s in silent.items():
            return connection if self._clock() - since_s >= SILENT_MIN_S else None
        return None

    def _forget_silent(self, connection: Connection, address: str | None) -> None:
        silent = self._silent.get(address, {})
        silent.pop(connection, None)
        if not silent and address is not None:
            self._silent.pop(address, None)

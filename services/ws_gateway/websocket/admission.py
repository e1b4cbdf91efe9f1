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
REQUESTS_PART: Final = 8
"""In a gateway of several sites this part of the connections is kept for those without a handshake: only with the
request it is known whose a connection is, and whether another site has to make room for it."""

Place = tuple[object, str]
"""Where a client is: the server of its site, and its address."""


class Admission:
    """All connections: with a client's place from its handshake on, and silent until its first message.

    ``per_address`` is how many clients one address may have at one site, ``connections_max`` how many connections there
    may be. Where there are too many clients, one of the site that has most makes room.
    """

    def __init__(self, per_address: int, clock: Callable[[], float], *, has_sites: bool = False) -> None:
        self._per_address = per_address
        self._clock = clock
        self._has_sites = has_sites
        self._places: Counter[Place] = Counter()
        self._clients: dict[object, dict[Connection, None]] = {}
        self._all: dict[Connection, Place | None] = {}
        self._silent: dict[Place | None, dict[Connection, float]] = {None: {}}
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
        return sum(map(len, self._clients.values()))

    def clients_at(self, server: object) -> int:
        """Return how many clients one server of the gateway has."""
        return len(self._clients.get(server, ()))

    def clients_of(self, server: object, address: str) -> int:
        """Return how many clients this address has at a server."""
        return self._places[server, address]

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
        most = max((silent for place, silent in self._silent.items() if place is not None), key=len, default={})
        return self._oldest(most) or connection

    def make_room(self, server: object, address: str) -> tuple[bool, Connection | None]:
        """Return True if one more client of this address may come to a server, and which client must go for it.

        That is one of the address that has been silent for long, or the newest one of a site that has more.
        """
        if self._places[server, address] >= self._per_address:
            silent = self._oldest(self._silent.get((server, address), {}))
            return silent is not None, silent
        if self._has_sites and self.clients >= self.connections_max - self.connections_max // REQUESTS_PART:
            most = max(self._clients.values(), key=len)
            has_more = len(most) > self.clients_at(server) + 1
            return has_more, next(reversed(most)) if has_more else None
        return True, None

    def open(self, connection: Connection, server: object, address: str) -> None:
        """Note the place of a client that had its handshake."""
        self._silent[None].pop(connection, None)
        place = self._all[connection] = server, address
        self._places[place] += 1
        self._clients.setdefault(server, {})[connection] = None
        self._silent.setdefault(place, {})[connection] = self._clock()

    def on_first_message(self, connection: Connection) -> None:
        """Note that a client is silent no longer."""
        self._forget_silent(connection, self._all[connection])

    def release(self, connection: Connection) -> None:
        """Count a client no longer, although its connection still has to close."""
        place = self._all[connection]
        self._all[connection] = None
        self._forget_silent(connection, place)
        if place is not None:
            del self._clients[place[0]][connection]
            self._places[place] -= 1
            if not self._places[place]:
                del self._places[place]

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

    def _forget_silent(self, connection: Connection, place: Place | None) -> None:
        silent = self._silent.get(place, {})
        silent.pop(connection, None)
        if not silent and place is not None:
            self._silent.pop(place, None)

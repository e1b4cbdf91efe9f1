"""Keep messages on the disk, in order, until the district has them: a SQLite database."""

import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from neuroone.contract.errors import SettingsError
from neuroone.mqtt.delivery import Delivery
from neuroone.service.private_files import private

MESSAGE_BYTES: Final = 50
"""What a message takes in the file beside its topic and payload."""
VACUUM_PAGES: Final = 2_000
"""Pages that are given back to the disk at once: 8 MB, so that it holds nobody up."""
FILE: Final = "spool.db"
"""Its name in the directory of the spool."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, arrived_s REAL
)
"""


class Waiting(NamedTuple):
    """One message that waits. Ids rise in the order of arrival, and none is used twice."""

    id: int
    topic: str
    payload: bytes


class Spool:
    """Messages in the order of their arrival. Its methods raise sqlite3.Error where the disk refuses.

    ``max_bytes`` is how large the file may become. Names are in it: only its owner may read it.
    """

    def __init__(self, file: Path, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._connection = sqlite3.connect(":memory:")
        self.size_bytes = 0
        self.length = 0

    @property
    def is_full(self) -> bool:
        """Return True if nothing more may be kept."""
        return self.size_bytes >= self._max_bytes

    def open(self) -> None:
        """Open the file, or make it. Raises SettingsError, also if another program has it open."""
        self._connection.close()
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            os.close(private(str(self._file), os.O_RDWR | os.O_CREAT))
            self._connection = sqlite3.connect(self._file, timeout=1.0)
            for words in ("locking_mode=EXCLUSIVE", "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL"):
                self._connection.execute(f"PRAGMA {words}")
            self._connection.execute(_SCHEMA)
            with contextlib.suppress(sqlite3.OperationalError):  # a spool of an earlier version has no such column
                self._connection.execute("ALTER TABLE messages ADD COLUMN arrived_s REAL")
            self.length, self.size_bytes = self._sums_up_to(sys.maxsize)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError((f"--spool: {self._file} cannot be used ({error})",)) from None

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Make messages durable, all or none: when this returns, they may be acknowledged."""
        now_s = time.time()
        rows = [(each.topic, each.payload, now_s) for each in deliveries]
        with self._connection:
            self._connection.executemany("INSERT INTO messages (topic, payload, arrived_s) VALUES (?, ?, ?)", rows)
        self.length += len(rows)
        self.size_bytes += sum(len(topic) + len(payload) + MESSAGE_BYTES for topic, payload, _ in rows)

    def after(self, id: int, count: int) -> list[Waiting]:
        """Return the first messages behind an id."""
        rows = self._connection.execute(
            "SELECT id, topic, payload FROM messages WHERE id > ? ORDER BY id LIMIT ?", (id, count)
        )
        return [Waiting(*row) for row in rows]

    def oldest_age_s(self) -> float:
        """Return for how long the first message has waited; 0 if none waits, or if that is not known."""
        with contextlib.suppress(sqlite3.Error):
            found = self._connection.execute("SELECT arrived_s FROM messages ORDER BY id LIMIT 1").fetchone()
            if found is not None and found[0] is not None:
                return max(0.0, time.time() - float(found[0]))
        return 0.0

    def remove(self, up_to: int) -> None:
        """Forget the messages up to an id."""
        count, size_bytes = self._sums_up_to(up_to)
        with self._connection:
            self._connection.execute("DELETE FROM messages WHERE id <= ?", (up_to,))
        self.length -= count
        self.size_bytes -= size_bytes
        self._connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()

    def change(self, payloads: Mapping[int, bytes]) -> None:
        """Give messages another payload, or remove those whose new one is empty, without a trace in the file."""
        with self._connection:
            changes = [(payload, id) for id, payload in payloads.items()]
            self._connection.executemany("UPDATE messages SET payload = ? WHERE id = ?", changes)
            removed = [(id,) for id, payload in payloads.items() if not payload]
            self._connection.executemany("DELETE FROM messages WHERE id = ?", removed)
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.length, self.size_bytes = self._sums_up_to(sys.maxsize)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _sums_up_to(self, id: int) -> tuple[int, int]:
        """Return how many messages there are up to an id, and what they take."""
        found = self._connection.execute(
            "SELECT count(*), coalesce(sum(length(topic) + length(payload) + ?), 0) FROM messages WHERE id <= ?",
            (MESSAGE_BYTES, id),
        )
        count, size_bytes = found.fetchone()
        return count, size_bytes

"""Copying the inbox while another process writes to it."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from csv_recorder.live.inbox import Inbox
from csv_recorder.live.rows import Row
from csv_recorder.offline import snapshot
from csv_recorder.offline.snapshot import copy_inbox
from tests.support.waiting import wait_for

WRITER = """
import sys
from pathlib import Path
from csv_recorder.live.inbox import Inbox
from csv_recorder.live.rows import Row

inbox = Inbox(Path(sys.argv[1]))
inbox.open()
inbox.db.execute("PRAGMA synchronous=OFF")  # faster than any disk
inbox.db.execute("PRAGMA wal_autocheckpoint=150")
inbox.db.execute("CREATE TABLE pairs (id INTEGER PRIMARY KEY, first INTEGER, text TEXT, second INTEGER)")
number = 0
while True:
    number += 1
    inbox.begin()
    batch, _ = inbox.put([Row(1, 1, number, b"x" * 200)] * 5)
    inbox.db.execute("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?, ?)", (number % 300, number, "y" * 3000, number))
    inbox.settle(batch, [])
    inbox.commit()
"""


def test_a_copy_is_the_state_of_one_moment_however_fast_it_changes(tmp_path: Path) -> None:
    """Checkpoints and new logs come many times a second; each copy is whole, and newer than the one before."""
    path, copy = tmp_path / "live" / "inbox.sqlite", tmp_path / "copy.sqlite"
    path.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as writer:
        try:
            wait_for(lambda: path.with_name("inbox.sqlite-wal").exists(), "a log")
            last = -1
            for _ in range(40):
                copy_inbox(path, copy)
                inbox = Inbox(copy)
                inbox.open()
                try:
                    assert inbox.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                    tables = inbox.db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'pairs'").fetchone()[0]
                    if tables:
                        assert inbox.db.execute("SELECT count(*) FROM pairs WHERE first <> second").fetchone() == (0,)
                    assert inbox.last_batch() >= last
                    last = inbox.last_batch()
                finally:
                    inbox.close()
            assert last > 100
        finally:
            writer.kill()


def test_a_log_that_begins_anew_in_between_is_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pair of files is of two moments: the log has lost what the database did not have yet."""
    path, copy = tmp_path / "live" / "inbox.sqlite", tmp_path / "copy.sqlite"
    path.parent.mkdir()
    live = Inbox(path)
    live.open()
    numbers = [live.put([Row(1, 1, number, b"x" * 9000)])[0] for number in range(20)]
    real, copied = shutil.copyfile, []

    def copyfile(source: Path, target: Path) -> None:
        real(source, target)
        copied.append(source.name)
        if len(copied) == 1:
            live.db.execute("PRAGMA wal_checkpoint(RESTART)")
            numbers.append(live.put([Row(1, 1, 20, b"y")])[0])

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    copy_inbox(path, copy)
    assert copied == ["inbox.sqlite", "inbox.sqlite-wal"] * 2
    live.close()
    inbox = Inbox(copy)
    inbox.open()
    assert [number for (number,) in inbox.db.execute("SELECT id FROM batches ORDER BY id")] == numbers
    assert inbox.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    inbox.close()


def test_an_inbox_that_never_rests_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "inbox.sqlite"
    inbox = Inbox(path)
    inbox.open()
    inbox.close()
    changes = iter(range(1000))
    monkeypatch.setattr(snapshot, "_generation", lambda *paths: (next(changes),))
    with pytest.raises(OSError, match="it changes too fast to be copied"):
        copy_inbox(path, tmp_path / "copy.sqlite")


def test_an_empty_inbox_is_damaged(tmp_path: Path) -> None:
    """SQLite would take it for a new one, and everything recorded would be unknown."""
    (tmp_path / "sessions").mkdir()
    path = tmp_path / "inbox.sqlite"
    path.touch()
    with pytest.raises(sqlite3.DatabaseError, match="it is empty"):
        copy_inbox(path, tmp_path / "copy.sqlite")
    with pytest.raises(sqlite3.DatabaseError, match="it is empty"):
        Inbox(path).open()

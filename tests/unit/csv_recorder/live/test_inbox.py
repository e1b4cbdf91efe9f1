"""The inbox alone: what an open database may be built on."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from csv_recorder.live.inbox import Inbox


def inbox_with_a_wal(tmp_path: Path) -> Path:
    """An inbox as a crash leaves it: with a transaction that stands in the WAL alone."""
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    inbox = Inbox(tmp_path / "before" / "inbox")
    inbox.open()
    inbox.begin()
    inbox.add_session("ABC123/Ana", "session-ana")
    inbox.commit()
    for name in ("inbox", "inbox-wal"):
        shutil.copyfile(tmp_path / "before" / name, tmp_path / "after" / name)
    inbox.close()
    return tmp_path / "after" / "inbox"


def test_nothing_is_built_on_a_transaction_that_only_the_wal_has(tmp_path: Path) -> None:
    """It may not be on the disk, after a sync that failed: a power cut would end the WAL there."""
    path = inbox_with_a_wal(tmp_path)
    inbox = Inbox(path)
    inbox.open()
    assert path.with_name("inbox-wal").stat().st_size == 0
    assert [session.session for session in inbox.open_sessions()] == ["session-ana"]
    inbox.close()


def test_a_reader_keeps_an_inbox_closed_only_after_a_fault(tmp_path: Path) -> None:
    """A command that reads for long must not keep a recorder from its start."""
    path = inbox_with_a_wal(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sessions").fetchone()
        inbox = Inbox(path)
        inbox.open()
        inbox.begin()
        inbox.add_session("ABC123/Bia", "session-bia")
        inbox.commit()
        inbox.close()
        with pytest.raises(sqlite3.OperationalError, match="reads the inbox"):
            inbox.open(is_in_doubt=True)
    inbox.open(is_in_doubt=True)
    assert [session.session for session in inbox.open_sessions()] == ["session-ana", "session-bia"]
    inbox.close()

"""Remove one student from the spool of the forwarder: what waits there has not reached the district yet."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from csv_recorder.broker_traces import changes_of
from csv_recorder.offline.forget_inbox import Student
from csv_recorder.offline.forget_texts import Traces
from neuroone.contract.errors import SettingsError
from neuroone.forward.spool import FILE, Spool

LOOK_MAX: Final = 1000
"""Messages that are read at once."""


@contextlib.contextmanager
def opened(folder: Path | None) -> Iterator[Spool | None]:
    """Hold the spool of a forwarder; None without a folder. Raises SettingsError, also while the forwarder runs."""
    if folder is None:
        yield None
        return
    if not (folder / FILE).exists():
        raise SettingsError([f"--spool: there is no {folder / FILE}"])
    spool = Spool(folder / FILE, max_bytes=0)
    try:
        spool.open()
        yield spool
    finally:
        spool.close()


def changes_in(spool: Spool | None, student: Student, traces: Traces) -> dict[int, bytes]:
    """Return what is to take the place of each message about a student; an empty payload removes one."""
    changes: dict[int, bytes] = {}
    last = 0
    while spool is not None and (found := spool.after(last, LOOK_MAX)):
        last = found[-1].id
        for each in found:
            for new in changes_of(student, traces, {each.topic: each.payload}).values():
                changes[each.id] = new
    return changes

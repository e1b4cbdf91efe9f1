"""Find and remove a student's name in the names of lessons, which stand in sidecars of others and in the inbox."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from csv_recorder.live.inbox import Inbox
from csv_recorder.offline.forget_texts import Mentions, Traces
from neuroone.contract.files import SIDECAR
from neuroone.data.recordings import Recording, whole_file


def sidecars_with(sessions: Iterable[Recording], is_mentioned: Mentions) -> list[Path]:
    """Return the sidecars in which the name of a lesson mentions the student."""
    return [each.path / SIDECAR for each in sessions if _without(each.about, is_mentioned) is not None]


def cleaned(path: Path, is_mentioned: Mentions) -> bytes:
    """Return the content of a sidecar without the names of lessons that mention the student. Raises OSError."""
    about: dict[str, Any] = json.loads(whole_file(path))
    clean = _without(about, is_mentioned) or {}
    return msgspec.json.format(msgspec.json.encode(about | clean), indent=1) + b"\n"


def clean_inbox(inbox: Inbox, traces: Traces, *, dry: bool) -> int:
    """Take such names out of the inbox's lessons and sessions; return how many lessons they are. ``dry``: only count.

    The lessons of groups that were the student's alone go. Works in the caller's transaction.
    """
    groups, is_mentioned = traces.groups, traces.is_mentioned
    found = inbox.db.execute("SELECT id, group_id, name FROM lessons").fetchall()
    lessons = [id for id, group, name in found if group not in groups and is_mentioned(name)]
    alone = [id for id, group, _ in found if group in groups]
    if not dry:
        inbox.db.executemany("DELETE FROM lessons WHERE id = ?", [(id,) for id in alone])
        inbox.db.executemany("UPDATE lessons SET name = '' WHERE id = ?", [(id,) for id in lessons])
        for id, text in inbox.db.execute("SELECT id, about FROM sessions").fetchall():
            about: dict[str, Any] = json.loads(text)
            clean = _without(about, is_mentioned)
            if clean is not None:
                changed = msgspec.json.encode(about | clean).decode()
                inbox.db.execute("UPDATE sessions SET about = ? WHERE id = ?", (changed, id))
    return len(lessons) + len(alone)


def _without(about: Any, is_mentioned: Mentions) -> dict[str, Any] | None:
    """Return the fields of a sidecar that change if lessons that mention the student lose their names."""
    changed: dict[str, Any] = {}
    if is_mentioned(about.get("class")):
        changed["class"] = ""
    lessons = about.get("lessons")
    if isinstance(lessons, list) and any(isinstance(each, dict) and is_mentioned(each.get("name")) for each in lessons):
        changed["lessons"] = [
            each | {"name": ""} if isinstance(each, dict) and is_mentioned(each.get("name")) else each
            for each in lessons
        ]
    return changed or None

"""Find and remove a student's name in the names of lessons, which stand in sidecars of others and in the inbox.

The events in which a person typed the name stay: they are text like any marker.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from csv_recorder.live.inbox import Inbox
from neuroone.contract.files import SIDECAR, search_key
from neuroone.data.recordings import Recording, whole_file


def mentions_of(name: str | None) -> Callable[[object], bool]:
    """Return what tells if a text has the name in it, as whole words, without case and accents."""
    wanted = search_key(name or "")
    if not wanted:
        return lambda text: False
    pattern = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
    return lambda text: isinstance(text, str) and pattern.search(search_key(text)) is not None


def sidecars_with(sessions: Iterable[Recording], is_mentioned: Callable[[object], bool]) -> list[Path]:
    """Return the sidecars in which the name of a lesson mentions the student."""
    return [each.path / SIDECAR for each in sessions if _without(each.about, is_mentioned) is not None]


def cleaned(path: Path, is_mentioned: Callable[[object], bool]) -> bytes:
    """Return the content of a sidecar without the names of lessons that mention the student. Raises OSError."""
    about: dict[str, Any] = json.loads(whole_file(path))
    clean = _without(about, is_mentioned) or {}
    return msgspec.json.format(msgspec.json.encode(about | clean), indent=1) + b"\n"


def clean_inbox(inbox: Inbox, is_mentioned: Callable[[object], bool], *, dry: bool) -> int:
    """Take such names out of the inbox's lessons and sessions; return how many lessons they are. ``dry``: only count.

    Works in the caller's transaction.
    """
    lessons = [id for id, name in inbox.db.execute("SELECT id, name FROM lessons").fetchall() if is_mentioned(name)]
    if not dry:
        inbox.db.executemany("UPDATE lessons SET name = '' WHERE id = ?", [(id,) for id in lessons])
        for id, text in inbox.db.execute("SELECT id, about FROM sessions").fetchall():
            about: dict[str, Any] = json.loads(text)
            clean = _without(about, is_mentioned)
            if clean is not None:
                changed = msgspec.json.encode(about | clean).decode()
                inbox.db.execute("UPDATE sessions SET about = ? WHERE id = ?", (changed, id))
    return len(lessons)


def _without(about: Any, is_mentioned: Callable[[object], bool]) -> dict[str, Any] | None:
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

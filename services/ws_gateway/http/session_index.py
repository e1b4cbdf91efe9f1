"""Keep what people search for in the sidecars of all sessions, so that a list of very many is read once.

A day's folder is listed again when it has changed, and a sidecar is read again when it is another file. Everything here
reads files: call it in a thread.
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from neuroone.contract.files import CLOSED, SESSIONS, SIDECAR, search_key
from ws_gateway.http.recorded_lessons import About, Lesson, about, lessons_of

SIDECAR_MAX_BYTES: Final = 256 * 1024
"""A sidecar has 5 kB; a longer file is not read as one."""
INDEXED_MAX: Final = 100_000
"""Newest sessions that are found by name: 60 MB of memory. Older ones are found by their date, group and source."""
FIELD_MAX_CHARS: Final = 100
"""Characters of a name or class that are searched: more than a name has."""
CHECKED_ALWAYS: Final = 300
"""Newest sessions whose sidecars are looked at in every search: a school day of ten classes."""
CHECKED_IN_TURN: Final = 300
"""Others that are looked at in one search, and others in the next. Only people change sidecars of closed sessions."""
SETTLED_S: Final = 2.0
"""A folder that changed just now may change again without another time: FAT counts in steps of 2 s."""
WORDS_MAX: Final = 8
"""Words of a search: a name, a class and a date."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO_DAY: Final = re.compile(r"(?P<year>\d{4})(-(?P<month>\d\d?)(-(?P<day>\d\d?))?)?", re.ASCII)
_DAY: Final = re.compile(r"(?P<day>\d\d?)/(?P<month>\d\d?)(/(?P<year>\d{4}|\d\d))?", re.ASCII)
_MONTH: Final = re.compile(r"(?P<month>\d\d?)/(?P<year>\d{4})", re.ASCII)
_Date: TypeAlias = tuple[int | None, int | None, int | None]
"""Year, month and day; None stands for any."""
_SEARCHED: Final = ("name", "class", "code", "group", "source")


@dataclass(frozen=True, slots=True)
class _Day:
    """The sessions of a day, and when its folder had changed; None if it may still change at that time."""

    changed_ns: int | None
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a session: which file its sidecar was, its text, and what a list needs of it."""

    state: tuple[int, ...]
    text: str
    about: About


class SessionIndex:
    """The sessions in a recorder's directory, and in the folders of shards in it."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._roots = [folder]
        self._now_s = now_s
        self._days: dict[str, _Day] = {}
        self._known: dict[str, _Known] = {}
        self._open: set[str] = set()
        """Sessions whose sidecars may change: looked at in every search."""
        self._next = 0
        self._listing = threading.Lock()
        self._reading = threading.Lock()
        self._is_begun = False
        self._changes = 0
        """Raised when more or something else is known."""
        self._lessons: tuple[tuple[int, int], list[Lesson]] = ((-1, 0), [])

    def folders(self) -> list[str]:
        """Return the folders of all sessions as DATE/NAME, the newest first."""
        with self._listing:
            before, self._days = self._days, {}
            self._roots = recorders_in(self._folder)
            for root in self._roots:
                for day in sorted(scanned(root / SESSIONS), key=lambda each: each.name, reverse=True):
                    if _DATE.fullmatch(day.name) and day.is_dir(follow_symlinks=False):
                        self._days[day.path] = self._day(Path(day.path), before.get(day.path))
            found = [folder for day in self._days.values() for folder in day.folders]
            return found if len(self._roots) == 1 else sorted({*found}, reverse=True)

    def path_of(self, folder: str) -> Path:
        """Return where a session lies that `folders` has returned."""
        paths = [root / SESSIONS / folder for root in self._roots]
        return next((path for path in paths[:-1] if path.is_dir()), paths[-1])

    def begin(self) -> None:
        """Start to read all sidecars in the background, once: the first search waits for it."""
        with self._listing:
            is_first, self._is_begun = not self._is_begun, True
        if is_first:
            threading.Thread(target=self._refresh, args=(self.folders(),), name="session index", daemon=True).start()

    def search(self, query: str, utc_offset_min: int) -> list[str]:
        """Return the sessions in which each word of the query is found, the newest first.

        A word is part of a name, class, code or id, or a day or month such as 22/11/2026, 22/11, 11/2026, 2026-11-22;
        days are those of a clock that is ``utc_offset_min`` ahead of UTC.
        """
        found = self.folders()
        self._refresh(found)
        offset = timedelta(minutes=utc_offset_min)
        known = self._known.copy()
        for word in search_key(query).split()[:WORDS_MAX]:
            with_word = {each for each, about in known.items() if word in about.text}
            dates = list(_dates(word))
            if dates or len(known) < len(found):
                with_word |= {
                    each
                    for each in found
                    if (each not in known and word in each.lower())
                    or (dates and _is_of(_day_of(each, known.get(each), offset), dates))
                }
            found = [each for each in found if each in with_word]
        return found

    def lessons(self, utc_offset_min: int) -> list[Lesson]:
        """Return all lessons, the newest first; days are those of a clock that is ahead of UTC by so much."""
        found = self.folders()
        self._refresh(found)
        state = (self._changes, utc_offset_min)
        before, lessons = self._lessons
        if before != state:
            known = self._known.copy()
            sessions = {each: known[each].about for each in found if each in known}
            lessons = lessons_of(sessions, utc_offset_min, lessons)
            self._lessons = (state, lessons)
        return lessons

    def _day(self, path: Path, before: _Day | None) -> _Day:
        try:
            changed_ns = path.stat().st_mtime_ns
        except OSError:
            return _Day(None, ())
        if before is not None and before.changed_ns == changed_ns:
            return before
        names = sorted((each.name for each in scanned(path) if each.is_dir(follow_symlinks=False)), reverse=True)
        is_settled = changed_ns / 1e9 < self._now_s() - SETTLED_S
        return _Day(changed_ns if is_settled else None, tuple(f"{path.name}/{name}" for name in names))

    def _refresh(self, folders: list[str]) -> None:
        """Read the sidecars that are new, and those that have changed as far as they are looked at now."""
        with self._reading:
            newest = folders[:INDEXED_MAX]
            looked_at = {each for each in newest if each not in self._known} | self._open
            looked_at |= {*newest[:CHECKED_ALWAYS], *newest[self._next : self._next + CHECKED_IN_TURN]}
            self._next = self._next + CHECKED_IN_TURN if self._next < len(newest) else 0
            for each in looked_at:
                self._look_at(each)
            if len(self._known) > len(newest):
                for gone in self._known.keys() - set(newest):
                    del self._known[gone]
                    self._open.discard(gone)
                    self._changes += 1

    def _look_at(self, folder: str) -> None:
        path = f"{self.path_of(folder)}/{SIDECAR}"
        state: tuple[int, ...] = ()
        with suppress(OSError):
            stat = os.stat(path)  # noqa: PTH116  a Path takes as long as the rest
            state = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
        known = self._known.get(folder)
        if known is not None and known.state == state and folder not in self._open:
            return
        sidecar = read_sidecar(Path(path)) if state else {}
        its = about(sidecar, folder)
        fields = [sidecar.get(key) for key in _SEARCHED] + [each.name for each in its.lessons]
        texts = [each[:FIELD_MAX_CHARS] for each in fields if isinstance(each, str)]
        text = search_key("\n".join(dict.fromkeys(texts) or [folder.partition("/")[2]]))
        if known is None or (known.text, known.about) != (text, its):
            self._changes += 1
        self._known[folder] = _Known(state, text, its)
        if sidecar.get("status") == CLOSED and state[0] / 1e9 < self._now_s() - SETTLED_S:
            self._open.discard(folder)
        else:
            self._open.add(folder)


def recorders_in(folder: Path) -> list[Path]:
    """Return a recorder's directory, and those of shards in it."""
    entries = (each for each in scanned(folder) if each.name != SESSIONS and each.is_dir(follow_symlinks=False))
    of_shards = sorted(each.path for each in entries if os.path.isdir(f"{each.path}/{SESSIONS}"))  # noqa: PTH112
    return [folder, *map(Path, of_shards)]


def scanned(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder without hidden files; one that cannot be read is empty."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []


def read_sidecar(file: Path) -> dict[str, Any]:
    """Read a sidecar; an unreadable one is empty."""
    try:
        with file.open("rb") as opened:
            sidecar = json.loads(opened.read(SIDECAR_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return sidecar if isinstance(sidecar, dict) else {}


def _dates(word: str) -> Iterator[_Date]:
    """Yield what a word may mean as a year, a month or a day."""
    for form in (_ISO_DAY, _DAY, _MONTH):
        if (found := form.fullmatch(word)) is not None:
            given = found.groupdict()
            year, month, day = (int(given[key]) if given.get(key) else None for key in ("year", "month", "day"))
            year = year + 2000 if year is not None and year < 100 else year
            yield year, month, day
            if form is _DAY:  # in English the month comes first
                yield year, day, month


def _is_of(at: date | None, dates: Iterable[_Date]) -> bool:
    return at is not None and any(
        year in (None, at.year) and month in (None, at.month) and day in (None, at.day) for year, month, day in dates
    )


def _day_of(folder: str, known: _Known | None, offset: timedelta) -> date | None:
    try:
        if known is not None and known.about.start is not None:
            return (known.about.start + offset).date()
        return date.fromisoformat(folder.partition("/")[0])
    except (ValueError, OverflowError):
        return None

"""Divide recordings among another number of recorders. No recorder of the site may run meanwhile.

Rows stay where they are. The inbox of the recorder that goes on with a session learns how far it is recorded: so it
drops what comes again, and takes what is still missing. All of them learn the lessons and the events.
"""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from csv_recorder.live.inbox import Inbox
from csv_recorder.live.inbox_shard import RETIRED, has_recordings, note_shard, shard_in
from csv_recorder.live.lessons import Lesson
from csv_recorder.live.recorder import Options, Recorder
from csv_recorder.live.sessions import About, Key, Progress, Session
from csv_recorder.offline.lock import without_recorder
from csv_recorder.service import INSTANCE, SERVICE
from csv_recorder.settings import ReshardSettings
from neuroone import __version__
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import SESSIONS
from neuroone.contract.shards import Shard
from neuroone.mqtt.client import AsyncClient
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.outbox import Outbox

SETTLE_S: Final = 3600.0
"""Time to close the sessions of a directory: thousands on a slow disk take minutes."""
LEAVE_S: Final = 10.0
"""Time for the broker to answer."""
UNKNOWN: Final = About(kind="", name=None, code=None, start="")


@dataclass(slots=True)
class Resharded:
    """The shard of each directory from now on, and how many sessions go on in another one."""

    shards: list[str]
    moved: int = 0
    gone: tuple[str, ...] = ()
    """Instances under which no recorder will come again: the broker keeps everything for them, if nobody says so."""


def reshard(directories: Sequence[Path], of: int, site: str) -> Resharded:
    """Let directories hold the shards 1 to ``of`` from now on, in this order; those beyond record no more.

    It may be broken off at any point and be called again. Raises SettingsError, OSError and sqlite3.Error.
    """
    if len({each.resolve() for each in directories}) < len(directories) or len(directories) < of:
        raise SettingsError([f"PATHS: {of} different directories are needed, or more"])
    before = [_stored_in(each) for each in directories]
    after = [str(Shard(number, of)) if of > 1 else "" for number in range(1, of + 1)]
    if not {*before} & {*after}:  # else it was broken off
        _check_complete(before)
    for directory, stored in zip(directories, before, strict=True):
        _settle(directory, stored, site)
    resharded = Resharded([*after, *[RETIRED] * (len(directories) - of)])
    resharded.gone = _gone(before, of, len(directories))
    with ExitStack() as held:
        inboxes = [each for path in directories if (each := held.enter_context(without_recorder(path)))]
        newest = _newest(inboxes)
        lessons = _lessons(inboxes)
        events = {id for inbox in inboxes for (id,) in inbox.db.execute("SELECT id FROM events")}
        for number, inbox in enumerate(inboxes[:of], 1):
            inbox.begin()
            for at, session in newest:
                group, _, source = session.stream.partition("/")
                if at != number - 1 and Shard(number, of).includes(group, source):
                    _hand_over(session, inbox)
                    resharded.moved += 1
            known = {each.key: each.ended for each in inbox.all_lessons()}
            for lesson in lessons:
                if lesson.key not in known or (known[lesson.key] is None and lesson.ended is not None):
                    inbox.note_lesson(lesson)
            for id in events:
                inbox.is_new_event(id, inbox.running_s())
            inbox.commit()
        for text, inbox in zip(resharded.shards, inboxes, strict=True):  # each session has been handed over by now
            inbox.begin()
            note_shard(inbox.db, text)
            inbox.commit()
    return resharded


class _Leaving(Identity):
    """One that takes over the broker's session of its instance, with a clean start: so it ends."""

    @property
    def run_client_id(self) -> str:
        return self.client_id


async def leave(settings: ReshardSettings, instances: Sequence[str]) -> list[str]:
    """Let the broker forget recorders that do not come again; return those for which that failed."""
    left = []
    for instance in instances:
        name = settings.instance or instance if instance == INSTANCE else instance
        identity = _Leaving(settings.site, SERVICE, name, __version__, 0, uuid.uuid4().hex)
        done = asyncio.Event()
        outbox = Outbox(is_closed=True)
        client = AsyncClient(
            settings.broker or [],
            identity,
            on_link=lambda is_up, done=done: done.set(),
            outbox=outbox,
            ca_file=settings.broker_ca,
        )
        client.start()
        try:
            await asyncio.wait_for(done.wait(), LEAVE_S)
        except TimeoutError:
            left.append(instance)
        outbox.is_closed = False  # only its last word may go out: its retained state may be online still
        await client.close(LEAVE_S)
    return left


def _gone(before: Sequence[str], of: int, directories: int) -> tuple[str, ...]:
    """Return the instances that do not come again, also those of a run that was broken off or had no broker."""
    most = max([directories, *(Shard.parse(text).of for text in before if text not in ("", RETIRED))])
    numbers = range(of + 1 if of > 1 else 1, most + 1)
    return (*([INSTANCE] if of > 1 else []), *(f"shard-{number}" for number in numbers))


def _stored_in(directory: Path) -> str:
    """Return the shard of a directory. A new one is like one that records no more."""
    with without_recorder(directory) as inbox:
        if inbox is None:
            return RETIRED
        return shard_in(inbox.db) or ("" if has_recordings(inbox.db, directory) else RETIRED)


def _settle(directory: Path, stored: str, site: str) -> None:
    """Bring what a killed recorder left in its inbox into the files, and close the sessions."""
    has_students = any(directory.glob("*.csv")) or not (directory / SESSIONS).exists()
    recorder = Recorder(directory, Options(site=site, version=__version__, csv=has_students, shard=stored))
    recorder.open()
    recorder.close(SETTLE_S)


def _check_complete(before: Sequence[str]) -> None:
    """Raise SettingsError if a recorder of now is left out: its sessions would begin anew."""
    present = {Shard.parse(text) for text in before if text not in ("", RETIRED)}
    for each in sorted({each.of for each in present}):
        lacks = [str(Shard(number, each)) for number in range(1, each + 1) if Shard(number, each) not in present]
        if lacks:
            raise SettingsError([f"PATHS: the directory of shard {', '.join(lacks)} is missing: name all of them"])


def _newest(inboxes: Sequence[Inbox]) -> list[tuple[int, Session]]:
    """Return each session as far as any inbox knows it, and at which inbox that is; -1 if none knows all.

    None does if the session had another source meanwhile, of another shard.
    """
    every: dict[Key, list[tuple[int, Session]]] = {}
    for at, inbox in enumerate(inboxes):
        for session in inbox.sessions():
            every.setdefault(session.key, []).append((at, session))
    newest = []
    for known in every.values():
        at, session = max(known, key=lambda each: _rank(each[1]))
        before = session.progress
        for _, other in known:
            session.progress = _united(session.progress, other.progress)
        newest.append((at if session.progress == before else -1, session))
    return newest


def _united(newest: Progress, other: Progress) -> Progress:
    """Return the progress without the holes that are recorded in another inbox."""
    if other.lost:  # it is not known which
        return newest
    lacks = (*other.holes, (other.seq + 1, newest.seq))
    both = ((max(a, first), min(b, last)) for a, b in newest.holes for first, last in lacks)
    return msgspec.structs.replace(newest, holes=tuple(hole for hole in both if hole[0] <= hole[1]))


def _rank(session: Session) -> tuple[int, int]:
    return session.progress.seq, -session.progress.gaps


def _lessons(inboxes: Sequence[Inbox]) -> list[Lesson]:
    """Return the lessons that any inbox knows, with their ends, in the order in which they began."""
    every: dict[tuple[str, str], Lesson] = {}
    for lesson in (each for inbox in inboxes for each in inbox.all_lessons()):
        if lesson.key not in every or lesson.ended is not None:
            every[lesson.key] = lesson
    return sorted(every.values(), key=lambda each: each.began)


def _hand_over(session: Session, inbox: Inbox) -> None:
    """Let an inbox know a session of another one, as far as that has recorded it."""
    group, _, _ = session.stream.partition("/")
    known = inbox.session(group, session.session) or inbox.add_session(session.stream, session.session)
    now = session.progress
    known.progress = Progress(now.seq, known.progress.rows, known.progress.duplicates, now.holes, now.lost)
    elsewhere = now.seq + 1 - known.progress.rows - known.progress.gaps
    about = session.about or UNKNOWN
    known.about = msgspec.structs.replace(
        known.about or msgspec.structs.replace(UNKNOWN, name=about.name, code=about.code), elsewhere=elsewhere
    )
    known.open = False
    inbox.describe([known])
    inbox.save_progress([(known.id, known.progress)], inbox.running_s())

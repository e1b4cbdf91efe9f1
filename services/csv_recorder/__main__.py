"""The commands of csv-recorder.

A command imports pandas and other heavy packages itself, so that `csv-recorder run` does without them.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Final, TextIO

from neuroone.contract.errors import SettingsError
from neuroone.contract.files import BROKER_FOLDER, INBOX_FILE, safe_stem
from neuroone.service import extras, lifecycle
from neuroone.service.lifecycle import FAILED, OK, Command, Stop
from neuroone.service.open_files import allow_many_files
from neuroone.service.terminal import agrees, printable

with extras.needed("csv-recorder"):
    from csv_recorder import broker_traces, resharding, spool_traces
    from csv_recorder.live.inbox_shard import RETIRED
    from csv_recorder.offline import prune as old
    from csv_recorder.offline import verify as verification
    from csv_recorder.offline.backup import STANDARD, back_up
    from csv_recorder.offline.forget import find_data, left, remove
    from csv_recorder.offline.forget_inbox import Student, scrub
    from csv_recorder.offline.lock import directories_in, directory_of, locked, without_recorder
    from csv_recorder.offline.rebuild import rebuild as make_inbox
    from csv_recorder.offline.report import texts
    from csv_recorder.offline.report.lesson_list import find_lessons, json_lines, lines
    from csv_recorder.offline.restore import restore as bring_back
    from csv_recorder.offline.snapshot import is_in_order
    from csv_recorder.offline.verify import Verifier
    from csv_recorder.service import Service, prepare_process
    from csv_recorder.settings import (
        BIDS,
        EDF,
        NEEDED_BY,
        PARQUET,
        S3,
        BackupSettings,
        ExportSettings,
        ForgetSettings,
        GiveSettings,
        LessonsSettings,
        PruneSettings,
        RebuildSettings,
        ReportSettings,
        ReshardSettings,
        RestoreSettings,
        RunSettings,
        VerifySettings,
    )
    from neuroone.data.recordings import Recording, find, without_doubles

RECORDER: Final = "csv-recorder"
EXPORT: Final = "csv-recorder-export"
"""The extra with the packages of all formats."""
SECOND_LOOK_S: Final = 1.1
"""Time between two looks at a changing session: a recorder writes at least once a second."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    commands = {
        "run": Command(RunSettings, run, "record readings as CSV files, until stopped", record="csv_recorder"),
        "report": Command(
            ReportSettings, report, "print figures of students and classes, or write a page, CSV or workbook"
        ),
        "export": Command(
            ExportSettings, export, "write sessions as Parquet, xlsx, EDF+, BIDS or CSV for spreadsheets"
        ),
        "lessons": Command(LessonsSettings, lessons, "list the lessons: when, which, how many students"),
        "verify": Command(VerifySettings, verify, "check rows, counts, sequence and hashes of recorded files"),
        "forget": Command(ForgetSettings, forget, "remove one student's data for ever"),
        "give": Command(GiveSettings, give, "write everything about one student into a ZIP archive, with a report"),
        "prune": Command(PruneSettings, prune, "remove what ended so many days ago, for ever"),
        "reshard": Command(ReshardSettings, reshard, "divide recordings among another number of recorders"),
        "backup": Command(BackupSettings, backup, "write all recordings into one archive, also while recording"),
        "restore": Command(RestoreSettings, restore, "bring back the recordings of an archive"),
        "rebuild": Command(RebuildSettings, rebuild, "make a new inbox from the recorded files if it is damaged"),
    }
    return lifecycle.main("csv-recorder", commands, argv)


def run(settings: RunSettings, stop: Stop) -> int:
    """Record until ``stop``."""
    prepare_process()
    return Service(settings, stop, allow_many_files()).run()


def report(settings: ReportSettings, stop: Stop) -> int:
    """Print the figures of students and classes; return 1 if a session could not be read."""
    extras.check("report", "pandas", RECORDER)
    if settings.xlsx:
        extras.check("report --xlsx", "openpyxl", EXPORT)
    from csv_recorder.offline.report import command

    return OK if command.run(settings, stop.is_set, _print) else FAILED


def lessons(settings: LessonsSettings, stop: Stop) -> int:
    """Print a line for each lesson."""
    words = texts.Words(settings.language or texts.of_system(), settings.timezone)
    found = find_lessons(settings.chosen())
    if settings.json:
        print(*json_lines(found), sep="\n", end="\n" if found else "")
    else:
        _print(lines(found, words) if found else [words("no_lessons")])
    return OK


def verify(settings: VerifySettings, stop: Stop) -> int:
    """Print a line for each wrong file, and a summary; return 1 if a file is wrong."""

    def verifier() -> Verifier:
        return Verifier(settings.chosen(), lambda: stop.wait(SECOND_LOOK_S))

    if settings.repair:
        with ExitStack() as held:
            for directory in {
                each for path in settings.chosen() for each in (directory_of(path), *directories_in(path))
            }:
                held.enter_context(without_recorder(directory))
            for verdict in verifier().verdicts():
                if cut := verification.repair(verdict):
                    _print([f"{verdict.path}: torn tail of {cut} bytes cut off"])
    files = rows = wrong = 0
    checked = verifier()
    for verdict in checked.verdicts():
        if stop.is_set():
            return FAILED
        files, rows, wrong = files + 1, rows + verdict.rows, wrong + bool(verdict.faults)
        if verdict.faults or verdict.is_mentioned or settings.verbose:
            _print([f"{verdict.path}: {'; '.join(verdict.faults) or ', '.join(['ok', *verdict.notes])}"])
    if checked.lack_an_inbox:
        lack = f"no inbox knows {checked.lack_an_inbox} open sessions: that their files are whole cannot be told"
        print(lack, file=sys.stderr)
    _print([f"{files} files, {rows} rows: {f'{wrong} wrong' if wrong else 'all in order'}"])
    return FAILED if wrong else OK


def export(settings: ExportSettings, stop: Stop) -> int:
    """Write recordings in another format; return 1 if one could not be read, or if nothing was written."""
    for package, extra in {"pandas": RECORDER, **dict.fromkeys((*NEEDED_BY[settings.to], "tqdm"), EXPORT)}.items():
        extras.check(f"export --to {settings.to}", package, extra)
    for flag, is_given in {"--partitioned": settings.partitioned, "--follow": settings.follow}.items():
        if is_given and settings.to != PARQUET:
            raise SettingsError([f"{flag}: is for --to {PARQUET} only"])
    if settings.follow:
        from csv_recorder.offline.export.follow import follow

        return OK if follow(settings, stop) else FAILED
    if settings.out.startswith(S3):
        raise SettingsError([f"--out: {S3} is for --follow only"])
    out = Path(settings.out)
    from tqdm import tqdm

    from csv_recorder.offline.export.exporter import Exporter
    from csv_recorder.offline.report.figures import Selection

    recordings = [
        *filter(Selection(groups=frozenset(settings.group)).includes, without_doubles(find(settings.chosen())))
    ]
    exporter = Exporter(settings.to, out, with_names=settings.names, partitioned=settings.partitioned)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for recording in tqdm(_until(stop, recordings), total=len(recordings), unit="session", disable=None):
            exporter.export(recording)
        exporter.finish()
    except OSError as error:
        raise SettingsError([f"{error.filename or out}: {error.strerror or error}"]) from None
    _print(f"{texts.Words()('not_read')}: {fault}" for fault in exporter.faults)
    if exporter.without_raw and settings.to in (EDF, BIDS):
        _print([f"{exporter.without_raw} of {len(recordings)} sessions have no raw samples: run --raw records them"])
    if exporter.left_over:
        others = ", ".join(exporter.left_over)
        _print([f"{out} also holds {len(exporter.left_over)} participants of an earlier export: {others}"])
    _print([f"files written to {out}: {len(exporter.files)}"])
    return FAILED if exporter.faults or not exporter.files or stop.is_set() else OK


def give(settings: GiveSettings, stop: Stop) -> int:
    """Write everything about one student into an archive; return 1 if something could not be read."""
    extras.check("give", "pandas", RECORDER)
    from csv_recorder.offline import give as archive

    student = _student(settings)
    out = settings.out or Path(f"{safe_stem(settings.name or str(settings.source))}.zip")
    words = texts.Words(settings.language or texts.of_system(), settings.timezone)
    try:
        given = archive.give(settings.dir, student, out, words, force=settings.force)
    except OSError as error:
        raise SettingsError([f"{error.filename or out}: {error.strerror or error}; there is no archive"]) from None
    _print(f"{words('not_read')}: {fault}" for fault in given.faults)
    _print(f"not in the archive, nothing says whose it is (look into it): {path}" for path in given.unknown)
    if len(given.streams) > 1:
        _print([f"of several sources (is it one student? --source gives one): {', '.join(given.streams)}"])
    _print(["look for what is about others in the events and the names of lessons before you hand it out"])
    _print([f"{out}: {given.files} files as they are"])
    return FAILED if given.faults or given.unknown else OK


def _student(settings: ForgetSettings | GiveSettings) -> Student:
    """Return whom a command is about. Raises SettingsError."""
    if (settings.name is None) == (settings.source is None):
        raise SettingsError(["--name or --source: one of them is needed, and not both"])
    if not settings.dir.is_dir():
        raise SettingsError([f"--dir: {settings.dir} is not there"])
    return Student(settings.name, settings.source)


def forget(settings: ForgetSettings, stop: Stop) -> int:
    """Remove one student's data after a confirmation; return 1 if there is none, or if some is shared and stays."""
    student = _student(settings)
    in_lake, remove_from_lake = _in_lake(settings, student)
    as_recorder = settings.as_recorder()
    kept = broker_traces.drain(as_recorder, stop) if as_recorder else {}
    on_broker: Collection[str] = ()
    try:
        with spool_traces.opened(settings.spool) as spool, without_recorder(settings.dir) as inbox:
            found = find_data(settings.dir, student, inbox)
            changes = broker_traces.changes_of(student, found.traces, kept)
            waiting = spool_traces.changes_in(spool, student, found.traces)
            _print(found.lines())
            _print(f"on the broker {topic}" for topic in changes)
            if in_lake:
                _print([f"in the lake {in_lake} sessions"])
            if waiting:
                _print([f"in the spool {len(waiting)} messages"])
            if not (found or changes or in_lake or waiting):
                if inbox is not None:
                    scrub(inbox)  # a removal that a crash broke off may have left something in its pages
                _print(["there is nothing to remove"])
                return FAILED
            if not settings.yes and not _may_remove():
                return FAILED
            remove_from_lake()
            if spool is not None:
                spool.change(waiting)
            if as_recorder:
                on_broker = broker_traces.publish(as_recorder, changes)
            remove(settings.dir, student, found, inbox)
        remaining = [*left(settings.dir, found)]
    except OSError as error:
        raise SettingsError([f"{error.filename}: not everything was removed ({error.strerror}); try again"]) from None
    store = [path for path in remaining if as_recorder and BROKER_FOLDER in path.parts]
    others = [path for path in remaining if path not in store]
    _print(f"stays, the name or code is in it (remove it when nobody needs it): {path}" for path in others)
    _print(f"goes when the broker next saves what it holds: {path}" for path in store)
    _print(f"stays on the broker, which refuses, or the student is connected: {topic}" for topic in sorted(on_broker))
    _print(
        [
            "removed. Not known here: backups, exports elsewhere, a district, phones; the broker without --broker, "
            "the spool of a forwarder without --spool"
        ]
    )
    return FAILED if found.shared or found.unknown or others or on_broker else OK


def _in_lake(settings: ForgetSettings, student: Student) -> tuple[int, Callable[[], None]]:
    """Return how many sessions of a student the lake has, and what removes them; nothing without a lake."""
    if settings.lake is None:
        return 0, lambda: None
    extras.check("forget --lake", "pyarrow", EXPORT)
    from csv_recorder.offline.export.lake import find_student

    return find_student(settings.lake, settings.site, student)


def prune(settings: PruneSettings, stop: Stop) -> int:
    """Remove what ended long ago after a confirmation; return 1 if something stays that may be as old."""
    if not settings.dir.is_dir():
        raise SettingsError([f"--dir: {settings.dir} is not there"])
    try:
        with without_recorder(settings.dir) as inbox:
            found = old.find_old(settings.dir, datetime.now(UTC) - timedelta(days=settings.older_than), inbox)
            _print(found.lines())
            if not found:
                _print(["there is nothing to remove"])
                return OK
            if not settings.yes and not _may_remove():
                return FAILED
            left_over = old.remove_old(settings.dir, found, inbox)
    except OSError as error:
        raise SettingsError([f"{error.filename}: not everything was removed ({error.strerror}); try again"]) from None
    _print(f"could not be removed: {path}" for path in left_over)
    _print([f"removed: {found.summary(left_over)}. Backups and exports elsewhere are not known here"])
    return FAILED if left_over or found.undated or found.copies else OK


def backup(settings: BackupSettings, stop: Stop) -> int:
    """Write all recordings into an archive; return 1 if something is not in it."""
    found = back_up(settings.dir, settings.archive, force=settings.force)
    lines = [f"not in the archive: {each}" for each in found.skipped]
    lines.append(f"{settings.archive}: {found.files} files, {found.bytes / 1e6:.1f} MB")
    _print(lines, sys.stderr if settings.archive == STANDARD else sys.stdout)
    return FAILED if found.skipped else OK


def restore(settings: RestoreSettings, stop: Stop) -> int:
    """Bring back the recordings of an archive; return 1 if its inbox is damaged."""
    found = bring_back(settings.archive, settings.dir, replace=settings.replace)
    if found.kept is not None:
        _print([f"what was there before is in {found.kept}"])
    _print([f"{settings.dir}: {found.files} files restored"])
    if found.fault is not None:
        _print([found.fault])
    return OK if found.fault is None else FAILED


def rebuild(settings: RebuildSettings, stop: Stop) -> int:
    """Make a new inbox from the recorded files."""
    if not settings.dir.is_dir():
        raise SettingsError([f"--dir: {settings.dir} is not there"])
    path = settings.dir / INBOX_FILE
    try:
        with locked(settings.dir):
            if is_in_order(settings.dir) and not settings.force:
                _print([f"{path} is in order: nothing was changed"])
                return OK
            made = make_inbox(settings.dir)
    except OSError as error:
        raise SettingsError([f"{error.filename or path}: {error.strerror or error}; try again"]) from None
    _print(made.notes)
    if made.kept is not None:
        _print([f"the old inbox is {made.kept}: remove it when nobody needs it any more"])
    if made.unreadable:
        _print([f"{made.unreadable} parts of the old inbox could not be read: rows that waited in them are lost"])
    _print([f"{path}: {made.sessions} sessions, {made.files} files, {made.saved} rows that wait for their files"])
    return OK


def reshard(settings: ReshardSettings, stop: Stop) -> int:
    """Let directories hold another number of shards from now on."""
    try:
        done = resharding.reshard(settings.paths, settings.shards, settings.site)
    except (OSError, sqlite3.Error) as error:
        raise SettingsError([f"{getattr(error, 'filename', None) or 'an inbox'}: {error}; try again"]) from None
    for path, shard in zip(settings.paths, done.shards, strict=True):
        _print([f"{path}: {'records no more' if shard == RETIRED else f'--shard {shard}' if shard else 'no --shard'}"])
    left: Sequence[str] = done.gone
    if settings.broker is not None:
        left = asyncio.run(resharding.leave(settings, done.gone))
    if left:
        _print([f"the broker may keep readings for {', '.join(left)}: --broker lets it forget them"])
    _print([f"{done.moved} sessions are known in another directory, too. Start the recorders like this now"])
    return FAILED if left and settings.broker is not None else OK


def _may_remove() -> bool:
    """Ask on the terminal. Raises SettingsError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise SettingsError(["nothing was removed: --yes is needed where nobody can be asked"])
    if agrees("Remove all of this for ever? [y/N] ", sys.stdout):
        return True
    _print(["nothing was removed"])
    return False


def _until(stop: Stop, recordings: Iterable[Recording]) -> Iterator[Recording]:
    return takewhile(lambda _: not stop.is_set(), recordings)


def _print(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Print lines, even if the terminal cannot show every character of a name."""
    stream = stream or sys.stdout
    for line in lines:
        print(printable(texts.printable(line), stream), file=stream)


if __name__ == "__main__":
    sys.exit(main())

"""The commands on recorded files: what they can be told, and what they print. None needs a broker.

pandas and what else is heavy is imported by the command that uses it: `csv-recorder run` does without.
"""

import importlib.util
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from csv_recorder.offline import verify as verification
from csv_recorder.offline.forget import Student, look, remove
from csv_recorder.offline.lock import directory_of, without_recorder
from csv_recorder.offline.recordings import Recording, find, without_doubles
from csv_recorder.offline.report import texts
from csv_recorder.offline.verify import Verdict
from neuroone.contract.errors import SettingsError
from neuroone.service.lifecycle import FAILED, OK, Command, Stop
from neuroone.service.settings import one_of, setting, switch, text, topic_id

PARQUET: Final = "parquet"
XLSX: Final = "xlsx"
EDF: Final = "edf"
BIDS: Final = "bids"
CSV_PTBR: Final = "csv-ptbr"
NEEDED_BY: Final = {PARQUET: ("pyarrow",), XLSX: ("openpyxl",), EDF: ("edfio",), BIDS: ("edfio",), CSV_PTBR: ()}
"""The formats of an export, and the packages that each needs."""
EXPORT: Final = "csv-recorder-export"
"""The extra that has them."""
SECOND_LOOK_S: Final = 1.1
"""A recorder writes to its files once a second or more often."""


def moment(value: str) -> datetime:
    """The parser of times: a date, or a date and a time. One without a zone is of this computer or ``--timezone``."""
    try:
        found = datetime.fromisoformat(value)
        if 1970 < found.year < 3000:
            return found
    except ValueError:
        pass
    raise ValueError("must be a time like 2026-11-22 or 2026-11-22T14:30 or 2026-11-22T17:30Z")


def time_zone(value: str) -> tzinfo:
    """The parser of time zones."""
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone like America/Sao_Paulo or UTC") from None


def last_moment(value: str) -> datetime:
    """The parser of ends: a date alone means that whole day."""
    found = moment(value)
    return found + timedelta(days=1) if len(value) <= len("2026-11-22") else found


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSettings:
    """Which recordings."""

    paths: tuple[Path, ...] = setting(
        (),
        Path,
        "Directories of recordings, dates or sessions, or single files; without any: all of --dir.",
        positional=True,
        many=True,
        metavar="PATHS",
    )
    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings.", metavar="DIR")

    def places(self) -> tuple[Path, ...]:
        """Where to look."""
        return self.paths or (self.dir,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings(RecordedSettings):
    """What to report, and where to."""

    from_: datetime | None = setting(None, moment, "Only readings from this time on.", metavar="TIME")
    to: datetime | None = setting(
        None, last_moment, "Only readings before this time; a date alone includes that day.", metavar="TIME"
    )
    timezone: tzinfo | None = setting(
        None, time_zone, "Time zone of the report and of --from and --to; by default this computer's.", metavar="ZONE"
    )
    group: tuple[str, ...] = setting(
        (), text, "Only this group (its id or code); may be given several times.", many=True
    )
    language: str | None = setting(
        None, one_of(*texts.LANGUAGES), "Language of the report, en or pt-BR; by default this computer's."
    )
    html: Path | None = setting(None, Path, "Write the report as a page with plots.", metavar="FILE")
    csv: Path | None = setting(None, Path, "Write the figures as CSV, comma and dot, times in UTC.", metavar="FILE")
    xlsx: Path | None = setting(None, Path, "Write the figures as a workbook, times in UTC.", metavar="FILE")


def report(given: ReportSettings, stop: Stop) -> int:
    """Print the figures of students and classes; 1 when a session could not be read."""
    _need("report", "pandas", extra="csv-recorder")
    if given.xlsx:
        _need("report --xlsx", "openpyxl")
    import pandas as pd

    from csv_recorder.offline.export import spreadsheets
    from csv_recorder.offline.report import html, text
    from csv_recorder.offline.report.figures import Selection, make

    since, until = (_with_zone(each, given.timezone) for each in (given.from_, given.to))
    made = make(
        _until(stop, without_doubles(find(given.places()))),
        Selection(since, until, frozenset(given.group), given.timezone),
    )
    words = texts.Words(given.language or texts.of_system(), given.timezone)
    try:
        if given.html:
            with given.html.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(html.page(made, words, pd.Timestamp(datetime.now(UTC))))
        if given.csv:
            with given.csv.open("w", encoding="utf-8", newline="") as file:
                spreadsheets.guarded(made.sessions).to_csv(file, index=False, lineterminator="\n")
        if given.xlsx:
            spreadsheets.write_workbook(given.xlsx, {"Sessions": made.sessions, "Classes": made.classes})
    except OSError as error:
        raise SettingsError([f"{error.filename}: cannot be written ({error.strerror})"]) from None
    _print(text.lines(made, words))
    return FAILED if made.faults or stop.is_set() else OK


def _agrees(question: str) -> bool:
    """Ask on the terminal. Ctrl-C and the end of the input are a no."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(question).strip().lower() in ("y", "yes", "s", "sim")
    except (KeyboardInterrupt, EOFError):
        return False
    finally:
        signal.signal(signal.SIGINT, before)


def _with_zone(time: datetime | None, zone: tzinfo | None) -> datetime | None:
    return time if time is None or time.tzinfo else (time.replace(tzinfo=zone) if zone else time.astimezone())


def _until(stop: Stop, recordings: Iterable[Recording]) -> Iterable[Recording]:
    for each in recordings:
        if stop.is_set():
            return
        yield each


def _need(what: str, module: str, extra: str = EXPORT) -> None:
    if importlib.util.find_spec(module) is None:
        raise SettingsError([f"{what} needs {module}: install it with: pip install 'neuroone[{extra}]'"])


def _print(lines: Iterable[str]) -> None:
    """Print, also where the terminal cannot write every character of a name."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(texts.printable(line).encode(encoding, "replace").decode(encoding))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings(RecordedSettings):
    """What to verify, and whether to mend."""

    repair: bool = setting(
        False, switch, "Cut torn tails off, which is what a crash leaves of a last row. No recorder may run."
    )
    verbose: bool = setting(False, switch, "A line for every file, also for those in order.")


def verify(given: VerifySettings, stop: Stop) -> int:
    """Print one line a file that is wrong, and a summary; 1 when anything is."""

    def verdicts() -> Iterator[Verdict]:
        return verification.verdicts(given.places(), lambda: stop.wait(SECOND_LOOK_S))

    if given.repair:
        with ExitStack() as held:
            for directory in {directory_of(path) for path in given.places()}:
                held.enter_context(without_recorder(directory))
            for verdict in verdicts():
                if cut := verification.repair(verdict):
                    _print([f"{verdict.path}: torn tail of {cut} bytes cut off"])
    files = rows = wrong = 0
    for verdict in verdicts():
        if stop.is_set():
            return FAILED
        files, rows, wrong = files + 1, rows + verdict.rows, wrong + bool(verdict.faults)
        if verdict.faults or given.verbose:
            _print([f"{verdict.path}: {'; '.join(verdict.faults) or ', '.join(['ok', *verdict.notes])}"])
    _print([f"{files} files, {rows} rows: {f'{wrong} wrong' if wrong else 'all in order'}"])
    return FAILED if wrong else OK


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings(RecordedSettings):
    """What to export, as what, and where to."""

    to: str = setting(..., one_of(*NEEDED_BY), f"The format: {', '.join(NEEDED_BY)}.", metavar="FORMAT")
    out: Path = setting(..., Path, "Directory of the new files; those of the same names are replaced.", metavar="DIR")
    group: tuple[str, ...] = setting(
        (), text, "Only this group (its id or code); may be given several times.", many=True
    )
    names: bool = setting(False, switch, "With --to bids: say who the participants are.")


def export(given: ExportSettings, stop: Stop) -> int:
    """Write recordings in another format; 1 when one of them could not be read, or when there is nothing to write."""
    for module, extra in {"pandas": "csv-recorder", **dict.fromkeys((*NEEDED_BY[given.to], "tqdm"), EXPORT)}.items():
        _need(f"export --to {given.to}", module, extra)
    from tqdm import tqdm

    from csv_recorder.offline.export.exporter import Exporter
    from csv_recorder.offline.report.figures import Selection

    recordings = [*filter(Selection(groups=frozenset(given.group)).takes, without_doubles(find(given.places())))]
    exporter = Exporter(given.to, given.out, with_names=given.names)
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        for recording in tqdm(_until(stop, recordings), total=len(recordings), unit="session", disable=None):
            exporter.export(recording)
        exporter.finish()
    except OSError as error:
        raise SettingsError([f"{error.filename or given.out}: {error.strerror or error}"]) from None
    made = exporter.made
    _print(f"{texts.Words()('not_read')}: {fault}" for fault in made.faults)
    if made.without_raw and given.to in (EDF, BIDS):
        _print([f"{made.without_raw} of {len(recordings)} sessions have no raw samples: run --raw records them"])
    _print([f"files written to {given.out}: {len(made.files)}"])
    return FAILED if made.faults or not made.files or stop.is_set() else OK


def stream_name(value: str) -> str:
    """The parser of streams."""
    group, slash, source = value.partition("/")
    if not slash:
        raise ValueError("must be GROUP/SOURCE")
    return f"{topic_id(group)}/{topic_id(source)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetSettings:
    """Whom to forget."""

    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings.", metavar="DIR")
    name: str | None = setting(None, text, "Everything that is recorded under this name.")
    source: str | None = setting(None, stream_name, "Everything of one source.", metavar="GROUP/SOURCE")
    yes: bool = setting(False, switch, "Do not ask.")


def forget(given: ForgetSettings, stop: Stop) -> int:
    """Remove one student's data after a confirmation; 1 when there is none, or when it is not all the student's own."""
    if (given.name is None) == (given.source is None):
        raise SettingsError(["--name or --source: one of them is needed, and not both"])
    if not given.dir.is_dir():
        raise SettingsError([f"--dir: {given.dir} is not there"])
    student = Student(given.name, given.source)
    try:
        return _forget(given, student)
    except OSError as error:
        raise SettingsError([f"{error.filename}: not everything was removed ({error.strerror}); try again"]) from None


def _forget(given: ForgetSettings, student: Student) -> int:
    with without_recorder(given.dir) as inbox:
        found = look(given.dir, student, inbox)
        _print(found.lines())
        if not found:
            _print(["there is nothing to remove"])
            return FAILED
        if not given.yes:
            if not sys.stdin.isatty():
                raise SettingsError(["nothing was removed: --yes is needed where nobody can be asked"])
            if not _agrees("Remove all of this for ever? [y/N] "):
                _print(["nothing was removed"])
                return FAILED
        remove(given.dir, student, found, inbox)
    _print(["removed. Copies and exports are not known here; a retained state may still be on the broker"])
    return FAILED if found.shared else OK


COMMANDS: Final = {
    "report": Command(ReportSettings, report, "print figures of students and classes; as a page, CSV or workbook, too"),
    "export": Command(ExportSettings, export, "write sessions as Parquet, xlsx, EDF+, BIDS or CSV for spreadsheets"),
    "verify": Command(VerifySettings, verify, "check rows, counts, sequence and hashes of recorded files"),
    "forget": Command(ForgetSettings, forget, "remove one student's data for ever"),
}

"""Write everything about one student into a ZIP archive: the files as they are, a report, and what is what."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile

import pandas as pd

from csv_recorder.offline.export.exporter import Exporter
from csv_recorder.offline.forget import find_data
from csv_recorder.offline.forget_inbox import Student
from csv_recorder.offline.lessons import with_parts
from csv_recorder.offline.report import html, texts
from csv_recorder.offline.report.figures import make
from neuroone import __version__
from neuroone.contract.errors import SettingsError
from neuroone.data.recordings import Recording, session_in, whole_file, without_doubles
from neuroone.service.private_files import private

NAMES: Final = {"en": ("README.txt", "report.html", ""), "pt-BR": ("LEIA-ME.txt", "relatorio.html", "planilhas")}
"""What the files of an archive are called, and the folder of spreadsheets, in each language."""
SPREADSHEETS: Final = "csv-ptbr"


@dataclass(slots=True)
class Given:
    """What is in the archive: whose ``streams`` (group/source) and how many files; and what could not be read."""

    streams: list[str] = field(default_factory=list)
    files: int = 0
    faults: list[str] = field(default_factory=list)
    unknown: list[Path] = field(default_factory=list)


def give(directory: Path, student: Student, out: Path, words: texts.Words, *, force: bool = False) -> Given:
    """Write the archive, completely or not at all; a recorder may run. Raises SettingsError and OSError."""
    if out.exists() and not force:
        raise SettingsError([f"--out: {out} is there already: --force replaces it"])
    found = find_data(directory, student, None)
    sessions = [session_in(path) for path in found.sessions]
    others = [*dict.fromkeys(found.files)]
    files = [Recording(path, {"name": student.name}, is_legacy=True) for path in others if path.parent == directory]
    if not sessions and not files:
        raise SettingsError(["--name or --source: nothing is recorded of this student"])
    given = Given(sorted({f"{each.group}/{each.source}" for each in sessions}), unknown=found.unknown)
    with TemporaryDirectory(prefix=".give-", dir=out.parent) as folder:
        new = Path(folder, "new.zip")
        with open(new, "xb", opener=private) as opened:
            with ZipFile(opened, "w", ZIP_DEFLATED) as archive:
                for path in (*(file for each in sessions for file in sorted(each.path.iterdir())), *others):
                    if path.is_file() and not path.is_symlink():
                        archive.writestr(f"files/{path.relative_to(directory).as_posix()}", _whole_rows(path))
                        given.files += 1
                _write_readable(archive, [*sessions, *files], student, words, given)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(out)
    return given


def _write_readable(
    archive: ZipFile, recordings: list[Recording], student: Student, words: texts.Words, given: Given
) -> None:
    """Write what a person reads."""
    now = datetime.now(UTC)
    readme, page, folder = NAMES[words.language]
    alone = without_doubles(recordings)
    report = make(map(with_parts, alone))
    archive.writestr(page, "".join(html.page(report, words, pd.Timestamp(now))))
    given.faults += report.faults
    if folder:
        for name, path in _spreadsheets(alone):
            archive.write(path, f"{folder}/{name}")
    name = student.name or str(next((each.name for each in recordings), student.stream))
    made = words.time(pd.Timestamp(now), "%Y-%m-%d %H:%M")
    text = Path(__file__).with_name(f"give.{words.language}.txt").read_text(encoding="utf-8")
    lines = text.format(name=texts.printable(name), made=made, version=__version__).splitlines()
    archive.writestr(readme, "\ufeff" + "\r\n".join(lines) + "\r\n")  # what Windows shows rightly


def _spreadsheets(recordings: list[Recording]) -> Iterator[tuple[str, Path]]:
    """Yield the name and the place of each spreadsheet; they are there until the next one is asked for."""
    for recording in recordings:
        with TemporaryDirectory() as folder:
            exporter = Exporter(SPREADSHEETS, Path(folder))
            exporter.export(recording)  # the report names what cannot be read
            yield from ((path.name, path) for path in exporter.files)


def _whole_rows(path: Path) -> bytes:
    """Return a file; of one that is written to just now, the rows that are whole."""
    content = whole_file(path)
    return content[: content.rfind(b"\n") + 1] or content if path.suffix == ".csv" else content

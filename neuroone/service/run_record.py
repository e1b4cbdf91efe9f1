"""Keep a small file about the runs of a service: when each began, and why it ended. `neuroone doctor` reads it.

Inside of a container nobody can ask Docker how often a service was started and what it said last, unless they get the
Docker socket, which is root on the host. So each service writes this down itself, for other containers to read, in the
directory that the variable NEUROONE_STATUS_DIR names. A run that was killed has no end; the next run's note tells why.
"""

import contextlib
import itertools
import logging
import platform
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from neuroone.contract.topics import id_from_text
from neuroone.service import private_files
from neuroone.service.variables import ENV_PREFIX, STATUS_DIR, utf_8

RUNS_MAX: Final = 30
"""Runs that are kept: Docker waits up to a minute between two, so half an hour of a service that always dies."""
WORDS_MAX: Final = 500
"""Characters that are kept of the last words of a run."""
UNKNOWN_MAX: Final = 20
"""Wrong variables that are kept."""
RECORD_MAX_BYTES: Final = 256 * 1024
"""RUNS_MAX runs with words of six bytes a character, as JSON writes controls, and the names of wrong variables."""
RECORDS_MAX: Final = 64
"""Files that are kept, and read: the gateways of a large school, and what containers of earlier days left."""
PROC: Final = Path("/proc")

log = logging.getLogger(__name__)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``code`` is its exit code, None while it runs and if it was killed. Times are seconds since 1970."""

    began_s: float
    boot: str
    """The id of the system's start: a run of an earlier one ended with the machine."""
    memory_kills: int
    """How many programs Linux had killed since its start, for lack of memory, when the run began."""
    code: int | None = None
    words: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a service, the newest last, and the variables that nobody reads, each with the nearest setting."""

    service: str
    runs: tuple[Run, ...] = ()
    unknown: dict[str, str] = msgspec.field(default_factory=dict)


class RunRecord(logging.Handler):
    """The record of this service. Without a name or a directory it does nothing; a fault of the disk ends nothing."""

    def __init__(self, service: str, environ: Mapping[str, str]) -> None:
        super().__init__(logging.ERROR)
        self._service = service
        self._file: Path | None = None
        if service and (folder := environ.get(ENV_PREFIX + STATUS_DIR)):
            copy = id_from_text(environ.get(f"{ENV_PREFIX}INSTANCE") or platform.node() or "host")
            self._file = Path(folder, f"{service}-{copy}.json")
        self._words = ""
        self._record = Record(service=service)

    def begin(self, unknown: Mapping[str, str]) -> None:
        """Note that a run begins, and keep in mind the last error that it logs."""
        if self._file is None:
            return
        runs = _read(self._file).runs[-RUNS_MAX + 1 :]
        run = Run(began_s=time.time(), boot=boot_id(), memory_kills=memory_kills())
        self._record = Record(
            service=self._service, runs=(*runs, run), unknown=dict(itertools.islice(unknown.items(), UNKNOWN_MAX))
        )
        self._write()
        for old in _newest_first(self._file.parent)[RECORDS_MAX:]:
            with contextlib.suppress(OSError):  # another user's, who removes it
                old.unlink()
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last error; write it at once if the process is about to end itself."""
        self._words = record.getMessage()
        if record.levelno >= logging.CRITICAL:
            self.end(1)

    def end(self, code: int, words: str = "") -> int:
        """Note that the run ends; return its exit code."""
        if self._file is not None:
            if not self._record.runs:
                self.begin({})
            last = utf_8(words or self._words)[:WORDS_MAX] if code else ""
            run = msgspec.structs.replace(self._record.runs[-1], code=code, words=last)
            self._record = msgspec.structs.replace(self._record, runs=(*self._record.runs[:-1], run))
            self._write()
        return code

    def _write(self) -> None:
        if self._file is None:
            return
        new = self._file.with_name(f".{self._file.name}.new")
        try:
            new.unlink(missing_ok=True)
            with new.open("xb") as stream:
                stream.write(msgspec.json.encode(self._record))
            new.chmod(0o644)
            new.replace(self._file)
        except OSError as error:
            log.warning("the record of runs cannot be written in %s (%s)", self._file.parent, error.strerror)


def read_all(folder: Path) -> list[Record]:
    """Read the records in a directory; leave out what is none."""
    return [record for record in map(_read, _newest_first(folder)[:RECORDS_MAX]) if record.runs]


def _newest_first(folder: Path) -> list[Path]:
    found = []
    for file in folder.glob("[!.]*.json"):
        with contextlib.suppress(OSError):
            found.append((file.stat().st_mtime, file))
    return [file for _, file in sorted(found, reverse=True)]


def _read(file: Path) -> Record:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(private_files.read(file, RECORD_MAX_BYTES), type=Record)
    return Record(service="")


def boot_id(proc: Path = PROC) -> str:
    """Return the id of the system's start; an empty text where it has none."""
    with contextlib.suppress(OSError):
        return (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def memory_kills(proc: Path = PROC) -> int:
    """Return how many programs Linux has killed for lack of memory since its start; 0 where it does not say."""
    with contextlib.suppress(OSError):
        found = re.search(r"^oom_kill (\d+)", (proc / "vmstat").read_text(encoding="ascii"), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0

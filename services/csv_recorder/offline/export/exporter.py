"""Exports recordings for other programs: tables here, EDF+ and BIDS in their own modules. Changes no recording."""

import itertools
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pandas as pd

from csv_recorder.offline.export import edf as edf_files
from csv_recorder.offline.export.bids import Bids
from csv_recorder.offline.export.spreadsheets import SHEET_ROWS_MAX, guarded, write_workbook
from neuroone.contract.doubt import Doubt
from neuroone.contract.files import EVENTS, RAW, READINGS
from neuroone.contract.messages import MICROVOLTS_PER_COUNT
from neuroone.contract.spreadsheets import PORTUGUESE_COLUMNS, guarded_cell
from neuroone.contract.topics import id_from_text
from neuroone.data import dataframes, raw_runs
from neuroone.data.recordings import Recording, Unreadable

NO_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"
"""The value of a partition of rows without one, as Hive writes it; readers show it as null."""
PARTITION_MAX_CHARS: Final = 200
"""File systems allow 255 bytes in the name of a folder."""


class Exporter:
    """Exports recordings one by one into a directory. ``with_names``: a BIDS data set names its participants.

    ``partitioned``: Parquet files lie in folders by day and class.

    It keeps the ``files`` that it wrote, the number of sessions ``without_raw`` samples, the ``faults``, and which
    participants are ``left_over`` in a BIDS data set from an earlier export.
    """

    def __init__(self, to: str, out: Path, *, with_names: bool = False, partitioned: bool = False) -> None:
        self._to = to
        self._out = out
        self._bids = Bids(out, with_names=with_names)
        self._write = parquet_by_day if partitioned else WRITERS.get(to, self._bids.write)
        self._labels: set[str] = set()
        self.files: list[Path] = []
        self.without_raw = 0
        self.faults: list[str] = []
        self.left_over: list[str] = []

    def export(self, recording: Recording) -> None:
        """Export one recording; ``faults`` lists what cannot be read. Raises OSError for a failed write."""
        label = _free(recording.label, self._labels)
        self._labels.add(label.casefold())
        try:
            files = self._write(recording, self._out, label)
        except Unreadable as error:
            self.faults.append(str(error))
            return
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 (also a fault of ours is that session's alone)
            self.faults.append(f"{recording.path}: {error!r}")
            return
        self.files += files
        self.without_raw += not any(file.suffix == ".edf" for file in files)

    def finish(self) -> None:
        """Write the files about all recordings together."""
        if self._to not in WRITERS and self.files:
            self.files += self._bids.finish()
            self.left_over = self._bids.left_over()


def parquet_by_day(recording: Recording, out: Path, label: str) -> list[Path]:
    """Write Parquet into folders by day and class, as Hive partitions: ``readings/day=2026-11-22/class=7B/``."""
    return parquet(recording, out, f"{day_and_class(recording)}/{label}")


def day_and_class(recording: Recording) -> str:
    """Return the folders of a session: the day (UTC) on which it began, and its class."""
    day = re.match(r"\d{4}-\d\d-\d\d", str(recording.about.get("start")))
    class_ = str(recording.about.get("class") or recording.group)
    return f"{partition('day', day[0] if day else '')}/{partition('class', class_)}"


def partition(name: str, value: str) -> str:
    """Return the name of a folder with the rows that have this value."""
    quoted = quote(value, safe=" ")
    return f"{name}={(quoted if len(quoted) <= PARTITION_MAX_CHARS else id_from_text(value)) or NO_PARTITION}"


def tables(recording: Recording) -> dict[str, pd.DataFrame]:
    """Return the tables of a recording by their kinds. Raises Unreadable."""
    return {READINGS: _readings(recording), RAW: _samples(recording), EVENTS: _events(recording)}


def parquet(recording: Recording, out: Path, label: str) -> list[Path]:
    """Write one file per session into three folders, which read as three tables: readings, raw samples, events."""
    files = []
    for kind, frame in tables(recording).items():
        if len(frame):
            file = out / kind / f"{label}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            frame.to_parquet(file, engine="pyarrow", index=False)
            files.append(file)
    return files


def xlsx(recording: Recording, out: Path, label: str) -> list[Path]:
    """Write one workbook per session: readings, events, and the facts of the sidecar."""
    file = out / f"{label}.xlsx"
    about = [(key, str(value)) for key, value in _flat(recording).items()]
    sheets = {
        "Readings": _readings(recording),
        "Events": _events(recording),
        "Session": pd.DataFrame(about, columns=["what", "value"]),
    }
    write_workbook(file, sheets)
    return [file]


def csv_ptbr(recording: Recording, out: Path, label: str) -> list[Path]:
    """Write CSV that a Portuguese spreadsheet program opens by a double click: semicolon, decimal comma, BOM."""
    files = []
    readings = _readings(recording)
    readings["doubt"] = readings["doubt"].map({str(each): each.words("pt-BR").word for each in Doubt})
    for ending, frame in (("", readings), ("_eventos", _events(recording))):
        if frame.empty:
            continue
        for number, start in enumerate(range(0, len(frame), SHEET_ROWS_MAX - 1), 1):
            part = guarded(frame.iloc[start : start + SHEET_ROWS_MAX - 1], guarded_cell)
            file = out / f"{label}{ending}{f'_{number}' if number > 1 else ''}.csv"
            times = part["time"].dt.strftime("%d/%m/%Y %H:%M:%S.%f").str.slice(stop=-3).str.replace(".", ",")
            said = part["simulated"].map({True: "sim", False: "não"})
            part.assign(time=times, simulated=said).rename(columns=PORTUGUESE_COLUMNS).to_csv(
                file, sep=";", decimal=",", encoding="utf-8-sig", index=False, lineterminator="\r\n"
            )
            files.append(file)
    return files


def edf(recording: Recording, out: Path, label: str) -> list[Path]:
    """Write the raw samples as EDF+, and nothing for a session without any."""
    files = []
    for number, run in enumerate(raw_runs.runs(recording), 1):
        file = out / f"{label}_run-{number}.edf"
        edf_files.write(run, file)
        files.append(file)
    return files


WRITERS: Final[dict[str, Callable[[Recording, Path, str], list[Path]]]] = {
    "parquet": parquet,
    "xlsx": xlsx,
    "edf": edf,
    "csv-ptbr": csv_ptbr,
}


def _free(label: str, taken: Collection[str]) -> str:
    """Add a number to a label that a recording of another directory has."""
    candidates = itertools.chain([label], (f"{label}-{number}" for number in itertools.count(2)))
    return next(each for each in candidates if each.casefold() not in taken)


def _readings(recording: Recording) -> pd.DataFrame:
    readings = dataframes.with_doubts(dataframes.readings(recording)[0])
    return _of(recording, readings, dataframes.elapsed_s(readings))


def _events(recording: Recording) -> pd.DataFrame:
    if recording.is_legacy:
        return pd.DataFrame()
    events = dataframes.events(recording)
    return _of(recording, events, (events["time"] - events["time"].min()).dt.total_seconds())


def _samples(recording: Recording) -> pd.DataFrame:
    """Make a table with one row per sample: its number in the session, its counts, and its microvolts."""
    samples = dataframes.samples(recording)
    whose = {name: getattr(recording, name) for name in ("group", "source", "name")}
    microvolts = (samples["counts"] * MICROVOLTS_PER_COUNT).astype("float32")
    table = samples.assign(**whose, microvolts=microvolts, simulated=recording.is_simulated)
    return table[["time", *whose, "session", "sample", "counts", "microvolts", "simulated"]]


def _of(recording: Recording, frame: pd.DataFrame, seconds: "pd.Series[float]") -> pd.DataFrame:
    """Add the owner to a table, and the seconds since its first row."""
    whose: dict[str, object] = {"group": recording.group, "source": recording.source, "name": recording.name}
    whose |= {"simulated": recording.is_simulated}
    first = pd.DataFrame({"time": frame["time"], "seconds": seconds, **whose}, index=frame.index)
    return first.join(frame.drop(columns="time"))


def _flat(recording: Recording) -> dict[str, object]:
    """Make one list of the sidecar's facts."""
    about: dict[str, object] = {"recording": recording.label}
    for key, value in recording.about.items():
        if key not in ("columns", "files"):
            about |= (
                {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
            )
    return about

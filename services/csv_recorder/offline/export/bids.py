"""Writes recordings as a data set of the Brain Imaging Data Structure: BIDS-EEG 1.10, and `beh` for readings."""

import itertools
import json
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import pandas as pd

from csv_recorder.offline.export import edf as edf_files
from csv_recorder.offline.export.spreadsheets import is_text
from neuroone import __version__
from neuroone.contract.doubt import Doubt
from neuroone.contract.files import BIDS
from neuroone.data import dataframes, raw_runs
from neuroone.data.raw_runs import CHANNEL, POOR, SKIP, Run
from neuroone.data.recordings import Recording

BIDS_VERSION: Final = "1.10.0"
NOT_AVAILABLE: Final = "n/a"
SUBJECT_BYTES: Final = 5
"""Of 10,000 participants two have the same label with a chance of 1 in 20,000."""
_SECOND_DIGITS: Final = len("20261122182031")
_README: Final = Path(__file__).with_name("bids_readme.txt")
_EVENTS: Final = Path(__file__).with_name("bids_events.json")
_PARTICIPANTS: Final = {
    "participant_id": "Label of the participant, the same in every export of these recordings.",
    "group": "Id of the class.",
    "source": "Id of the student in it.",
    "name": "Name of the student.",
}


class Bids:
    """Writes recordings into one data set. Names of participants are written only on request.

    The label of a participant comes from the random id of the first session, that of a session from its start: in the
    next export of these recordings they are the same, whoever was added or forgotten meanwhile.
    """

    def __init__(self, out: Path, *, with_names: bool = False) -> None:
        self._out = out
        self._with_names = with_names
        self._subjects: dict[tuple[str, str, str], str] = {}
        self._sessions: set[tuple[str, str]] = set()

    def write(self, recording: Recording, out: Path, label: str) -> list[Path]:
        """Write the readings and raw samples of one session; the ``label`` is unused, because it may hold a name."""
        whose = (recording.group, recording.source, recording.name)
        subject = self._subjects.setdefault(whose, f"sub-{_unguessable(recording, *whose)}")
        digits = (re.sub("[^0-9]", "", str(each)) for each in (recording.about.get("start"), recording.label, 0))
        began = next(filter(None, digits))[:_SECOND_DIGITS]
        labels = itertools.chain([began], (f"{began}x{number}" for number in itertools.count(2)))
        session = next(each for each in labels if (subject, each) not in self._sessions)
        self._sessions.add((subject, session))
        folder = out / subject / f"ses-{session}"
        task = re.sub(r"[^A-Za-z0-9]", "", str(_bids(recording)["TaskName"])) or str(BIDS["TaskName"])
        stem = f"{subject}_ses-{session}_task-{task}"
        files = self._readings(recording, folder / "beh", stem, task)
        for index, run in enumerate(raw_runs.runs(recording), 1):
            files += self._raw(recording, run, folder / "eeg", f"{stem}_run-{index:02}", task)
        return files

    def left_over(self) -> list[str]:
        """Return the participants in the folder who are of an earlier export, and not of this one."""
        return sorted({each.name for each in self._out.glob("sub-*")} - {*self._subjects.values()})

    def finish(self) -> list[Path]:
        """Write the files about the whole data set."""
        columns = [*_PARTICIPANTS] if self._with_names else ["participant_id"]
        participants = [(subject, *whose) for whose, subject in self._subjects.items()]
        table = pd.DataFrame(participants, columns=[*_PARTICIPANTS])[columns]
        description = {
            "Name": "NeuroOne recordings",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "raw",
            "License": NOT_AVAILABLE,
            "GeneratedBy": [{"Name": "NeuroOne", "Version": __version__}],
        }
        return [
            _json(self._out / "dataset_description.json", description),
            _tsv(self._out / "participants.tsv", table),
            _json(self._out / "participants.json", {key: {"Description": _PARTICIPANTS[key]} for key in columns}),
            _text(self._out / "README", _README.read_text(encoding="utf-8").format(version=__version__)),
        ]

    def _readings(self, recording: Recording, folder: Path, stem: str, task: str) -> list[Path]:
        readings = dataframes.with_doubts(dataframes.readings(recording)[0])
        if readings.empty:
            return []
        table = readings.drop(columns=["time", "session"])
        table.insert(0, "time", dataframes.elapsed_s(readings))
        described = (recording.about.get("columns") or {}).get("readings.csv")
        columns: dict[str, Any] = {
            "TaskName": task,
            "time": {"Description": "Seconds since the first reading.", "Units": "s"},
        }
        for name in table.columns[1:]:
            known = described.get(name) if isinstance(described, dict) else None
            if isinstance(known, dict):
                columns[name] = {"Description": str(known.get("description", ""))}
                columns[name] |= {"Units": str(known["unit"])} if "unit" in known else {}
        columns["doubt"] = {
            "Description": "Why the values of this row do not mean what they look like; n/a: no reason is known.",
            "Levels": {str(each): each.words("en").sentence for each in Doubt},
        }
        return [
            _tsv(folder / f"{stem}_beh.tsv", table),
            _json(folder / f"{stem}_beh.json", columns),
        ]

    def _raw(self, recording: Recording, run: Run, folder: Path, stem: str, task: str) -> list[Path]:
        subject = stem.partition("_")[0]
        edf = folder / f"{stem}_eeg.edf"
        edf_files.write(run, edf, code=subject)
        about = {
            **_bids(recording),
            "TaskName": task,
            "SamplingFrequency": run.rate_hz,
            "RecordingDuration": run.duration_s,
            "RecordingType": "discontinuous" if run.has_holes else "continuous",
            "EEGChannelCount": 1,
            **dict.fromkeys((f"{kind}ChannelCount" for kind in ("EOG", "ECG", "EMG", "Misc", "Trigger")), 0),
            "SoftwareVersions": str(recording.about.get("software", NOT_AVAILABLE)),
        }
        channel = {
            "name": CHANNEL,
            "type": "EEG",
            "units": "uV",
            "sampling_frequency": run.rate_hz,
            "reference": str(about["EEGReference"]),
            "status": "good",
        }
        events = pd.DataFrame(
            [
                (each.onset_s, each.duration_s or 0.0, each.text if each.text in (SKIP, POOR) else "marker", each.text)
                for each in run.annotations
            ],
            columns=["onset", "duration", "trial_type", "value"],
        )
        return [
            edf,
            _json(folder / f"{stem}_eeg.json", about),
            _tsv(folder / f"{stem}_channels.tsv", pd.DataFrame([channel])),
            _tsv(folder / f"{stem}_events.tsv", events),
            _text(folder / f"{stem}_events.json", _EVENTS.read_text(encoding="utf-8")),
        ]


def _unguessable(recording: Recording, *whose: str) -> str:
    """Return a label for a participant from the session's id and the name, which nobody finds from the name alone."""
    told = json.dumps([recording.about.get("session"), *whose]).encode()
    return blake2b(told, digest_size=SUBJECT_BYTES).hexdigest()


def _bids(recording: Recording) -> dict[str, Any]:
    """Return what the sidecar says, and the usual value of what it says with null or another type."""
    told = recording.about.get("bids") or {}
    return {
        **BIDS,
        **{key: it for key, it in told.items() if isinstance(it, str) == isinstance(BIDS.get(key, it), str)},
    }


def _tsv(file: Path, table: pd.DataFrame) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    clean = table.apply(lambda column: column.map(_one_line) if is_text(column) else column)
    clean.to_csv(file, sep="\t", index=False, na_rep=NOT_AVAILABLE, encoding="utf-8", lineterminator="\n", quoting=3)
    return file


def _json(file: Path, content: Any) -> Path:
    return _text(file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _text(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8", newline="\n")
    return file


def _one_line(cell: object) -> object:
    return re.sub(r"[\t\r\n]+", " ", cell) if isinstance(cell, str) else cell

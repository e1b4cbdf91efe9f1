"""Read what csv-recorder wrote, as pandas tables: `sessions`, `read`, `read_all`, and `to_mne` for raw samples.

    from neuroone.data import read, read_all, sessions, to_mne

    table = sessions("recordings")                                 # a row for each session
    readings = read(table.iloc[0])                                 # one a second, with a doubt where one is known
    year = read_all("recordings", since="2026-02-01", class_="7B") # all of a class, in the order of their times
    (raw, *_) = to_mne(table.iloc[0])                              # needs the package mne

All of them read only, also while a recorder writes, and leave out rows that do not match their check. docs/data.md has
the columns with their units. They need the extra ``data``; the modules of this room without pandas do not.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

    from neuroone.data.recordings import Recording

    Session = str | Path | Recording | pd.Series[Any]

What = Literal["readings", "events", "raw"]


def sessions(*paths: str | Path) -> "pd.DataFrame":
    """Return a row for each recorded session in directories and files, in the order of their starts.

    Columns: group, source, name, class, session (ids and names), path, code, kind, simulated, status, start, end (UTC),
    readings, valid, missing, raw_blocks (counts of the recorder; NA while a session is open), fault (why session.json
    cannot be read; NA otherwise). Raises SettingsError for a path without recordings.
    """
    from neuroone.data import tables

    return tables.sessions(paths)


def read(session: "Session", what: What = "readings", *, valid_only: bool = False) -> "pd.DataFrame":
    """Return the readings, events or raw samples of one session: its directory, or a row of `sessions`.

    The index is the time in UTC. The first columns are group, source, name, class and session. Then come for readings
    seq, poor_signal (0 to 200, NA: unknown), valid (1, 0, NA), attention and meditation (0 to 100), the eight band
    powers (no unit) and doubt (docs/doubts.md; NA: none is known); for raw samples sample (its number), counts of the
    ADC and microvolts; for events event, first_seq, last_seq and text.

    ``valid_only`` leaves out readings with a doubt, and raw samples of seconds with a poor signal. Raises Unreadable.
    """
    from neuroone.data import tables

    return tables.read(tables.recording_of(session), what, valid_only=valid_only)


def read_all(
    paths: str | Path | Sequence[str | Path],
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    class_: str | None = None,
    what: What = "readings",
    *,
    valid_only: bool = False,
) -> "pd.DataFrame":
    """Return what `read` does of all sessions together, in the order of their times.

    Rows from ``since`` to before ``until`` (UTC unless they say otherwise), of one class: its name, code or group,
    compared without case and accents. Students with sessions are not read from their ``{Nome}.csv`` again. A session
    that cannot be read is left out with a warning.
    """
    from neuroone.data import tables

    several = [paths] if isinstance(paths, str | Path) else paths
    return tables.read_all(several, since, until, class_, what, valid_only=valid_only)


def to_mne(session: "Session") -> "list[Any]":
    """Return the raw samples of a session as `mne.io.RawArray`, one for each stretch without a long hole or clock step.

    One EEG channel, Fp1, in volts. Short holes are zeros annotated BAD_ACQ_SKIP, which MNE leaves out by itself; times
    of poor signal are annotated BAD_poor_signal, markers with their text. Empty without raw samples. Raises Unreadable.
    """
    from neuroone.data import mne_arrays, tables

    return mne_arrays.of(tables.recording_of(session))

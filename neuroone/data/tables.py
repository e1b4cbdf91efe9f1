"""Makes one table of many recordings, for `neuroone.data`. Texts that repeat are categories, as small as numbers."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from neuroone.contract.doubt import Doubt
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import ESENSE, EVENTS, RAW, READINGS, VALUES, search_key
from neuroone.contract.messages import MICROVOLTS_PER_COUNT
from neuroone.data import dataframes, readings
from neuroone.data.doubts import UNKNOWN, Integers
from neuroone.data.readings import Readings
from neuroone.data.recordings import Recording, Unreadable, find, without_doubles

WHOSE: Final = ("group", "source", "name", "class", "session")
"""The first columns of every table."""
COUNTS: Final = ("readings", "valid", "missing", "raw_blocks")
FACTS: Final = (*WHOSE, "code", "kind", "simulated", "status", "start", "end", "counts", "lessons")
"""The fields of a sidecar that are used here."""
OUTSIDE_MAX: Final = pd.Timedelta(days=1)
"""How far rows lie outside a session's start and end, which are those of its readings: events and raw samples come
after the last reading, and a clock is set back by some hours, as by those of a time zone."""
POOR_BEFORE: Final = pd.Timedelta(seconds=1)
"""A reading describes the second before it."""


def sessions(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Return a row for each session, as `neuroone.data.sessions` says."""
    found = without_doubles(find(map(Path, paths), FACTS))
    columns: dict[str, Any] = {each: _texts(_fact(recording, each) for recording in found) for each in WHOSE}
    columns["path"] = _texts(str(each.path) for each in found)
    for each in ("code", "kind", "status"):
        columns[each] = _texts(_fact(recording, each) for recording in found)
    columns["simulated"] = [each.is_simulated for each in found]
    for each in ("start", "end"):
        told = pd.Series([recording.about.get(each) for recording in found], dtype="str")
        columns[each] = pd.to_datetime(told, format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
    counts = [recording.about.get("counts") or {} for recording in found]
    for each in COUNTS:
        numbers = [count.get(each) for count in counts]
        columns[each] = pd.array([number if type(number) is int else None for number in numbers], dtype="Int64")
    columns["fault"] = _texts(each.fault for each in found)
    return pd.DataFrame(columns).sort_values("start", kind="stable", ignore_index=True)


def recording_of(session: "str | Path | Recording | pd.Series[Any]") -> Recording:
    """Return the recording of a path or of a row of `sessions`. Raises SettingsError if there is none, or several."""
    if isinstance(session, Recording):
        return session
    path = Path(session["path"] if isinstance(session, pd.Series) else session)
    found = find([path])
    if len(found) > 1:
        raise SettingsError([f"{path} holds {len(found)} sessions: take one of them, or read_all"])
    return found[0]


def read(recording: Recording, what: str, *, valid_only: bool = False) -> pd.DataFrame:
    """Return one table of a recording, as `neuroone.data.read` says."""
    if what == READINGS:
        return _readings([(recording, readings.read(recording))], valid_only=valid_only)
    if what == RAW:
        return _raw(recording, valid_only=valid_only)
    if what != EVENTS:
        raise ValueError(f"what: {READINGS}, {EVENTS} or {RAW}, not {what}")
    if valid_only:
        raise ValueError("valid_only: events are neither valid nor not")
    return _with_whose(recording, dataframes.events(recording))


def read_all(
    paths: Iterable[str | Path],
    since: datetime | str | None,
    until: datetime | str | None,
    class_: str | None,
    what: str,
    *,
    valid_only: bool,
) -> pd.DataFrame:
    """Return one table of many recordings, as `neuroone.data.read_all` says."""
    begin, end = (None if each is None else _utc(each) for each in (since, until))
    found = [
        each
        for each in without_doubles(find(map(Path, paths), FACTS))
        if _is_of_class(each, class_) and _may_lie(each, begin, end)
    ]
    if what == READINGS:
        frame = _readings([*_each_read(found, readings.read)], valid_only=valid_only)
    else:
        of_none = read(Recording(Path(), is_legacy=True), what, valid_only=valid_only)  # has the columns
        tables = [table for _, table in _each_read(found, lambda each: read(each, what, valid_only=valid_only))]
        frame = pd.concat(tables) if tables else of_none
        whose = {name: union_categoricals([each[name] for each in tables or [of_none]]) for name in WHOSE}
        frame = frame.assign(**whose)
    if begin is not None or end is not None:
        is_in = np.ones(len(frame), np.bool_)
        is_in &= True if begin is None else frame.index >= begin
        is_in &= True if end is None else frame.index < end
        frame = frame[is_in]
    return frame if frame.index.is_monotonic_increasing else frame.sort_index(kind="stable")


def _utc(time: datetime | str) -> pd.Timestamp:
    stamp = pd.Timestamp(time)
    if pd.isna(stamp):
        raise ValueError(f"since and until: {time!r} is no time")
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def _texts(texts: Iterable[str | None]) -> "pd.Series[str]":
    return pd.Series([*texts], dtype="str")


def _fact(recording: Recording, name: str) -> Any:
    """Return what is known of a recording; NA for what is not."""
    if name in ("group", "source", "name"):
        return getattr(recording, name)
    found = recording.about.get(name)
    return pd.NA if found is None else found


def _is_of_class(recording: Recording, class_: str | None) -> bool:
    if class_ is None:
        return True
    lessons = recording.about.get("lessons") or []
    of_lessons = (each.get("name") for each in lessons if isinstance(each, Mapping))
    told = (recording.group, recording.about.get("code"), recording.about.get("class"), *of_lessons)
    return search_key(class_) in {search_key(str(each)) for each in told if each}


def _may_lie(recording: Recording, begin: pd.Timestamp | None, end: pd.Timestamp | None) -> bool:
    """Return False if a closed session's start and end say that it has nothing between two times."""
    try:
        times = [_utc(recording.about[each]) for each in ("start", "end")]
    except (KeyError, TypeError, ValueError):
        return True
    is_before = begin is not None and max(times) + OUTSIDE_MAX < begin
    return not recording.is_closed or not (is_before or (end is not None and min(times) - OUTSIDE_MAX >= end))


def _each_read(found: Iterable[Recording], reader: Any) -> Iterable[tuple[Recording, Any]]:
    """Yield each recording with what a reader returns; warn of those that cannot be read."""
    for recording in found:
        try:
            yield recording, reader(recording)
        except (Unreadable, OSError) as error:
            warnings.warn(f"left out: {error}", stacklevel=4)


def _readings(found: Sequence[tuple[Recording, Readings]], *, valid_only: bool) -> pd.DataFrame:
    several = [each for _, each in found]
    times_us = _joined([each.times_us for each in several])
    frame = pd.DataFrame(index=pd.DatetimeIndex(times_us.view("datetime64[us]"), name="time").tz_localize("UTC"))
    of_recording = np.repeat(np.arange(len(found)), [len(each) for each in several])
    for name in WHOSE[:-1]:
        frame[name] = _category([_fact(recording, name) for recording, _ in found], of_recording)
    before = np.cumsum([0, *(len(each.sessions) for each in several)])
    runs = _joined([each.runs + before[at] for at, each in enumerate(several)])
    frame["session"] = _category([name for each in several for name in each.sessions], runs)
    frame["seq"] = _joined([each.seqs for each in several])
    for name in ("poor_signal", "valid"):
        values = _joined([getattr(each, name) for each in several])
        frame[name] = pd.arrays.IntegerArray(values.astype(np.int16), values == UNKNOWN)
    for at, name in enumerate(VALUES):
        columns = [each.esense[at] if at < len(ESENSE) else each.bands[:, at - len(ESENSE)] for each in several]
        frame[name] = _joined(columns).astype(np.int32)
    codes: Integers = _joined([each.doubts for each in several]).astype(np.int64)
    frame["doubt"] = pd.Categorical.from_codes(codes - 1, pd.Index([str(each) for each in Doubt]))
    return frame[codes == 0] if valid_only else frame


def _raw(recording: Recording, *, valid_only: bool) -> pd.DataFrame:
    samples = dataframes.samples(recording)
    samples["microvolts"] = (samples["counts"] * MICROVOLTS_PER_COUNT).astype("float32")
    frame = _with_whose(recording, samples)
    if not valid_only or frame.empty:
        return frame
    read_back = readings.read(recording)
    poor = pd.DatetimeIndex(read_back.times_us[read_back.valid == 0].view("datetime64[us]")).tz_localize("UTC")
    if poor.empty:
        return frame
    next_poor = poor.searchsorted(frame.index)
    is_poor = (next_poor < len(poor)) & (poor[np.minimum(next_poor, len(poor) - 1)] - frame.index <= POOR_BEFORE)
    return frame[~is_poor]


def _with_whose(recording: Recording, frame: pd.DataFrame) -> pd.DataFrame:
    """Put the times in the index and the facts that all tables have in front."""
    first: dict[str, Any] = {
        name: _category([_fact(recording, name)], np.zeros(len(frame), np.int64)) for name in WHOSE
    }
    if "session" in frame:
        first["session"] = frame["session"].astype("category")
    rest = frame.drop(columns=["time", *(name for name in WHOSE if name in frame)])
    index = pd.DatetimeIndex(frame["time"], name="time")
    return pd.concat([pd.DataFrame(first, index=frame.index), rest], axis=1).set_axis(index)


def _category(texts: Sequence[Any], places: Integers) -> pd.Categorical:
    """Return for each place its text, as a category."""
    codes, categories = pd.factorize(pd.Series(texts, dtype="str"))
    return pd.Categorical.from_codes(codes[places] if len(codes) else codes, pd.Index(categories))


def _joined(arrays: Sequence[Any]) -> Any:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)

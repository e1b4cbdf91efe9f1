"""Makes MNE's arrays of the raw samples of a session."""

from datetime import MAXYEAR
from typing import Any

import mne

from neuroone.contract.messages import MICROVOLTS_PER_COUNT
from neuroone.data import raw_runs
from neuroone.data.raw_runs import CHANNEL
from neuroone.data.recordings import Recording


def of(recording: Recording) -> list[Any]:
    """Return an array for each run of raw samples. Raises Unreadable."""
    made = []
    for run in raw_runs.runs(recording):
        info = mne.create_info([CHANNEL], run.rate_hz, "eeg")
        array = mne.io.RawArray(run.counts[None, :] * (MICROVOLTS_PER_COUNT * 1e-6), info, verbose="error")
        start = run.start if run.start.year < MAXYEAR else None  # MNE counts on to the end, which has no date then
        array.set_meas_date(start)
        at = [each.onset_s for each in run.annotations]
        lasting = [each.duration_s or 0.0 for each in run.annotations]
        array.set_annotations(mne.Annotations(at, lasting, [each.text for each in run.annotations], start))
        made.append(array)
    return made

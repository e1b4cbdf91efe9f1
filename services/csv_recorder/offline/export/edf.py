"""Writes runs of raw samples as EDF+, the format of EEG programs."""

from pathlib import Path
from typing import Final

from neuroone.contract.messages import MICROVOLTS_PER_COUNT
from neuroone.data.raw_runs import CHANNEL, RECORD_S, Run

YEARS: Final = (1985, 2084)
"""What EDF can say, with two digits; any other start is 1 January 1985, and "Startdate X" says that it is unknown."""
START_STEP_US: Final = 15_625
"""A start has whole 64ths of a second. Of any other fraction the times of some later records, as a float writes them,
are not a second apart, and EDFlib refuses the file."""
DIGITAL_RANGE: Final = (-32768, 32767)
PHYSICAL_RANGE: Final = (
    DIGITAL_RANGE[0] * MICROVOLTS_PER_COUNT,
    round(DIGITAL_RANGE[1] * MICROVOLTS_PER_COUNT, 2),  # EDF allows eight characters
)


def write(run: Run, file: Path, code: str = "X") -> None:
    """Write a run as EDF+. ``code`` identifies the student, in ASCII without blanks; an id may be made from a name.

    A clock that was never set may show any year: what EDF has no year for keeps its time of day only.
    """
    from edfio import Edf, EdfAnnotation, EdfSignal, Patient
    from edfio import Recording as EdfRecording

    microsecond = run.start.microsecond // START_STEP_US * START_STEP_US
    signal = EdfSignal.from_digital(
        run.counts,
        run.rate_hz,
        label=CHANNEL,
        physical_dimension="uV",
        physical_range=PHYSICAL_RANGE,
        digital_range=DIGITAL_RANGE,
        transducer_type="simulated" if run.is_simulated else "dry electrode",
        prefiltering="n/a",
    )
    edf = Edf(
        [signal],
        patient=Patient(code=code),
        recording=EdfRecording(
            startdate=run.start.date() if YEARS[0] <= run.start.year <= YEARS[1] else None,
            equipment_code="simulated" if run.is_simulated else "ThinkGear",
        ),
        starttime=run.start.time().replace(microsecond=microsecond),
        data_record_duration=RECORD_S,
        annotations=[EdfAnnotation(each.onset_s, each.duration_s, each.text) for each in run.annotations],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    edf.write(file)

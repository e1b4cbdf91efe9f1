"""Read an EDF file that ``csv-recorder export`` wrote: raw samples, and what people marked. No Qt."""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from monitor_gui.feed import EVENTS_MAX, StreamId
from monitor_gui.playing.recording import About, Unplayable
from neuroone.contract import topics
from neuroone.contract.messages import (
    MICROVOLTS_PER_COUNT,
    NOTE_MAX_CHARS,
    RAW_BLOCK_SAMPLES,
    EventType,
    GroupEvent,
    RawBlock,
)

VERSION: Final = b"0       "
"""The first eight bytes of every EDF file."""
FILE_MAX_BYTES: Final = 256 * 1024 * 1024
"""Two days of a headset: 88 MB a day and the annotations."""
ANNOTATIONS_MAX_BYTES: Final = 4 * 1024 * 1024
"""All annotations are read at once, each into an object of 200 bytes: a night of a headset has 2 MB."""
CHANNEL: Final = "Fp1"
SKIP: Final = "BAD_ACQ_SKIP"
"""What an export writes over samples that never came."""
SCALE_TOLERANCE: Final = 0.01


def read(path: Path) -> tuple[About, Iterator[RawBlock]]:
    """Return what is known of a file, and its raw blocks. Raises Unplayable."""
    try:
        from edfio import read_edf
    except ImportError:
        raise Unplayable("play.no_edfio") from None
    size_bytes = path.stat().st_size
    if size_bytes > FILE_MAX_BYTES:
        raise Unplayable("play.too_large", path, FILE_MAX_BYTES // 1024**2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            edf = read_edf(path, lazy_load_data=True)
            signal = next((each for each in edf.signals if each.label == CHANNEL), None)
            of_signals = 2 * edf.num_data_records * sum(each.samples_per_data_record for each in edf.signals)
            if signal is None or not _is_ours(signal):
                raise Unplayable("play.no_edf", path)
            if size_bytes - of_signals > ANNOTATIONS_MAX_BYTES:
                raise Unplayable("play.too_large", path, ANNOTATIONS_MAX_BYTES // 1024**2)
            began = edf.startdatetime.replace(tzinfo=UTC)
            annotations = [(each.onset, each.duration or 0.0, each.text) for each in edf.annotations]
            counts, rate_hz = signal.digital, round(signal.sampling_frequency)
        except Unplayable:
            raise
        except Exception as error:  # whatever the library says of bytes that are no EDF
            raise Unplayable("play.damaged", path, error) from error
    about = About(path, StreamId(topics.NO_GROUP, topics.id_from_text(path.stem or "-")), path.stem)
    about.events = [
        GroupEvent(
            id=str(n),
            time=began + timedelta(seconds=onset_s),
            type=EventType.MARKER,
            text=text[:NOTE_MAX_CHARS],
            source=None,
        )
        for n, (onset_s, _, text) in enumerate(annotations)
        if text != SKIP and 0 <= onset_s <= len(counts) / rate_hz
    ][-EVENTS_MAX:]
    holes = [(begin_s, begin_s + duration_s) for begin_s, duration_s, text in annotations if text == SKIP]
    torn = str(said[0].message) if said else None
    return about, _blocks(path, counts, rate_hz, began, holes, torn)


def _is_ours(signal: Any) -> bool:
    scale = (signal.physical_max - signal.physical_min) / (signal.digital_max - signal.digital_min)
    is_scaled = abs(scale / MICROVOLTS_PER_COUNT - 1) < SCALE_TOLERANCE
    return bool(is_scaled and 1 <= signal.sampling_frequency <= 65535 and signal.physical_dimension == "uV")


def _blocks(
    path: Path, counts: Any, rate_hz: int, began: datetime, holes: list[tuple[float, float]], torn: str | None
) -> Iterator[RawBlock]:
    """Yield the samples outside the holes, in which the export wrote zeros."""
    edges = [0, *(round(edge_s * rate_hz) for hole in sorted(holes) for edge_s in hole), len(counts)]
    seq = 0
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        for first in range(max(0, begin), min(end, len(counts)), RAW_BLOCK_SAMPLES):
            samples = counts[first : min(first + RAW_BLOCK_SAMPLES, end)].tolist()
            time = began + timedelta(seconds=(first + len(samples) - 1) / rate_hz)
            yield RawBlock(
                session="edf", seq=seq, time=time, first_sample=first, rate_hz=rate_hz, samples=tuple(samples)
            )
            seq += 1
    if torn is not None:
        raise Unplayable("play.damaged", path, torn)

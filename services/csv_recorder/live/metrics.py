"""The recorder's own metrics, which it shows to Prometheus beside those of every service."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric

from neuroone.service.metrics import (
    CLIENT_COUNTERS,
    CLIENT_GAUGES,
    Histogram,
    counter_by,
    counters,
    gauges,
    loop_lag_metric,
)

PREFIX: Final = "neuroone_recorder_"
COUNTERS: Final = {
    **CLIENT_COUNTERS,
    "rows": "Readings that were recorded; their rate is rows per second.",
    "raw_blocks": "Blocks of raw samples that were recorded.",
    "events": "Events of classes that were recorded.",
    "duplicates": "Messages left out because they were recorded before.",
    "gaps": "Readings that had not come when a later one of their session came.",
    "unnamed": "Readings without a name, which stand in the file of their session only.",
    "dead_letters": "Messages that break the contract; they are kept in a file of their own.",
    "dead_letters_dropped": "Messages that break the contract and had no room in that file.",
    "of_others": "Messages that were left to the recorders of other shards; only with --shard.",
    "sessions_opened": "Sessions that began, or went on after they were closed.",
    "sessions_closed": "Sessions that were closed.",
    "files_cut_back": "Files cut back to what was surely on the disk, after a crash or a fault of the disk.",
    "rows_owed": "Rows that could not be written to their file in time; the inbox keeps them for it.",
    "rows_taken_away": "Rows that waited for their files when the directory was taken away.",
    "restarts_from_stored": "Times that the recorder began again from what is stored, after a fault of the inbox.",
}
GAUGES: Final = {
    **CLIENT_GAUGES,
    "queue": "Messages that arrived and are not stored in the inbox yet.",
    "unwritten_rows": "Rows that are stored in the inbox and not written to their files yet.",
    "oldest_unsettled_row_age_seconds": "Age of the oldest row that is stored in the inbox and not synced in its file.",
    "sessions_open": "Sessions that are being recorded.",
    "faulty_files": "Files and sidecars that cannot be written now; they are tried again.",
    "disk_works": "1 if messages can be recorded, 0 if the disk refuses all of them.",
    "free_bytes": "Free space on the disk of the recordings; -1 if it is not known.",
}
INBOX: Final = "inbox"
"""The kind of a fault that holds up all, not one file."""
KINDS: Final = ("EIO", "ENOSPC", "EROFS", "EACCES", "EMFILE", INBOX)
"""Kinds of faults that are shown before they happen."""


def own_metrics(
    totals: Mapping[str, float], values: Mapping[str, float], disk_faults: Mapping[str, float], lag: Histogram
) -> Iterator[Metric]:
    """Yield the recorder's metrics. ``disk_faults`` has the faults of files by kind, and those of the inbox."""
    yield from counters(PREFIX, COUNTERS, totals)
    yield from gauges(PREFIX, GAUGES, values)
    yield counter_by(
        "kind",
        PREFIX + "disk_faults",
        "Faults of the disk: of a file by the system's name of the error, and of the inbox, which holds up all.",
        {**dict.fromkeys(KINDS, 0), **disk_faults},
    )
    yield loop_lag_metric(PREFIX, lag)

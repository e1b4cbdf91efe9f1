"""Sum up each class: its students, and the means of those whose numbers mean something, without names."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from neuroone.client.streams import STREAMS_MAX, LiveReading
from neuroone.contract.messages import StreamStatus
from neuroone.service.stream_states import status_after


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """What a class does now.

    ``students`` sent a reading in the last 10 s. ``counted`` of them have an attention that means something, from the
    last 3 s: ``attention`` is its mean, 1 to 100, and ``meditation`` that of meditation; None if nobody has any.
    """

    students: int
    counted: int
    attention: float | None
    meditation: float | None


class Classes:
    """The newest reading of each student. Times called ``now_s`` are those of a steady clock, in seconds."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], tuple[float, LiveReading]] = {}

    def add(self, reading: LiveReading, now_s: float) -> None:
        """Note a reading that has just come."""
        key = reading.group, reading.source
        self._newest.pop(key, None)
        self._newest[key] = now_s, reading
        if len(self._newest) > STREAMS_MAX:
            del self._newest[next(iter(self._newest))]  # the longest unheard

    def summaries(self, now_s: float) -> dict[str, ClassSummary]:
        """Return the summary of each group that has students, and forget who has left."""
        groups: defaultdict[str, list[LiveReading | None]] = defaultdict(list)
        for key, (heard_s, reading) in list(self._newest.items()):
            status = status_after(now_s - heard_s)
            if status is StreamStatus.OFFLINE:
                del self._newest[key]
            else:
                groups[key[0]].append(reading if status is StreamStatus.ONLINE else None)
        return {group: _summary(readings) for group, readings in groups.items()}


def _summary(readings: Iterable[LiveReading | None]) -> ClassSummary:
    newest = list(readings)
    attentions = [each.attention for each in newest if each and each.attention]
    meditations = [each.meditation for each in newest if each and each.meditation]
    return ClassSummary(len(newest), len(attentions), _mean(attentions), _mean(meditations))


def _mean(values: list[int]) -> float | None:
    return fmean(values) if values else None

"""What a stream shows at one moment: a reading, and its stream's status then."""

from dataclasses import dataclass
from typing import Final

from monitor_gui import texts
from monitor_gui.history import COLUMNS, Floats
from monitor_gui.view import Signal, signal_of
from neuroone.contract.doubt import DOUBTS, Doubt, Words
from neuroone.contract.messages import StreamStatus

SAID_BY_THE_CONTACT: Final = (Doubt.POOR_CONTACT, Doubt.NO_QUALITY)
"""Doubts that the contact indicator tells already."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A reading as a row of `COLUMNS`, None before the first one, and the status of its stream."""

    row: Floats | None
    status: StreamStatus | None

    @property
    def values(self) -> dict[str, float] | None:
        """Return the numbers by their names."""
        return None if self.row is None else dict(zip(COLUMNS, self.row, strict=True))

    @property
    def doubt(self) -> Doubt | None:
        """Return why the numbers are doubtful."""
        return None if self.row is None else DOUBTS[int(self.row[COLUMNS.index("doubt")])]

    @property
    def signal(self) -> Signal:
        """Return the contact of the headset."""
        return signal_of(None if self.row is None else self.row[COLUMNS.index("poor_signal")])


def words_of(moment: Moment) -> Words | None:
    """Return the words for a doubt; None if there is none, or if the contact indicator tells it already."""
    doubt, is_over = moment.doubt, moment.status is StreamStatus.OFFLINE
    return None if doubt is None or is_over or doubt in SAID_BY_THE_CONTACT else doubt.words(texts.language())

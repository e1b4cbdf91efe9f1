"""Says how many readings a report leaves out because they are doubtful, and why."""

from collections.abc import Iterator
from typing import Any

from csv_recorder.offline.report.session_figures import DOUBTFUL
from csv_recorder.offline.report.texts import Words
from neuroone.contract.doubt import Doubt


def sentences(row: Any, words: Words) -> Iterator[str]:
    """Yield what is left out of the figures in a row: whole readings, and the bands of others."""
    counts = {doubt: int(row[f"doubt_{doubt}"]) for doubt in Doubt}
    for key, is_whole in (("doubtful_readings", True), ("doubtful_bands", False)):
        found = {
            doubt: count
            for doubt, count in counts.items()
            if count and doubt.touches_bands and doubt.touches_esense is is_whole
        }
        if found:
            reasons = ", ".join(f"{doubt.words(words.language).word}: {count}" for doubt, count in found.items())
            yield words(key, sum(found.values()), int(row["rows"]), reasons)


def in_all(sessions: Any, words: Words) -> Iterator[str]:
    """Yield what is left out of all sessions of a report, a table of pandas, together."""
    yield from sentences(sessions[["rows", *DOUBTFUL]].sum(), words)

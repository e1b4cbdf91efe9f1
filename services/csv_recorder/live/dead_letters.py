"""Keep messages that break the contract, for whoever looks for the fault, and log how many of which kind there are."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from neuroone.contract.errors import ContractError
from neuroone.contract.files import DEAD_LETTERS_FILE
from neuroone.mqtt.delivery import Delivery

LINE_PERIOD_S: Final = 60.0
"""Time between two lines about invalid messages: their sender may send thousands. All are counted."""
KINDS_MAX: Final = 3
"""Faults that one line names, the most frequent first."""

log = logging.getLogger(__name__)


def letter_of(delivery: Delivery, error: ContractError) -> bytes:
    """Return the line that keeps a message that the contract refuses: topic, fault, payload in hexadecimal."""
    letter = {"topic": delivery.topic, "fault": str(error), "payload": delivery.payload.hex()}
    return (json.dumps(letter) + "\n").encode()


class LetterLog:
    """Log invalid messages: the first one at once, and those of each minute after it in one line."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._line_due_s = self._traceback_due_s = float("-inf")
        self._unsaid: Counter[str] = Counter()

    def add(self, faults: Iterable[ContractError]) -> None:
        """Count what was wrong with messages, and write the line if it is due.

        The contract has a few hundred faults, and none quotes a message: so many are counted at most.
        """
        self._unsaid.update(map(str, faults))
        self.write()

    def write(self, *, all: bool = False) -> None:
        """Write the line that is due, with ``all`` at once."""
        now_s = self._steady()
        if not self._unsaid or (now_s < self._line_due_s and not all):
            return
        self._line_due_s = now_s + LINE_PERIOD_S
        said = self._unsaid.most_common(KINDS_MAX)
        words = [f"{count} x {fault}" for fault, count in said]
        if others := self._unsaid.total() - sum(count for _, count in said):
            words.append(f"{others} with other faults")
        log.warning("invalid messages (kept in %s): %s", DEAD_LETTERS_FILE, "; ".join(words))
        self._unsaid.clear()

    def traceback_is_due(self) -> bool:
        """Return True once a minute: a fault of ours may meet every message of a sender."""
        now_s = self._steady()
        is_due = now_s >= self._traceback_due_s
        if is_due:
            self._traceback_due_s = now_s + LINE_PERIOD_S
        return is_due

"""Keep messages that break the contract, for whoever looks for the fault, and log a few of them."""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Final

from neuroone.contract.errors import ContractError
from neuroone.mqtt.delivery import Delivery

LOGGED_MAX: Final = 5
LOGGED_S: Final = 60.0
"""Lines about invalid messages in so much time: their sender may send thousands. All are counted."""

log = logging.getLogger(__name__)


def letter_of(delivery: Delivery, error: ContractError) -> bytes:
    """Return the line that keeps a message that the contract refuses: topic, fault, payload in hexadecimal."""
    letter = {"topic": delivery.topic, "fault": str(error), "payload": delivery.payload.hex()}
    return (json.dumps(letter) + "\n").encode()


class LetterLog:
    """Log invalid messages, a few a minute."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._logged: list[float] = []

    def write(self, faults: Sequence[ContractError], count: int) -> None:
        """Log what was wrong with messages, of which there were ``count`` since the start."""
        now_s = self._steady()
        for fault in faults:
            self._logged = [each for each in self._logged if now_s - each < LOGGED_S]
            if len(self._logged) >= LOGGED_MAX:
                return
            self._logged.append(now_s)
            log.warning("message %d is invalid: %s", count, fault)

"""Keeps messages that the contract refuses, so that a person can find their sender."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from neuroone.contract.errors import ContractError
from neuroone.mqtt.delivery import Delivery

DEAD_LETTERS_MAX_BYTES: Final = 10 * 2**20
"""Size of the file; messages beyond it are only counted."""


def letter_of(delivery: Delivery, error: ContractError) -> bytes:
    """Return the line that keeps a message: its topic, its fault and its payload in hexadecimal."""
    letter = {"topic": delivery.topic, "fault": str(error), "payload": delivery.payload.hex()}
    return (json.dumps(letter) + "\n").encode()


def keep(path: Path, letters: Sequence[bytes]) -> int:
    """Append letters to the file; return how many were dropped.

    Redelivery cannot fix an invalid message, so the recorder acknowledges it and keeps it here for inspection. A full
    disk drops it, because readings must not wait for it.
    """
    dropped = 0
    try:
        size = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            for letter in letters:
                if size + len(letter) > DEAD_LETTERS_MAX_BYTES:
                    dropped += 1
                else:
                    size += file.write(letter)
    except OSError:
        return len(letters)
    return dropped

"""What answered on which port, remembered across runs: a small file that may be lost, damaged or unwritable."""

import hashlib
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec
import platformdirs
from serial.tools.list_ports_common import ListPortInfo

from serial_bridge.ports import detect

PORTS_MAX: Final = 256
"""Ports in the file: more than any computer ever had. The ones that answered longest ago are forgotten."""
FILE_MAX_BYTES: Final = 65536
"""Twice what PORTS_MAX ports take: a larger file is not ours."""
REST_S: Final = 600.0
"""A port on which another device answered is left alone for so long: the longest wait between two tries in one run."""

log = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """What answered on a port last. ``node`` is the number of its device file: a new one after each plugging in."""

    kind: Literal["headset", "doubted", "other"]
    time_s: float
    baud: int = 0
    node: int = 0


class PortMemory:
    """Remember the speeds of headsets, and the ports on which other devices answered.

    The keys of the file are hashes: the name of a Bluetooth port may be that of a person. ``clock`` is the time of day,
    in s; an answer of the future counts for nothing, so a wrong clock cannot keep a headset waiting.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._answers: dict[str, Answer] | None = None

    def baud(self, port: ListPortInfo) -> int | None:
        """Return the speed at which a headset answered on this port; None if none did."""
        answer = self._answer(port)
        return None if answer is None or answer.kind == "other" else answer.baud

    def rest_s(self, port: ListPortInfo) -> float:
        """Return for how long the port is left alone: another device answered on it, and was not unplugged since."""
        answer = self._answer(port)
        if answer is None or answer.kind != "other" or answer.node != _node(port):
            return 0.0
        age_s = self._clock() - answer.time_s
        return REST_S - age_s if 0 <= age_s <= REST_S else 0.0

    def on_headset(self, port: ListPortInfo, baud: int) -> None:
        """Remember that a headset answered at this speed."""
        self._write(port, Answer("headset", self._clock(), baud))

    def on_other(self, port: ListPortInfo) -> None:
        """Remember that something else answered; where a headset did before, only the second time in a row."""
        before = self._answer(port)
        if before is not None and before.kind == "headset":
            self._write(port, Answer("doubted", self._clock(), before.baud))
        else:
            self._write(port, Answer("other", self._clock(), node=_node(port)))

    def _answer(self, port: ListPortInfo) -> Answer | None:
        if self._answers is None:
            self._answers = self._read()
        return self._answers.get(_key(port))

    def _read(self) -> dict[str, Answer]:
        with suppress(OSError, msgspec.MsgspecError):
            with self._path.open("rb") as file:
                content = file.read(FILE_MAX_BYTES + 1)
            if len(content) <= FILE_MAX_BYTES:
                return msgspec.json.decode(content, type=dict[str, Answer])
        return {}

    def _write(self, port: ListPortInfo, answer: Answer) -> None:
        """Replace the file in one step, with what other programs wrote meanwhile."""
        answers = self._read() or self._answers or {}
        answers[_key(port)] = answer
        newest = sorted(answers.items(), key=lambda item: item[1].time_s)[-PORTS_MAX:]
        self._answers = dict(newest)
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            if not self._path.is_absolute():  # of a user without a home
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(msgspec.json.encode(self._answers))
            new.replace(self._path)
        except OSError as error:
            log.debug("what answered on which port is not remembered: %s", error)


def default_path() -> Path:
    """Return the file in the user's state directory, where this system keeps such things."""
    return platformdirs.user_state_path("neuroone", appauthor=False) / "serial_ports.json"


def _key(port: ListPortInfo) -> str:
    text = f"{detect.source_id(port)} {port.vid} {port.pid} {port.serial_number}"
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def _node(port: ListPortInfo) -> int:
    with suppress(OSError, ValueError):
        return Path(port.device).stat().st_ino if os.name == "posix" else 0
    return 0

"""The golden list of doubtful readings, and the same rule in Python, in JavaScript and for arrays."""

import base64
import json
import random
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from neuroone.contract.doubt import DOUBTS, Doubts
from neuroone.contract.files import VALUES
from neuroone.contract.json import encode
from neuroone.contract.messages import Reading
from neuroone.data import doubts as arrays
from tests.support.messages import reading

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "doubt.json"
MODULE: Final = Path(__file__).parents[2] / "services" / "ws_gateway" / "page" / "doubt.js"
SCRIPT: Final = Path(__file__).with_suffix(".mjs")
NOON: Final = datetime(2026, 11, 22, 15, 0, 0, 0, UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """Readings of one stream, and their doubts: as each came, and when the last one is known."""

    name: str
    readings: Sequence[Reading]
    as_it_came: Sequence[str | None]
    in_the_end: Sequence[str | None]


def windows() -> list[Window]:
    """Return the golden list."""
    listed = json.loads(GOLDEN.read_text(encoding="utf-8"))["windows"]
    return [
        Window(
            each["name"],
            [made(*row[:-2]) for row in each["rows"]],
            [row[-2] for row in each["rows"]],
            [row[-1] for row in each["rows"]],
        )
        for each in listed
    ]


def made(ms: int, poor_signal: int | None, *values: int) -> Reading:
    """Make a reading of some milliseconds after noon."""
    time = NOON + timedelta(milliseconds=ms)
    return reading(time=time, poor_signal=poor_signal, **dict(zip(VALUES, values, strict=True)))


def stream(chance: random.Random) -> list[Reading]:
    """Make readings that hold, repeat, clip, lose their bands or their contact at random."""
    readings: list[Reading] = []
    poor = chance.choice([None, 0])
    ms = 0
    values = (50, 50, *[1000] * 8)
    for _ in range(chance.randrange(1, 12)):
        kind = chance.choice(["honest", "frozen", "zeros", "no bands", "clipped", "nearly", "poor", "few"])
        for _ in range(chance.choice([1, 2, 3, 4, 5, 6, 12])):
            esense = (chance.randrange(101), chance.choice([0, chance.randrange(101)]))
            bands = {
                "zeros": [0] * 8,
                "no bands": [0] * 8,
                "clipped": [chance.choice([0, 99]) for _ in range(8)],
                "nearly": [chance.choice([99, 99, chance.randrange(102)]) for _ in range(8)],
                "few": [chance.randrange(3) for _ in range(8)],
            }.get(kind) or [chance.randrange(1, 2**24) for _ in range(8)]
            if kind != "frozen":
                values = (0, 0, *bands) if kind == "zeros" else (*esense, *bands)
            readings.append(made(ms, chance.randrange(1, 256) if kind == "poor" else poor, *values))
            ms += chance.choice([1000, 1000, 1000, 1000, 200, 2500, 9999, -5000 if kind == "few" else 1000])
    return readings


def in_python(readings: Iterable[Reading]) -> list[tuple[str | None, int]]:
    """Return the doubt of each reading as it comes, and how many are the same up to it."""
    of_stream = Doubts()
    return [(of_stream.add(each), of_stream.same) for each in readings]


def in_arrays(readings: Sequence[Reading], *, with_times: bool = True) -> list[str | None]:
    """Return the doubt of each reading when all are known."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    times_us = [(each.time - epoch) // timedelta(microseconds=1) for each in readings]
    valid = [arrays.UNKNOWN if each.poor_signal is None else int(each.poor_signal == 0) for each in readings]
    numbers = np.array([[getattr(each, name) for name in VALUES] for each in readings], np.int64)
    found = arrays.codes(
        np.array(times_us if with_times else [arrays.NO_TIME] * len(times_us), np.int64),
        np.array(valid, np.int64),
        numbers[:, :2].T,
        numbers[:, 2:],
    )
    return [DOUBTS[code] for code in found]


def in_javascript(streams: Iterable[Iterable[Reading]]) -> dict[str, Any]:
    """Return what the page's module says: the doubts of each stream, its words, and what each doubt touches."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed on this machine")
    module = "data:text/javascript;base64," + base64.b64encode(MODULE.read_bytes()).decode()
    told = json.dumps([[json.loads(encode(each)) for each in readings] for readings in streams])
    words = [node, str(SCRIPT), module]
    ran = subprocess.run(words, input=told, capture_output=True, text=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer

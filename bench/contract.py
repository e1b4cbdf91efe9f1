"""How long the contract takes to decode, encode and make messages, beside an earlier revision of it.

    python -m bench.contract [--before REV] [--rounds N]

The earlier contract is read from git and loaded beside this one. Both take turns in rounds, so that whatever else the
machine does slows both; the table gives the fastest round of each, in microseconds of CPU. The payloads of both must
be the same bytes.
"""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from neuroone.contract import json as now_json
from neuroone.contract import messages as now_messages

ROOT = Path(__file__).parents[1]
BEFORE = "65b723b"
"""The last revision whose messages were checked by code of our own and encoded by orjson."""
ROUNDS = 150
ROUND_S = 0.005
"""Short, so that some rounds are not interrupted on a busy machine."""
BARS = {"decode a reading": 5.0, "encode a reading": 5.0}
"""How many times as fast as before each has to be."""


def earlier_contract(revision: str, directory: Path) -> tuple[ModuleType, ModuleType]:
    """Return the codec and the messages of an earlier revision."""
    package = directory / "earlier_contract"
    package.mkdir()
    git = ["git", "-C", str(ROOT)]
    listing = [*git, "ls-tree", "--name-only", revision, "neuroone/contract/"]
    for path in subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split():
        show = [*git, "show", f"{revision}:{path}"]
        text = subprocess.run(show, check=True, capture_output=True, text=True).stdout
        (package / Path(path).name).write_text(text.replace("neuroone.contract", package.name), encoding="utf-8")
    sys.path.insert(0, str(directory))
    codec = "json" if (package / "json.py").exists() else "codec"
    return importlib.import_module(f"{package.name}.{codec}"), importlib.import_module(f"{package.name}.messages")


def tasks(codec: Any, messages: Any) -> tuple[dict[str, Callable[[], Any]], dict[str, bytes]]:
    """Return what is measured, and the payloads that both revisions must agree about."""
    noon = datetime(2026, 11, 22, 18, 20, 31, 123456, UTC)
    stream = {"session": "0f3c9a5e7b1d4c2a8e6f0a1b2c3d4e5f", "seq": 60}
    values = {
        **stream,
        "time": noon,
        "kind": messages.Kind.CLIENT,
        "name": "Joao_Silva",
        "code": "ABC123",
        "poor_signal": None,
        "attention": 85,
        "meditation": 72,
        **{band: 123456 + number for number, band in enumerate(messages.BANDS)},
    }
    reading = messages.Reading(**values)
    one = {**stream, "group": "ABC123", "rows": 61, "duplicates": 1, "gaps": 0}
    of = messages.Recorded
    receipt = of(time=noon, streams=tuple(messages.RecordedStream(source=f"s{n}", **one) for n in range(125)))
    payloads = {"reading": codec.encode(reading), "receipt": codec.encode(receipt)}
    return {
        "decode a reading": partial(codec.decode, messages.Reading, payloads["reading"]),
        "encode a reading": partial(codec.encode, reading),
        "make a reading": partial(messages.Reading, **values),
        "decode a receipt of 125 streams": partial(codec.decode, of, payloads["receipt"]),
        "encode a receipt of 125 streams": partial(codec.encode, receipt),
    }, payloads


def best_us(before: Callable[[], Any], after: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Return the fastest round of each, in microseconds of CPU a call."""
    calls = dict.fromkeys((before, after), 1)
    for task in calls:  # as many calls as fill a round
        while (spent := _cpu_s(task, calls[task])) < ROUND_S:
            calls[task] *= 2 if spent < ROUND_S / 4 else 1 + int(ROUND_S / spent)
    figures = [[_cpu_s(task, count) / count * 1e6 for task, count in calls.items()] for _ in range(rounds)]
    return min(row[0] for row in figures), min(row[1] for row in figures)


def _cpu_s(task: Callable[[], Any], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        task()
    return time.process_time() - start


def compare(before: Mapping[str, Callable[[], Any]], after: Mapping[str, Callable[[], Any]], rounds: int) -> bool:
    """Print the table; True if every bar is met."""
    print(f"{'':36}{'before':>10}{'after':>10}{'times':>8}")
    passed = True
    for name, task in after.items():
        was, is_now = best_us(before[name], task, rounds)
        bar = BARS.get(name)
        passed &= bar is None or was / is_now >= bar
        print(f"{name:36}{was:8.2f}us{is_now:8.2f}us{was / is_now:8.1f}" + (f"  (bar {bar:g})" if bar else ""))
    return passed


def main() -> int:
    """Measure both and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--before", default=BEFORE, metavar="REV", help="revision to compare with (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="rounds of each (default: %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        before, before_payloads = tasks(*earlier_contract(given.before, Path(directory)))
        after, payloads = tasks(now_json, now_messages)
        if payloads != before_payloads:
            print("the payloads differ")
            return 1
        return 0 if compare(before, after, given.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Collects the figures of very many sessions, or pieces of them: from the cache, or else from their files.

Files are read by processes beside this one if there are many: the work is Python's, and threads would wait for each
other. A process holds one session's readings at a time.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Final

from csv_recorder.offline.report import session_figures
from csv_recorder.offline.report.attendance import Piece
from csv_recorder.offline.report.cache import FigureCache, Stored
from neuroone.data import readings
from neuroone.data.readings import Readings
from neuroone.data.recordings import Unreadable

PROCESSES: Final = 2
"""More would need more memory than a report may take: each has about 45 MB."""
ALONE_MAX: Final = 500
"""Sessions read without other processes, which take a second to start."""
TOGETHER: Final = 32
"""Sessions that are handed to a process at a time: about 40 ms of work."""
AHEAD: Final = 4 * PROCESSES
"""How many times `TOGETHER` sessions are handed out before their figures are used."""

Answer = Stored | str
"""The figures of a piece, or a sentence about why it cannot be read."""


@dataclass(slots=True)
class _Handed:
    """Some pieces in their order, what the cache had of them, and the answers for the others."""

    pieces: Sequence[Piece]
    known: Sequence[Stored | None]
    others: "Future[list[Answer]]"


def collect(
    pieces: Iterable[Piece], cache: FigureCache | None, is_stopped: Callable[[], bool]
) -> Iterator[tuple[Piece, Answer]]:
    """Yield each piece with its figures or its fault, in the same order."""
    left = iter(pieces)
    handed: deque[_Handed] = deque()
    count = 0
    with ExitStack() as stack:
        pool: ProcessPoolExecutor | None = None
        while (some := list(islice(left, TOGETHER))) and not is_stopped():
            known = [None if cache is None else cache.get(each) for each in some]
            others = [each for each, found in zip(some, known, strict=True) if found is None]
            if count <= ALONE_MAX < count + len(others):
                pool = _started(stack)
            count += len(others)
            handed.append(_Handed(some, known, _compute(others, pool)))
            if len(handed) > AHEAD:
                yield from _answers(handed.popleft(), cache)
        while handed and not is_stopped():
            yield from _answers(handed.popleft(), cache)


def figures_of(found: Readings) -> Stored:
    """Compute the figures and the curve of some readings."""
    return session_figures.compute(found), session_figures.curve(found)


def _started(stack: ExitStack) -> ProcessPoolExecutor | None:
    """Start the other processes; None where the system does not have what they need."""
    context = get_context("spawn")  # a fork copies threads and locks
    try:
        pool = ProcessPoolExecutor(min(PROCESSES, os.cpu_count() or 1), context, _ignore_interrupt)
    except (ImportError, NotImplementedError, OSError):
        return None
    stack.callback(pool.shutdown, wait=True, cancel_futures=True)
    return pool


def _compute(pieces: list[Piece], pool: ProcessPoolExecutor | None) -> "Future[list[Answer]]":
    if pool is not None and pieces:
        try:
            return pool.submit(read_all, pieces)
        except BrokenProcessPool:
            pass
    done: Future[list[Answer]] = Future()
    done.set_result(read_all(pieces))
    return done


def _answers(handed: _Handed, cache: FigureCache | None) -> Iterator[tuple[Piece, Answer]]:
    try:
        others = iter(handed.others.result())
    except BrokenProcessPool:  # somebody ended the process, or there was no memory for it
        missing = [each for each, found in zip(handed.pieces, handed.known, strict=True) if found is None]
        others = iter(read_all(missing))
    for piece, found in zip(handed.pieces, handed.known, strict=True):
        answer = next(others) if found is None else found
        if cache is not None and found is None and not isinstance(answer, str):
            cache.put(piece, answer)
        yield piece, answer


def read_all(pieces: Iterable[Piece]) -> list[Answer]:
    """Read some pieces, one after the other."""
    return [_read(each) for each in pieces]


def _read(piece: Piece) -> Answer:
    try:
        return figures_of(piece.cut(readings.read(piece.recording)))
    except Unreadable as error:
        return str(error)
    except OSError as error:
        return f"{piece.recording.path}: {error.strerror}"
    except Exception as error:  # noqa: BLE001 (also a fault of ours is that session's alone)
        return f"{piece.recording.path}: {error!r}"


def _ignore_interrupt() -> None:
    """Let the main process decide: Ctrl-C reaches all processes of a terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

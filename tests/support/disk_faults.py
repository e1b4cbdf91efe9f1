"""Faults of the disk under a running recorder: what may fail, and what must be true meanwhile and afterwards."""

import errno
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neuroone.contract.messages import ServiceStatus
from tests.support import crash_image
from tests.support.crash_round import Taken, World
from tests.support.disk_shim import Rule
from tests.support.live_lesson import Findings, Load, Row, Student, check, rows_of_receipts

LOOK_S = 0.1
SETTLE_S = 1.0
"""The recorder syncs its files so often here, so that a fault of a sync comes soon."""
WITHIN_S = 60.0
"""A file that failed is tried again after 30 s at most."""
TURNS_PER_S = 5.0
STEADY = 5
INBOX, DATABASE, WAL, READINGS, STUDENT, SIDECAR, FOLDER, EVERYTHING = (
    "the inbox", "the inbox's database", "the inbox's WAL", "one readings.csv", "one {Nome}.csv", "one sidecar",
    "one folder", "everything",
)  # fmt: skip
PATTERNS = {
    INBOX: ".inbox.sqlite*",
    DATABASE: ".inbox.sqlite",
    WAL: ".inbox.sqlite-wal",
    READINGS: "sessions/*_{victim}*/readings*.csv",
    STUDENT: "{victim}*.csv",
    SIDECAR: "sessions/*_{victim}*/*session.json*",
    FOLDER: "sessions/*_{victim}*",
    EVERYTHING: "*",
}
ALONE = (READINGS, STUDENT, SIDECAR, FOLDER)
"""A fault of these holds up nobody but its student."""
_ROFS = ("create", "write", "truncate", "mkdir", "rename", "unlink")


@dataclass(frozen=True, slots=True)
class Fault:
    """What fails, and where. ``calls`` and ``mode`` are those of a rule; ``times`` as well."""

    name: str
    target: str
    calls: tuple[str, ...]
    error: int
    mode: str = "-"
    times: int = -1

    def begin(self, world: World, victim: str) -> None:
        """Let it fail; ``victim`` is what the names of the students begin with whose files may."""
        pattern = PATTERNS[self.target].format(victim=victim)
        world.shim.fail(*(Rule(call, pattern, self.error, self.times, self.mode) for call in self.calls))

    def end(self, world: World) -> None:
        """Let it work again."""
        world.shim.heal()

    @property
    def must_be_seen(self) -> bool:
        """Return True if the recorder cannot but meet it: it opens, writes and syncs these all the time."""
        if self.times > 0 or self.target == DATABASE:
            return False
        is_opened = self.target in (*ALONE, EVERYTHING)
        return (
            "write" in self.calls
            or ("sync" in self.calls and self.target != SIDECAR)
            or ("open" in self.calls and is_opened)
        )

    @property
    def is_alone(self) -> bool:
        """Return True if only the victim may suffer."""
        return self.target in ALONE

    def __str__(self) -> str:
        return f"{self.name} on {self.target}"


def _faults() -> Iterator[Fault]:
    for target in PATTERNS:
        yield Fault("fsync EIO, once, dirty pages dropped", target, ("sync",), errno.EIO, "drop", 1)
        yield Fault("fsync EIO, dirty pages dropped", target, ("sync",), errno.EIO, "drop")
        yield Fault("fsync EIO, dirty pages held for clean", target, ("sync",), errno.EIO)
        for times in (1, 2, 3):
            name = f"fsync EIO, dirty pages held for clean, {times} times"
            yield Fault(name, target, ("sync",), errno.EIO, times=times)
        yield Fault("EIO on read", target, ("read",), errno.EIO)
        yield Fault("EIO on write", target, ("write",), errno.EIO)
        yield Fault("ENOSPC", target, ("write", "mkdir", "create"), errno.ENOSPC)
        yield Fault("ENOSPC after a part of a row", target, ("write",), errno.ENOSPC, "room=777")
        yield Fault("EROFS", target, _ROFS, errno.EROFS)
        yield Fault("EMFILE", target, ("open",), errno.EMFILE)
        yield Fault("EACCES", target, ("open", "rename", "mkdir"), errno.EACCES)
        if target in ALONE:
            yield Fault("ENAMETOOLONG", target, ("open", "mkdir"), errno.ENAMETOOLONG)


FAULTS = tuple(_faults())


class Trial:
    """One fault under load, healed in the end. ``found`` is what was wrong, ``images`` are power cuts in between."""

    def __init__(self, world: World, number: int, fault: Fault, rng: random.Random) -> None:
        self._world = world
        self._fault = fault
        self._rng = rng
        self._victim = f"Vitima{number}"
        self.found = Findings()
        self.images: list[Taken] = []

    def run(self, *, with_images: bool, with_restart: bool) -> None:
        """Let it fail, look at those beside, heal, and wait until everything is recorded."""
        world, fault = self._world, self._fault
        student = world.lesson.join(f"{self._victim}a")
        self._wait(lambda: self._missing(world.lesson.sent(lambda each: each is student)) == 0, "the first rows")
        self._states = len(world.states())
        fault.begin(world, self._victim)
        world.lesson.join(f"{self._victim}b")
        if fault.target == SIDECAR:
            world.lesson.leave(student, comes_back_anew=True)
        self._wait(lambda: self._fault_text() or not fault.must_be_seen, "state that names the fault")
        if fault.is_alone:
            self._wait_turns(3)
            self.wait_for_rows(self._is_beside, "rows of the students beside")
        else:
            self._wait_turns(8)  # it is tried again after a second
        if fault.is_alone and with_restart:
            world.recorder.kill()
            world.start_recorder()
            self.wait_for_rows(self._is_beside, "rows of the students beside, after a start")
        if with_images:
            self._take_image()
        fault.end(world)
        for _ in range(2 * with_images):
            self._wait_turns(self._rng.randrange(1, 7))
            self._take_image()
        self.wait_for_rows(lambda each: True, "rows of all students")
        self._wait(self._is_over, "end of the fault in the state")
        self._check_names()

    def _is_beside(self, student: Student) -> bool:
        return not student.name.startswith(self._victim)

    def _wait_turns(self, turns: int) -> None:
        world = self._world
        end = world.lesson.turns + turns
        self._wait(lambda: world.lesson.turns >= end, "turns")

    def wait_for_rows(self, of: Callable[[Student], bool], what: str) -> None:
        """Wait until every row that these students have sent is in their files."""
        wanted = self._world.lesson.sent(of)
        self._wait(lambda: wanted <= rows_of_receipts(self._world.tap.published), f"receipts for {what}")
        self._wait(lambda: self._missing(wanted) == 0, what)

    def _missing(self, wanted: set[Row]) -> int:
        found = check(self._world.directory, self._world.lesson, wanted)
        numbers = {row.student for row in wanted}
        return found.counts["missing"] + sum(row.student in numbers for row in found.missing_of_students)

    def _fault_text(self) -> str | None:
        return next((state.fault for state in self._world.states()[self._states :] if state.fault), None)

    def _is_over(self) -> bool:
        last = self._world.states()[-1]
        return last.fault is None and last.status is ServiceStatus.ONLINE

    def _check_names(self) -> None:
        students = self._world.lesson.students
        for state in self._world.states()[self._states :]:
            if state.fault and any(each.name in state.fault or each.source in state.fault for each in students):
                self.found.add("a child's name in the state", state.fault)

    def _take_image(self) -> None:
        kind, wal_kind = self._rng.choice(crash_image.KINDS), self._rng.choice(crash_image.WAL_KINDS)
        to = self._world.folder / f"image-{self._victim}-{len(self.images)}"
        self.images.append(self._world.take_image(to, self._rng, kind, wal_kind))

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait, looking no more often than needed: a look reads every file."""
        until_s = time.monotonic() + WITHIN_S
        while not condition():
            last = self._world.states()[-1]
            if not self._world.recorder.is_alive:
                raise RecorderFault(f"it ended with {self._world.recorder.process.returncode}")
            if time.monotonic() > until_s:
                raise RecorderFault(f"no {what} within {WITHIN_S:g} s; its state says {last.fault!r}")
            time.sleep(LOOK_S)


class RecorderFault(AssertionError):
    """What the recorder did wrong while its disk was at fault."""


def try_faults(
    folder: Path,
    faults: Iterable[Fault],
    rng: random.Random,
    *,
    directory: Path | None = None,
    settle_s: float = SETTLE_S,
    with_images: bool = False,
    with_restarts: bool = False,
) -> Iterator[tuple[Fault | None, Findings, list[Taken]]]:
    """Try faults one after another on one recorder, and yield what was wrong; in the end, with None, of all files."""
    with World(folder, STEADY, rng, settle_s, directory) as world:
        world.start_recorder()
        load = Load(world.lesson, TURNS_PER_S, restless=False)
        load.start()
        try:
            for number, fault in enumerate(faults):
                trial = Trial(world, number, fault, rng)
                try:
                    trial.run(with_images=with_images, with_restart=with_restarts)
                except AssertionError as error:
                    trial.found.add("failed", error)
                    fault.end(world)
                yield fault, trial.found, trial.images
                if not world.recorder.is_alive:
                    world.start_recorder()
        finally:
            load.end()
        found = Findings()
        try:
            trial.wait_for_rows(lambda each: True, "rows of all students")
        except AssertionError as error:
            found.add("failed", error)
        found.add("exit code", world.recorder.process.returncode, int(world.recorder.stop() != 0))
        found.include(check(world.directory, world.lesson, world.lesson.sent()))
        yield None, found, []

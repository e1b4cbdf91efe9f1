"""csv-recorder as a program on a disk that fails: by a shim between it and the system, and by real mounts."""

import errno
import random
from pathlib import Path

import pytest

from neuroone.up import brokers
from tests.support import preloaded
from tests.support.crash_round import recovery
from tests.support.disk_faults import (
    EVERYTHING,
    FAULTS,
    FOLDER,
    INBOX,
    READINGS,
    SIDECAR,
    STUDENT,
    WAL,
    Fault,
    try_faults,
)
from tests.support.real_disks import REAL_FAULTS
from tests.support.small_disk import small_disk

why_not = preloaded.why_not() or ("Mosquitto is not installed" if brokers.find(brokers.MOSQUITTO) is None else None)
pytestmark = [pytest.mark.broker, pytest.mark.skipif(why_not is not None, reason=str(why_not))]

OF_ONE_STUDENT = (
    ("fsync EIO, dirty pages dropped", READINGS),
    ("EIO on write", STUDENT),
    ("ENOSPC after a part of a row", READINGS),
    ("ENOSPC", SIDECAR),
    ("ENAMETOOLONG", FOLDER),
)
DISK_MB = 16
OF_ALL = (("EIO on read", INBOX), ("EROFS", EVERYTHING), ("EMFILE", EVERYTHING))


def fault(name: str, target: str) -> Fault:
    """Return a fault by its name and target."""
    return next(each for each in FAULTS if (each.name, each.target) == (name, target))


@pytest.mark.parametrize("chosen", [OF_ONE_STUDENT, OF_ALL], ids=["of one student", "of all"])
def test_no_fault_of_the_disk_stops_the_recorder_or_loses_a_reading(
    tmp_path: Path, chosen: tuple[tuple[str, str], ...]
) -> None:
    """One fault after another on one recorder; the others are recorded meanwhile where it is one student's file."""
    faults = [fault(*each) for each in chosen]
    found = {str(fault): found for fault, found, _ in try_faults(tmp_path, faults, random.Random(1))}
    assert {name: each.examples for name, each in found.items() if each} == {}


def test_a_power_cut_after_the_inbox_could_not_sync_loses_no_acknowledged_reading(tmp_path: Path) -> None:
    """After a failed fsync Linux holds pages for written that never reach the disk, whatever a later fsync says."""
    faults = [fault("fsync EIO, dirty pages held for clean, 2 times", WAL)]
    with recovery(tmp_path / "fresh") as after:
        trials = try_faults(tmp_path / "world", faults, random.Random(2), settle_s=0.0, with_images=True)
        for _, found, images in trials:
            for number, taken in enumerate(images):
                found.include(after.check(taken, f"site-{number}", random.Random(number)))
            assert not found, found.examples


def test_a_recorder_starts_while_one_students_file_cannot_be_opened(tmp_path: Path) -> None:
    """Killed and started under the fault, it records everybody else, and that student once the file can be opened."""
    faults = [Fault("EACCES", STUDENT, ("open",), errno.EACCES)]
    for _, found, _ in try_faults(tmp_path, faults, random.Random(3), with_restarts=True):
        assert not found, found.examples


def test_it_stays_while_its_directory_is_full_or_away_and_goes_on_by_itself(tmp_path: Path) -> None:
    """A full disk, a directory that was renamed, a file in its place, a mount point without its disk."""
    with small_disk(tmp_path / "disk", DISK_MB) as disk:
        directory = disk.folder / "recordings"
        found = {
            str(fault): found
            for fault, found, _ in try_faults(tmp_path / "world", REAL_FAULTS, random.Random(4), directory=directory)
        }
    assert {name: each.examples for name, each in found.items() if each} == {}

"""Follows the recordings: brings each closed session into a lake, until it is stopped."""

import logging
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final

from pyarrow import ArrowException

from csv_recorder.offline.export.lake import Lake, Storage
from csv_recorder.offline.report.figures import Selection
from csv_recorder.settings import ExportSettings
from neuroone.contract.errors import SettingsError
from neuroone.data.recordings import Recording, find, sidecars
from neuroone.service.lifecycle import Stop

Stamp = tuple[int, int, int]
"""What changes with a file: its time, its size, its place on the disk."""
FAILED_DAYS_MAX: Final = 3
"""Days in a row that fail before a look ends. One damaged file holds up its own day alone; each failure of a line costs
seconds."""
log: Final = logging.getLogger(__name__)


class Follower:
    """Brings closed sessions into a lake, and those that went on after they were closed, once they are closed again."""

    def __init__(self, settings: ExportSettings) -> None:
        self._settings = settings
        self._selection = Selection(groups=frozenset(settings.group))
        self._seen: dict[Path, Stamp] = {}
        self._lake: Lake | None = None
        self.fault = ""

    def look(self, stop: Stop) -> int:
        """Bring what has been closed since the last look into the lake; return the number of sessions.

        What fails is logged once, kept in ``fault``, and tried again with the next look.
        """
        count, fault = 0, ""
        faults: dict[Path, str] = {}
        failed = 0
        for _, of_day in groupby(sidecars(self._settings.chosen()), lambda sidecar: sidecar.parent.parent):
            if stop.is_set() or failed >= FAILED_DAYS_MAX:
                break
            changed = self._changed(of_day)
            if not changed:
                continue
            try:
                self._lake = self._lake or Lake(Storage(self._settings.out), self._settings.instance)
                for path in self._lake.add((each for each, _ in changed.values()), stop.is_set):
                    self._seen[path] = changed[path][1]
                    count += 1
            except (OSError, ArrowException) as error:
                fault = f"the lake cannot be written: {error}"
                failed += 1
            else:
                faults |= self._lake.faults
                failed = 0
        if faults and not fault:
            fault = f"{len(faults)} sessions cannot be read: export without --follow names them"
        self._log(fault)
        if count:
            log.info("closed sessions that are in the lake now: %d", count)
        return count

    def _log(self, fault: str) -> None:
        if fault and fault != self.fault:
            log.warning("%s; trying again every %d s", fault, self._settings.every)
        elif self.fault and not fault:
            log.info("the lake is in order again")
        self.fault = fault

    def _changed(self, sidecars: Iterable[Path]) -> dict[Path, tuple[Recording, Stamp]]:
        """Return the closed sessions that are not known to be in the lake as they are."""
        found = {}
        for sidecar in sidecars:
            folder = sidecar.parent
            try:
                stat = sidecar.stat()
                stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                if self._seen.get(folder) == stamp:
                    continue
                (recording,) = find([sidecar])
            except (FileNotFoundError, SettingsError):  # forgotten meanwhile
                continue
            if recording.is_closed and self._selection.includes(recording):
                found[folder] = (recording, stamp)
            elif not recording.fault:
                self._seen[folder] = stamp
        return found


def follow(settings: ExportSettings, stop: Stop) -> bool:
    """Keep a lake until ``stop``; return True if nothing was wrong at the last look. Raises SettingsError."""
    faults = [f"PATHS: {path} is not a directory" for path in settings.chosen() if not path.is_dir()]
    if faults:
        raise SettingsError(faults)
    follower = Follower(settings)
    follower.look(stop)
    while not stop.wait(settings.every):
        follower.look(stop)
    return not follower.fault

"""`neuroone restore`: bring back a backup beside what is there.

The whole backup is checked first. What it replaces is moved into folders `.replaced-...` that stay there.
"""

import contextlib
import filecmp
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final

from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.contract.files import BROKER_FOLDER, CERTIFICATES, LOCK_FILE, REPLACED
from neuroone.maintenance.manifest import BROKER, MOSQUITTO_STATE, RECORDINGS, Entry, Manifest, read
from neuroone.maintenance.places import BRIDGE, SERVICES, Places, PlacesSettings, control, csv_recorder, is_running
from neuroone.service.lifecycle import FAILED, OK, Stop
from neuroone.service.private_files import private
from neuroone.service.settings import setting, switch
from neuroone.service.terminal import agrees

_NOT_REPLACED: Final = frozenset({"lost+found", LOCK_FILE, CERTIFICATES, BROKER_FOLDER})
"""What `csv-recorder restore` leaves where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSettings(PlacesSettings):
    """Settings of `neuroone restore`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    backup: Path = setting(..., Path, "A folder that `neuroone backup` made.", positional=True, metavar="FROM")
    replace: bool = setting(
        False, switch, "Do not ask before what is there is moved into a hidden folder .replaced-... beside it."
    )
    with_broker: bool = setting(
        False,
        switch,
        "Replace the state of a server's broker too. Without this, a broker that has one keeps it, and with it what "
        "students send meanwhile.",
    )


def run(given: RestoreSettings, stop: Stop) -> int:
    """Check a backup and bring it back; return 1 if its inbox is damaged. Raises SettingsError and NeuroOneError."""
    places, backup = given.places(), given.backup.resolve()
    manifest = read(backup)
    parts = {PurePosixPath(path).parts[0] for path in manifest.files} - {RECORDINGS}
    for name in sorted(parts - places.parts.keys()):
        print(f"not restored, since this installation has no place for it: {backup / name}")
    wanted = [name for name in sorted(parts & places.parts.keys()) if given.with_broker or not _keeps(places, name)]
    replaced = _differing(backup, manifest, places, wanted)
    if places.recordings.is_dir() and {each.name for each in places.recordings.iterdir()} - _NOT_REPLACED:
        replaced.insert(0, places.recordings)
    if replaced and not given.replace and not _agrees(replaced):
        raise SettingsError([f"nothing was restored: {replaced[0]} is there; --replace moves what is there aside"])
    try:
        return _restore(backup, manifest, places, wanted, given)
    except OSError as error:
        raise NeuroOneError(f"{error.filename or backup}: {error.strerror or error}; restore again") from None
    except subprocess.CalledProcessError as error:
        raise NeuroOneError(f"{' '.join(error.cmd)} failed; the backup is not restored, or not in use yet") from None


def _keeps(places: Places, name: str) -> bool:
    """Return True for the broker's state if there is one: it knows more than the backup."""
    return name == BROKER and (places.parts[name] / MOSQUITTO_STATE).exists()


def _differing(backup: Path, manifest: Manifest, places: Places, wanted: list[str]) -> list[Path]:
    """List the files that a restore of these parts would replace by other ones."""
    places_of = ((backup / path, places.parts[name] / rest) for name, path, rest in _paths(manifest, wanted))
    return [place for file, place in places_of if place.exists() and not _is_same(file, place)]


def _paths(manifest: Manifest, wanted: list[str]) -> list[tuple[str, str, str]]:
    """List the files of parts: the part, the path in the backup, the path in the part's directory."""
    split = [(*path.partition("/"), path) for path in manifest.files]
    return [(name, path, rest) for name, _, rest, path in split if name in wanted]


def _is_same(file: Path, place: Path) -> bool:
    return place.is_file() and filecmp.cmp(file, place, shallow=False)


def _agrees(replaced: list[Path]) -> bool:
    """Ask on the terminal; no terminal, Ctrl-C and the end of the input mean no."""
    if not sys.stdin.isatty():
        return False
    print("This moves aside, into hidden folders .replaced-... in the same places:", *replaced, sep="\n  ")
    return agrees("Restore? [y/N] ", sys.stdout)


def _restore(backup: Path, manifest: Manifest, places: Places, wanted: list[str], given: RestoreSettings) -> int:
    """Bring everything back, the recordings first: if they are refused, nothing has changed."""
    places.recordings.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stopped:
        if places.services:
            # The broker keeps meanwhile what students send, unless its own state is restored.
            stopped.callback(control, "restart", *SERVICES, *([BRIDGE] if is_running(BRIDGE) else []))
            control("stop", *(SERVICES if BROKER in wanted else ["recorder"]))
        with (backup / RECORDINGS).open("rb") as stream:
            code = csv_recorder(["restore", "-", "--replace"], places.recordings, stdin=stream)
        if code not in (OK, FAILED):
            raise NeuroOneError("the recordings cannot be restored; nothing was changed")
        aside = f"{REPLACED}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for name, path, rest in _paths(manifest, wanted):
            _bring_back(backup / path, places.parts[name], rest, manifest.files[path], aside)
    return code


def _bring_back(file: Path, folder: Path, path: str, entry: Entry, aside: str) -> None:
    """Write one file as it was; move a different one of its name aside. Raises OSError."""
    place = folder / path
    if not _is_same(file, place):
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f".{place.name}.new")
        new.unlink(missing_ok=True)
        with file.open("rb") as source, open(new, "xb", opener=private) as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        if place.exists():
            kept = folder / aside / path
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(place, kept)
            _own(kept, place.stat())
            print(f"replaced; what was there is {kept}")
        new.replace(place)
    place.chmod(entry.mode & 0o777)
    if os.name == "posix" and os.geteuid() == 0 and entry.owner:
        user, group = (int(each) if each.isdecimal() else each for each in (entry.owner, entry.group))
        try:
            shutil.chown(place, user, group)
        except LookupError:
            raise NeuroOneError(
                f"{place}: this machine has no user {user} or no group {group}: install first"
            ) from None


def _own(kept: Path, found: os.stat_result) -> None:
    if os.name == "posix" and os.geteuid() == 0:
        os.chown(kept, found.st_uid, found.st_gid)

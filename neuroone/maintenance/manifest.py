"""What a backup holds: a folder with one archive of recordings, further files, and a list of all with their hashes.

The list is written last, so a folder without it is not whole. A backup is untrusted: it may be damaged or forged.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from neuroone import __version__
from neuroone.contract.errors import SettingsError
from neuroone.contract.files import REPLACED

FORMAT: Final = 1
"""A later format has a higher number, and this version refuses it."""
MANIFEST: Final = "manifest.json"
MANIFEST_MAX_BYTES: Final = 2**24
"""A file is 300 bytes of it, and a server has about 20."""
RECORDINGS: Final = "recordings.tar.gz"
"""What `csv-recorder backup` writes."""
BROKER: Final = "broker"
"""The part with the broker's state."""
MOSQUITTO_STATE: Final = "mosquitto.db"


class Entry(msgspec.Struct, frozen=True):
    """One file of a backup; its owner by name, since numbers differ from machine to machine."""

    bytes: int
    sha256: str
    mode: int
    owner: str
    group: str


class Head(msgspec.Struct):
    """What every format says."""

    format: int
    version: str


class Manifest(Head):
    """The list of a backup's files, by their path in its folder."""

    made: str
    files: dict[str, Entry]


def entry_of(file: Path, original: os.stat_result) -> Entry:
    """Describe a file of a backup; mode and owner are those of the original."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    names = _names(original) if os.name == "posix" else ("", "")
    return Entry(file.stat().st_size, digest, stat.S_IMODE(original.st_mode), *names)


def _names(found: os.stat_result) -> tuple[str, str]:
    """Return who owns a file: names, or numbers that have no name."""
    import grp
    import pwd

    try:
        user = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        user = str(found.st_uid)
    try:
        return user, grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        return user, str(found.st_gid)


def files_of(folder: Path) -> Iterator[str]:
    """Yield the path in a folder of each file, without what is being written and what a restore moved aside."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith(REPLACED))
        for name in sorted(names):
            if not name.endswith(".new") and (Path(place) / name).is_file():
                yield (Path(place) / name).relative_to(folder).as_posix()


def read(backup: Path) -> Manifest:
    """Read the list of a backup and check all of its files. Raises SettingsError with everything that is wrong."""
    try:
        with (backup / MANIFEST).open("rb") as stream:
            content = stream.read(MANIFEST_MAX_BYTES)
        head = msgspec.json.decode(content, type=Head)
        if head.format > FORMAT or _numbers(head.version) > _numbers(__version__):
            raise SettingsError(
                [f"FROM: {backup} was made by NeuroOne {head.version}, newer than this {__version__}: update first"]
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except OSError as error:
        raise SettingsError([f"FROM: {backup} is no whole backup: {MANIFEST}: {error.strerror or error}"]) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise SettingsError([f"FROM: {backup} is damaged: {MANIFEST}: {error}"]) from None
    found = {*files_of(backup)} - {MANIFEST}
    faults = [f"{path} is not in {MANIFEST}" for path in sorted(found - manifest.files.keys())]
    faults += [fault for path, entry in manifest.files.items() if (fault := _fault_of(backup, path, entry, found))]
    if RECORDINGS not in manifest.files:
        faults.append(f"{RECORDINGS} is missing")
    if faults:
        raise SettingsError([f"FROM: {backup} is damaged: {fault}; nothing was restored" for fault in faults])
    return manifest


def _fault_of(backup: Path, path: str, entry: Entry, found: set[str]) -> str | None:
    """Return what is wrong with a file of a backup; None if it is as it was made."""
    if path not in found or not (backup / path).resolve().is_relative_to(backup.resolve()):
        return f"{path} is missing"
    try:
        if not stat.S_ISREG((backup / path).lstat().st_mode):
            return f"{path} is no file"
        now = entry_of(backup / path, (backup / path).stat())
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return None if (now.bytes, now.sha256) == (entry.bytes, entry.sha256) else f"{path} has changed"


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers. Raises ValueError."""
    return tuple(map(int, version.split(".")))

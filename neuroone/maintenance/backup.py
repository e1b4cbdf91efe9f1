"""`neuroone backup`: write all that an installation keeps into one new folder, also while it works.

The broker's state is copied first: what the broker has handed on since is in the inbox, and is recognized there when a
restored broker hands it on again. So nothing that was accepted before the backup began is missing or twice.
"""

import gzip
import os
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from neuroone import __version__
from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.maintenance.manifest import BROKER, FORMAT, MANIFEST, RECORDINGS, Entry, Manifest, entry_of, files_of
from neuroone.maintenance.places import Places, PlacesSettings, csv_recorder
from neuroone.service.lifecycle import FAILED, OK, Stop
from neuroone.service.private_files import private
from neuroone.service.settings import setting

PIECE_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings(PlacesSettings):
    """Settings of `neuroone backup`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    to: Path = setting(
        ..., Path, "The new folder of the backup. It holds names and logins: its owner alone reads it.",
        positional=True, metavar="TO",
    )  # fmt: skip


def run(given: BackupSettings, stop: Stop) -> int:
    """Make a backup; return 1 if something of the recordings is not in it. Raises SettingsError and NeuroOneError."""
    places, to = given.places(), given.to.resolve()
    faults = [f"--data: {places.recordings} is not there"] if not places.recordings.is_dir() else []
    faults += [f"TO: {to} is there already"] if to.exists() or to.is_symlink() else []
    faults += [
        f"TO: {to} is inside of {each}: it would contain itself"
        for each in (places.recordings, *places.parts.values())
        if to.is_relative_to(each.resolve())
    ]
    if faults:
        raise SettingsError(faults)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as place:
            new = Path(place) / to.name
            new.mkdir(mode=0o700)
            files, is_whole = _fill(new, places)
            new.rename(to)
    except OSError as error:
        raise NeuroOneError(f"{error.filename or to}: {error.strerror or error}; there is no backup") from None
    print(f"{to}: {len(files)} files, {sum(each.bytes for each in files.values()) / 1e6:.1f} MB")
    return OK if is_whole else FAILED


def _fill(new: Path, places: Places) -> tuple[dict[str, Entry], bool]:
    """Write everything into the folder, the manifest last; return its entries, and False if recordings lack a file."""
    files: dict[str, Entry] = {}
    for name, folder in sorted(places.parts.items(), key=lambda each: each[0] != BROKER):
        for path in files_of(folder):
            original, copy = folder / path, new / name / path
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A file that is replaced meanwhile stays what it was for whoever has opened it.
            with original.open("rb") as source, open(copy, "xb", opener=private) as target:
                shutil.copyfileobj(source, target, PIECE_BYTES)
                found = os.fstat(source.fileno())
            files[f"{name}/{path}"] = entry_of(copy, found)
    archive = new / RECORDINGS
    with open(archive, "xb", opener=private) as stream:
        code = csv_recorder(["backup", "-"], places.recordings, stdout=stream)
    if code not in (OK, FAILED) or (code == FAILED and not _is_whole(archive)):
        raise NeuroOneError("csv-recorder could not archive the recordings; there is no backup")
    files[RECORDINGS] = entry_of(archive, archive.stat())
    manifest = Manifest(FORMAT, __version__, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", files)
    with open(new / MANIFEST, "xb", opener=private) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    if hasattr(os, "sync"):
        os.sync()
    return files, code == OK


def _is_whole(archive: Path) -> bool:
    """Return True if an archive is whole: csv-recorder exits with 1 also if it only left out a strange file."""
    try:
        with gzip.open(archive) as stream:
            while stream.read(PIECE_BYTES):
                pass
    except (EOFError, OSError, zlib.error):
        return False
    return True

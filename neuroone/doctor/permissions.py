"""Look at files as the user of a service: root may open everything, and so sees no file that is closed."""

import contextlib
import getpass
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from neuroone.contract import files

ENTRIES_MAX: Final = 200_000
"""Files that are looked at, which takes some seconds: ten years of a school."""
OF_RECORDER: Final = (files.INBOX_FILE, files.LOCK_FILE, files.DEAD_LETTERS_FILE)


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[bool]:
    """Act as another user if we are root and there is such a user; yield whether that is so."""
    entry = find_user(user) if is_root() else None
    if entry is None:
        yield False
        return
    uid, gid = entry
    before = os.getegid(), os.getgroups()
    try:
        os.initgroups(user, gid)
        os.setegid(gid)
        os.seteuid(uid)
    except OSError:  # a container without this right
        yield False
        return
    try:
        yield True
    finally:
        os.seteuid(0)
        os.setegid(before[0])
        os.setgroups(before[1])


def is_root() -> bool:
    """Return True if this program may do everything; Windows is not asked."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def find_user(user: str) -> tuple[int, int] | None:
    """Return the numbers of a user and of the user's group; None if this machine does not know the user."""
    try:
        import pwd

        entry = pwd.getpwnam(user)
    except (ImportError, KeyError):
        return None
    return entry.pw_uid, entry.pw_gid


def me() -> str:
    """Return the name of this program's user, or its number where it has no name."""
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except ImportError:
        return getpass.getuser()
    except KeyError:
        return str(os.geteuid())


def owner_of(path: Path) -> str:
    """Return the name of the user who owns a file or folder; who we are where that has none."""
    try:
        return path.owner()
    except (OSError, KeyError, NotImplementedError):
        return me()


def count_foreign(folder: Path) -> int:
    """Count the files and folders of a recorder that belong to others, and that this user may not write."""
    seen = found = 0
    waiting = [folder]
    while waiting and seen < ENTRIES_MAX:
        here = waiting.pop()
        try:
            entries = list(os.scandir(here))
        except OSError:  # closed: counted as a folder
            continue
        for entry in entries:
            seen += 1
            is_folder = entry.is_dir(follow_symlinks=False)
            if not _is_recorders(entry.name, is_folder=is_folder, is_at_top=here == folder):
                continue
            found += _is_closed(Path(entry.path))
            if is_folder:
                waiting.append(Path(entry.path))
    return found


def _is_recorders(name: str, *, is_folder: bool, is_at_top: bool) -> bool:
    if is_at_top:
        return name == files.SESSIONS if is_folder else name.endswith(".csv") or name.startswith(OF_RECORDER)
    return is_folder or name == files.SIDECAR or files.PART.match(name) is not None


def _is_closed(path: Path) -> bool:
    try:
        is_ours = path.stat().st_uid == os.geteuid()
    except (OSError, AttributeError):  # it is gone; Windows
        return False
    return not is_ours and not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def closed_logins(folder: Path, users: Mapping[str, str]) -> dict[str, str] | None:
    """Return the files of logins that their users may not read, with the user; None if this cannot be seen."""
    if not is_root() or not folder.is_dir():
        return None
    found = {}
    for name, user in users.items():
        file = folder / name
        with acting_as(user) as is_acting:
            if is_acting and not os.access(file, os.R_OK, effective_ids=True):
                found[str(file)] = user
    return {file: user for file, user in found.items() if Path(file).exists()}

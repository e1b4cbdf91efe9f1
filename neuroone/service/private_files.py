"""Files that only their owner may read: write them, read them, and notice that they have changed."""

import errno
import os
import shutil
import stat
from pathlib import Path


def replace(file: Path, content: bytes, owned_like: Path) -> None:
    """Write a file completely or not at all, for the owner of another one if that is possible. Raises OSError."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with open(new, "xb", opener=private) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    own(new, owned_like)
    new.replace(file)


def read(file: Path, most_bytes: int) -> bytes:
    """Return what a file holds, at most so many bytes. Raises OSError, also for a pipe: nobody may ever write to it."""
    with open(file, "rb", opener=_at_once) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(file))
        return opened.read(most_bytes)


def stamp(file: Path) -> tuple[int, ...] | None:
    """Return what changes when the file is written or may be read by others; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def own(path: Path, like: Path) -> None:
    """Give a file or a folder to the owner of another one, if that is possible. Raises OSError."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and like.exists():
        owner = like.stat()
        shutil.chown(path, owner.st_uid, owner.st_gid)


def private(name: str, flags: int) -> int:
    """Open a new file that its owner alone may read: an opener for ``open``."""
    return os.open(name, flags, 0o600)


def _at_once(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

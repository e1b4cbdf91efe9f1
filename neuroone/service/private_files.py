"""Write files that only their owner may read."""

import os
import shutil
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


def own(path: Path, like: Path) -> None:
    """Give a file or a folder to the owner of another one, if that is possible. Raises OSError."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and like.exists():
        owner = like.stat()
        shutil.chown(path, owner.st_uid, owner.st_gid)


def private(name: str, flags: int) -> int:
    """Open a new file that its owner alone may read: an opener for ``open``."""
    return os.open(name, flags, 0o600)

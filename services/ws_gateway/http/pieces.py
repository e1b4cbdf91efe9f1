"""Read files in pieces, alone or packed as a ZIP, so that none of them is held in memory."""

import io
import os
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

PIECE_BYTES: Final = 64 * 1024
"""What is held in memory of a download."""
COMPRESSION_LEVEL: Final = 1
"""A higher level takes three times as long for a tenth less: the files are rows of digits."""


def of_file(opened: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    """Read the bytes of a file from one to before another, and close it. Raises OSError, also if it gets shorter."""
    with opened:
        opened.seek(start)
        while start < stop:
            piece = opened.read(min(PIECE_BYTES, stop - start))
            if not piece:
                raise OSError("a file has become shorter during its download")
            start += len(piece)
            yield piece


Content: TypeAlias = Path | Iterator[bytes]
"""What is packed as one file: a file, or pieces that are made meanwhile."""


def of_zip(contents: Mapping[str, Content]) -> Iterator[bytes]:
    """Pack files, by their names in the ZIP, each as it is at the start, although the recorder adds to it meanwhile.

    A file that is another one when its turn comes, as a sidecar that was written again, is packed as it is then. Raises
    OSError.
    """
    pipe = _Pipe()
    before = {name: content.stat() for name, content in contents.items() if isinstance(content, Path)}
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name, time.localtime()[:6])
            if isinstance(content, Path):
                source = content.open("rb")
                now = os.fstat(source.fileno())
                size_bytes = (before[name] if os.path.samestat(before[name], now) else now).st_size
                # A board without a battery for its clock starts in 1970, ten years before the times of a ZIP.
                member = zipfile.ZipInfo.from_file(content, name, strict_timestamps=False)
                member.file_size = size_bytes
                content = of_file(source, 0, size_bytes)
            member.compress_type = zipfile.ZIP_DEFLATED
            member._compresslevel = COMPRESSION_LEVEL  # type: ignore[attr-defined] # noqa: SLF001 (public from 3.13)
            with archive.open(member, "w") as target:
                for piece in content:
                    target.write(piece)
                    if packed := pipe.pop():
                        yield packed
    yield pipe.pop()


class _Pipe(io.RawIOBase):
    """The bytes that a ZIP archive has written and nobody has popped yet."""

    def __init__(self) -> None:
        self._content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._content += data
        return len(data)

    def pop(self) -> bytes:
        content, self._content = bytes(self._content), bytearray()
        return content

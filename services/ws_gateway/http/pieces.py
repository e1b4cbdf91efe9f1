"""Read files in pieces, alone or packed as a ZIP, so that none of them is held in memory."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

PIECE_BYTES: Final = 64 * 1024
"""What is held in memory of a download."""
COMPRESSION_LEVEL: Final = 1
"""A higher level takes three times as long for a tenth less: the files are rows of digits."""


def of_file(opened: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    """Read so many bytes of a file, and close it. Raises OSError, also if it has become shorter."""
    with opened:
        while size_bytes:
            piece = opened.read(min(PIECE_BYTES, size_bytes))
            if not piece:
                raise OSError("a file has become shorter during its download")
            size_bytes -= len(piece)
            yield piece


def of_zip(files: Mapping[str, Path]) -> Iterator[bytes]:
    """Pack files, by their names in the ZIP. Raises OSError."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files.items():
            member = zipfile.ZipInfo.from_file(file, name)
            member.compress_type = zipfile.ZIP_DEFLATED
            member._compresslevel = COMPRESSION_LEVEL  # type: ignore[attr-defined] # noqa: SLF001 (public from 3.13)
            with file.open("rb") as source, archive.open(member, "w") as target:
                while piece := source.read(PIECE_BYTES):
                    target.write(piece)
                    if content := pipe.pop():
                        yield content
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

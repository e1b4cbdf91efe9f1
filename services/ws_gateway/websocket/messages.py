"""Put messages together from their fragments, and check that text is text."""

import codecs
from typing import Final

from websockets.frames import Frame, Opcode

_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")


class FragmentedMessage:
    """A message whose fragments arrive one by one. Text that is no UTF-8 is found in the fragment where it begins."""

    __slots__ = ("_content", "_decoder")

    def __init__(self, opcode: Opcode) -> None:
        self._content = bytearray()
        self._decoder = _utf8_decoder() if opcode is Opcode.TEXT else None

    def add(self, frame: Frame) -> bytes | None:
        """Append a fragment; return the message if that was its last one. Raises UnicodeDecodeError."""
        data = bytes(frame.data)
        if self._decoder is not None:
            self._decoder.decode(data, frame.fin)
        self._content += data
        return bytes(self._content) if frame.fin else None

"""Find out what a file or folder holds, and read it in a thread of its own."""

import threading
from collections.abc import Iterator
from pathlib import Path

from monitor_gui.feed import StreamId
from monitor_gui.playing import capture, edf, session
from monitor_gui.playing.recording import PLAYED_MAX_H, About, Played, Recording, Unplayable, in_order
from neuroone.contract import topics


class Opening(threading.Thread):
    """Read a recording while it is played. ``recording`` is there as soon as it has a message, or a fault."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="open", daemon=True)
        self.recording: Recording | None = None
        self._path = path
        self._is_wanted = True

    def close(self) -> None:
        """Read no further."""
        self._is_wanted = False

    def run(self) -> None:
        """Read until the end of the recording, a fault, or `close`."""
        recording = Recording(About(self._path, StreamId(topics.NO_GROUP, "-"), self._path.name))
        try:
            recording.about, messages = _opened(self._path)
            for at_s, message in messages:
                if not self._is_wanted:
                    break
                if not recording.add(at_s, message):
                    raise Unplayable("play.too_long", self._path, PLAYED_MAX_H)
                self.recording = recording
            if self._is_wanted and not len(recording):
                raise Unplayable("play.empty", self._path)
            if recording.about.rows_left_out:
                raise Unplayable("play.rows_left_out", self._path, recording.about.rows_left_out)
        except Unplayable as fault:
            recording.fault = fault
        except OSError as error:
            recording.fault = Unplayable("play.unreadable", self._path, error.strerror or error)
        recording.is_read = True
        self.recording = recording


def _opened(path: Path) -> tuple[About, Iterator[tuple[float, Played]]]:
    """Return what is known of a recording, and its messages with their times. Raises Unplayable, OSError."""
    if path.is_dir():
        about = session.about_of(path)
        return about, in_order(*session.tracks_of(about))
    if not path.is_file():  # a device or a pipe may have no end
        raise Unplayable("play.not_there" if not path.exists() else "play.unknown", path)
    if session.is_part(path):
        return _opened(path.absolute().parent)
    with path.open("rb") as file:
        head = file.read(capture.HEAD_BYTES)
    if head.startswith(edf.VERSION):
        about, blocks = edf.read(path)
        return about, in_order(blocks)
    if capture.is_capture(head):
        about = About(path, StreamId(topics.NO_GROUP, topics.id_from_text(path.stem or "-")), path.stem)
        return about, in_order(capture.messages_of(path))
    raise Unplayable("play.unknown" if head else "play.empty", path)

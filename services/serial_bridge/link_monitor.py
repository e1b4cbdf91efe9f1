"""What a headset's link is doing, judged by what came and when; what to tell a person, and a dongle. Pure."""

from dataclasses import dataclass
from typing import Final

from neuroone.contract.messages import Link, StreamStatus
from neuroone.service.stream_states import status_after
from serial_bridge.headsets.events import Event, Quantity, Raw, Row, Skipped
from serial_bridge.headsets.thinkgear import DONGLE_AUTO_CONNECT, DONGLE_CONNECT, NORMAL_BAUD, TGAM_RAW_MODE

SILENT_S: Final = 3.0
"""Without a byte: the slowest headset sends a frame every second."""
NO_FRAMES_S: Final = 5.0
"""With bytes that make no frame: five times what the slowest headset needs."""
GIVE_UP_S: Final = 10.0
"""A silent port is opened anew after this: a Bluetooth link that went away says nothing else."""
DONGLE_RETRY_S: Final = 5.0
"""Between two commands to connect (field reports on RF dongles)."""
RAW_AFTER_S: Final = 3.0
"""A headset that sends no raw sample for so long, while it sends frames, is not in raw mode."""
PROOF_FRAMES: Final = 2
"""Frames that show that a headset is there: rubbish can look like one."""

GONE: Final = frozenset({Link.UNPLUGGED, Link.ENDED, Link.NO_PORT, Link.NO_PERMISSION, Link.PORT_BUSY})
"""Nothing can come over such a link: its stream is offline at once."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """How a stream stands: what its state topic says."""

    status: StreamStatus
    link: Link
    hint: str | None


class LinkMonitor:
    """Watches one headset's link. All times are seconds of one steady clock, handed in.

    ``headset_id`` is the two-byte id of the only headset that a dongle may connect to; b"" takes any.
    ``asks_raw``: a TGAM module without raw samples is told to send them.
    """

    def __init__(self, device: str, headset_id: bytes = b"", asks_raw: bool = False) -> None:
        self.device = device
        self.headset_id = b""
        """What the dongle says that it is linked to."""
        self.is_line_damaged = False
        """Whether readings are withheld because the line changes bytes."""
        self._asks_raw = asks_raw
        self._opened_s = 0.0
        self._raw = False
        self._connect = bytes([DONGLE_CONNECT]) + headset_id if headset_id else DONGLE_AUTO_CONNECT
        self._trouble: tuple[Link, str | None] = (Link.SEARCHING, None)
        self._dongle: Link | None = None
        self._asked_s = float("-inf")
        self._reading_s = float("-inf")
        self._is_open = False
        self._bytes_s = self._frame_s = 0.0
        self._frames = 0

    def on_open(self, now_s: float) -> None:
        """The port is open; what was wrong before is said until frames come, or something else is wrong."""
        self._is_open, self._frames, self._raw = True, 0, False
        self._opened_s = now_s
        self._bytes_s = self._frame_s = now_s
        self._dongle = None

    def on_fault(self, link: Link, hint: str | None) -> None:
        """The port cannot be opened, or is gone."""
        self._is_open = False
        self._reading_s = float("-inf")
        self._trouble = (link, hint)

    def on_bytes(self, now_s: float) -> None:
        """Bytes came."""
        self._bytes_s = now_s

    def on_paused(self, now_s: float) -> None:
        """Nothing was read because the broker is slow: silence means nothing."""
        self._bytes_s = self._frame_s = now_s

    def on_events(self, events: list[Event], now_s: float) -> None:
        """The bytes made these events."""
        for event in events:
            if isinstance(event, Skipped):
                continue
            self._frame_s = now_s
            if isinstance(event, Raw):
                self._frames += len(event.samples)
                self._raw = True
                self._dongle = None
                continue
            self._frames += 1
            for row in event.rows:
                self._dongle = _dongle_after(row, self._dongle)
                if row.quantity is Quantity.HEADSET_FOUND and isinstance(row.value, bytes):
                    self.headset_id = row.value

    def on_reading(self, now_s: float) -> None:
        """A reading was made."""
        self._reading_s = now_s

    @property
    def has_frames(self) -> bool:
        """Whether a headset has shown itself since the port was opened."""
        return self._frames >= PROOF_FRAMES

    def must_reopen(self, now_s: float) -> bool:
        """Whether the port is of no more use as it is open now: silent for long, or nothing but rubbish."""
        is_silent = now_s - self._bytes_s >= SILENT_S
        return now_s - self._frame_s >= (GIVE_UP_S if is_silent else NO_FRAMES_S)

    def command(self, now_s: float, baud: int) -> bytes:
        """What to send now, b"" for nothing: only to what has shown itself to be a headset.

        A dongle without its headset is told to connect; a TGAM module at 9600 baud, if so asked, to send raw samples.
        """
        if not self.has_frames:
            return b""
        if self._asks_raw and baud == NORMAL_BAUD and not self._raw and now_s - self._opened_s >= RAW_AFTER_S:
            return TGAM_RAW_MODE
        if self._dongle in (Link.STANDBY, Link.NO_HEADSET) and now_s - self._asked_s >= DONGLE_RETRY_S:
            self._asked_s = now_s
            return self._connect
        return b""

    def status(self, now_s: float) -> LinkStatus:
        """How the stream stands."""
        self.judge(now_s)
        link, hint = self._trouble
        return LinkStatus(StreamStatus.OFFLINE if link in GONE else status_after(now_s - self._reading_s), link, hint)

    def judge(self, now_s: float, *, is_final: bool = False) -> None:
        """Judge the open port; ``is_final``: it had all the time that a headset needs to show itself."""
        if not self._is_open:
            return
        if now_s - self._bytes_s >= SILENT_S:
            self._trouble = (Link.SILENT, f"Nothing comes from {self.device}: {_SILENT_HINT}")
        elif is_final or now_s - self._frame_s >= NO_FRAMES_S:
            self._trouble = (Link.NO_FRAMES, f"What comes from {self.device} makes no sense: {_NO_FRAMES_HINT}")
        elif self.has_frames:
            damage = _DAMAGE_HINT if self.is_line_damaged else None
            self._trouble = (self._dongle, _DONGLE_HINTS[self._dongle]) if self._dongle else (Link.CONNECTED, damage)


def _dongle_after(row: Row, before: Link | None) -> Link | None:
    """What the dongle is doing after it said ``row``; None: it is linked to its headset, or is no dongle."""
    if row.quantity is Quantity.DONGLE_STATUS:
        if row.value:
            return Link.SCANNING
        return before if before is Link.NO_HEADSET else Link.STANDBY
    if row.quantity in (Quantity.HEADSET_NOT_FOUND, Quantity.REQUEST_DENIED):
        return Link.NO_HEADSET
    if row.quantity is Quantity.HEADSET_LOST:
        return Link.STANDBY
    if row.quantity in (Quantity.HEADSET_FOUND, Quantity.POOR_SIGNAL, Quantity.RAW):
        return None
    return before


_SILENT_HINT: Final = (
    "is the headset switched on, charged and near? On Windows take the outgoing Bluetooth port, not the incoming one."
)
_NO_FRAMES_HINT: Final = "it is another device, or its speed is none of those tried. Choose with --port and --baud."
_DAMAGE_HINT: Final = (
    "The line changes bytes: readings are withheld, they may be wrong. Try another cable, adapter or USB socket."
)
_DONGLE_HINTS: Final = {
    Link.STANDBY: "The dongle waits for its headset: switch the headset on.",
    Link.SCANNING: "The dongle looks for its headset: switch the headset on and keep it near.",
    Link.NO_HEADSET: "The dongle finds no headset: is it switched on, charged and near, and not linked to another one?",
}

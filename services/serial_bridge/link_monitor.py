"""Judge a headset's link by what arrived and when; decide what to tell a person, and a dongle. No I/O, no clock."""

from dataclasses import dataclass
from typing import Final

from neuroone.contract import hints
from neuroone.contract.messages import Link, StreamStatus
from neuroone.service.stream_states import status_after
from serial_bridge.headsets.events import Event, Quantity, Raw, Row, Skipped
from serial_bridge.headsets.thinkgear import DONGLE_AUTO_CONNECT, DONGLE_CONNECT, NORMAL_BAUD, TGAM_RAW_MODE
from serial_bridge.sample_watch import SampleWatch

SILENT_S: Final = 3.0
"""A link without a byte for this time is silent: the slowest headset sends a frame every second."""
NO_FRAMES_S: Final = 5.0
"""Bytes without a frame for this time are not a headset's: five times what the slowest headset needs."""
GIVE_UP_S: Final = 10.0
"""A silent port is opened anew after this time: a lost Bluetooth link gives no other sign."""
DONGLE_RETRY_S: Final = 5.0
"""Time between two commands to connect (field reports on RF dongles)."""
RAW_AFTER_S: Final = 3.0
"""A headset that sends frames but no raw sample for this time is not in raw mode."""
PROOF_FRAMES: Final = 2
"""Frames that prove a headset: noise can look like one."""

DONGLE_AFTER: Final[dict[Quantity, Link | None]] = {
    Quantity.HEADSET_NOT_FOUND: Link.NO_HEADSET,
    Quantity.REQUEST_DENIED: Link.NO_HEADSET,
    Quantity.HEADSET_LOST: Link.STANDBY,
    **dict.fromkeys((Quantity.HEADSET_FOUND, Quantity.POOR_SIGNAL, Quantity.RAW)),
}
GONE: Final = frozenset({Link.UNPLUGGED, Link.ENDED, Link.NO_PORT, Link.NO_PERMISSION, Link.PORT_BUSY})
"""Nothing can arrive over such a link: its stream is offline at once."""


@dataclass(slots=True)
class OpenPort:
    """What an open port has brought so far. Times are those of the last bytes and of the last frame."""

    opened_s: float
    bytes_s: float
    frame_s: float
    is_last_speed: bool = True
    is_open: bool = True
    frames: int = 0
    has_raw: bool = False
    dongle: Link | None = None


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """The part of a stream's state that its link decides."""

    status: StreamStatus
    link: Link
    hint: str | None


class LinkMonitor:
    """Monitor one headset's link. All times are seconds of one steady clock, passed in.

    ``headset_id`` is the two-byte id of the only headset that a dongle may connect to; b"" allows any.
    ``asks_raw``: a TGAM module without raw samples is told to send them.
    """

    def __init__(self, device: str, headset_id: bytes = b"", asks_raw: bool = False) -> None:
        self.device = device
        self.headset_id = b""
        """The headset that the dongle says it is linked to."""
        self.is_line_damaged = False
        """Whether readings are withheld because the line changes bytes."""
        self.watch = SampleWatch()
        self._asks_raw = asks_raw
        self._connect = bytes([DONGLE_CONNECT]) + headset_id if headset_id else DONGLE_AUTO_CONNECT
        self._port = OpenPort(0.0, 0.0, 0.0, is_open=False)
        self._reading_s = self._commanded_s = float("-inf")
        self._judgement: tuple[Link, str | None] = (Link.SEARCHING, None)

    def on_open(self, now_s: float, *, is_last_speed: bool = True) -> None:
        """Start with an open port; the last judgement stands until frames arrive, or something else is wrong.

        ``is_last_speed``: no other speed is left to try.
        """
        self._port = OpenPort(now_s, now_s, now_s, is_last_speed)
        self.watch.restart()

    @property
    def opened_s(self) -> float:
        """When the port was opened."""
        return self._port.opened_s

    def on_fault(self, link: Link, hint: str | None) -> None:
        """Note that the port is gone or cannot be opened."""
        self._port.is_open = False
        self._reading_s = float("-inf")
        self._judgement = (link, hint)

    def on_bytes(self, now_s: float) -> None:
        """Note that bytes arrived."""
        self._port.bytes_s = now_s

    def on_paused(self, now_s: float) -> None:
        """Note that nothing is read because the broker is slow, which is not silence."""
        self.watch.restart()
        self._port.bytes_s = self._port.frame_s = now_s

    def on_events(self, events: list[Event], now_s: float) -> None:
        """Note the events that the bytes made."""
        self.watch.on_events(events, now_s)
        for event in events:
            if isinstance(event, Skipped):
                continue
            self._port.frame_s = now_s
            if isinstance(event, Raw):
                self._port.frames += len(event.samples)
                self._port.has_raw = True
                self._port.dongle = None
                continue
            self._port.frames += 1
            for row in event.rows:
                self._port.dongle = _dongle_after(row, self._port.dongle)
                if row.quantity is Quantity.HEADSET_FOUND and isinstance(row.value, bytes):
                    self.headset_id = row.value

    def on_reading(self, now_s: float) -> None:
        """Note that a reading was made."""
        self._reading_s = now_s

    @property
    def has_frames(self) -> bool:
        """Whether a headset has shown itself since the port was opened."""
        return self._port.frames >= PROOF_FRAMES

    def must_reopen(self, now_s: float) -> bool:
        """Return True if the open port is useless: silent for long, or without a frame among its bytes."""
        is_silent = now_s - self._port.bytes_s >= SILENT_S
        return now_s - self._port.frame_s >= (GIVE_UP_S if is_silent else NO_FRAMES_S)

    def command(self, now_s: float, baud: int) -> bytes:
        """Return the command to send now, or b"": only what has shown itself to be a headset gets one.

        A dongle without its headset is told to connect; a TGAM module at 9600 baud, if so asked, to send raw samples.
        """
        if not self.has_frames:
            return b""
        if self._asks_raw and baud == NORMAL_BAUD and not self._port.has_raw and now_s - self.opened_s >= RAW_AFTER_S:
            return TGAM_RAW_MODE
        if self._port.dongle in (Link.STANDBY, Link.NO_HEADSET) and now_s - self._commanded_s >= DONGLE_RETRY_S:
            self._commanded_s = now_s
            return self._connect
        return b""

    def status(self, now_s: float) -> LinkStatus:
        """Judge the link and return its status."""
        self.judge(now_s)
        link, hint = self._judgement
        return LinkStatus(StreamStatus.OFFLINE if link in GONE else status_after(now_s - self._reading_s), link, hint)

    def _trouble(self) -> str | None:
        """Tell what is wrong with a line that brings frames."""
        if self.is_line_damaged:
            return hints.LINE_DAMAGED.text()
        return hints.SAMPLES_MISSING.text(self.device) if self.watch.misses_samples else None

    def judge(self, now_s: float, *, is_final: bool = False) -> None:
        """Judge the open port; ``is_final``: it had all the time that a headset needs to show itself."""
        if not self._port.is_open:
            return
        if now_s - self._port.bytes_s >= SILENT_S:
            hint = hints.BLE_SILENT if self.device.startswith("ble:") else hints.SILENT
            self._judgement = (Link.SILENT, hint.text(self.device))
        elif is_final or now_s - self._port.frame_s >= NO_FRAMES_S:
            hint = hints.NO_FRAMES if self._port.is_last_speed else hints.NO_FRAMES_YET
            self._judgement = (Link.NO_FRAMES, hint.text(self.device))
        elif self.has_frames and self._port.dongle:
            self._judgement = (self._port.dongle, hints.GENERAL[self._port.dongle].text())
        elif self.has_frames:
            self._judgement = (Link.CONNECTED, self._trouble())


def _dongle_after(row: Row, before: Link | None) -> Link | None:
    """Return the dongle's state after ``row``; None: it is linked to its headset, or there is no dongle."""
    if row.quantity is Quantity.DONGLE_STATUS:
        if row.value:
            return Link.SCANNING
        return before if before is Link.NO_HEADSET else Link.STANDBY
    return DONGLE_AFTER.get(row.quantity, before)

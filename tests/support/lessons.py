"""A recorder in this process that records a lesson, and the directory that a killed one leaves."""

import shutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from csv_recorder.live.recorder import Options, Recorder
from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.json import encode
from neuroone.contract.messages import EventType, GroupEvent, Kind, Message, RawBlock, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.delivery import Delivery
from tests.support.messages import GOLDEN, NOON, reading, stream_state

GROUP = "ABC123"
RAW: Any = GOLDEN["raw"]
EVENT: Any = GOLDEN["group_event"]


def delivered(topic: Topic, message: Message) -> Delivery:
    """Return a message as the broker delivers it."""
    return Delivery(str(topic), encode(message), False, 1, 1)


class Lesson:
    """Students who send readings to a recorder. Each reading's row tells whose it is and which: delta is seq."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.now_s = 1_000_000.0
        self.recorder = Recorder(root, Options(**options), steady=lambda: self.now_s)
        self.recorder.open()

    def send(self, source: str, seqs: Iterable[int], **changes: Any) -> None:
        """Let a student send readings; they are in the inbox."""
        values = {"name": source.title(), "session": f"session-{source}", "poor_signal": 0} | changes
        topic = topics.reading("local", GROUP, source)
        self.recorder.accept(
            [
                delivered(topic, reading(seq=seq, delta=seq, time=NOON + timedelta(seconds=seq), **values))
                for seq in seqs
            ]
        )

    def send_raw(self, source: str, seqs: Iterable[int]) -> None:
        """Let a headset send blocks of raw samples."""
        topic = topics.raw("local", GROUP, source)
        blocks: list[RawBlock] = [replace(RAW, session=f"session-{source}", seq=seq) for seq in seqs]
        self.recorder.accept([delivered(topic, block) for block in blocks])

    def mark(self, text: str) -> None:
        """Set a marker for the group."""
        event: GroupEvent = replace(EVENT, id=text, text=text, type=EventType.MARKER, source=None)
        self.recorder.accept([delivered(topics.event("local", GROUP), event)])

    def end(self, source: str) -> None:
        """Let a student's stream end, and its session be closed."""
        state = stream_state(status=StreamStatus.OFFLINE, session=f"session-{source}", kind=Kind.CLIENT)
        self.recorder.accept([delivered(topics.stream_state("local", GROUP, source), state)])
        self.settle()
        self.now_s += 11
        self.describe()

    def write(self) -> None:
        """Append to the files what has its turn."""
        self.recorder.write()

    def settle(self) -> None:
        """Sync the files."""
        self.recorder.settle()

    def describe(self) -> None:
        """Write the sidecars that are due."""
        self.recorder.update_sessions()

    def record(self, source: str, seqs: Iterable[int], **changes: Any) -> None:
        """Bring readings into synced files, and write the sidecar."""
        self.send(source, seqs, **changes)
        self.settle()
        self.describe()

    def killed(self, place: Path) -> Path:
        """Return what SIGKILL would leave now: a copy of the directory with the inbox and its log as they are."""
        shutil.copytree(self.root, place)
        return place

"""A class beside `csv-recorder` as a program: a good student, whose rows must all be there, and whatever else comes."""

import csv
import io
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from paho.mqtt import publish

from neuroone.contract import topics
from neuroone.contract.files import HEADERS, READINGS, STUDENT_HEADER, reading_row, student_row
from neuroone.contract.json import encode
from neuroone.contract.messages import (
    Health,
    Message,
    Reading,
    Recorded,
    RecordedStream,
    ServiceState,
    ServiceStatus,
    StreamState,
    StreamStatus,
)
from neuroone.contract.topics import Topic
from tests.support.brokers import LOOPBACK, Broker
from tests.support.bus_listener import Listener, listening
from tests.support.fake_broker import FakeBroker
from tests.support.messages import NOON, reading, stream_state
from tests.support.waiting import wait_for

PYTHON: Final = [sys.executable]
SERVICE: Final = "csv_recorder"
GOOD: Final = "Ana"
WITHIN_S: Final = 40.0
"""A file that had a fault is tried again after 30 s at most; most waits are far shorter."""
QUICK: Final = "import csv_recorder.service as s; s.SETTLE_PERIOD_S = 1.0"
"""For `RecordedClass.start`: sync the files every second, not every 30 s."""


class RecordedClass:
    """A recorder of a site of its own, with its directory, and the students of a class."""

    def __init__(self, broker: Broker | FakeBroker, folder: Path, listener: Listener, site: str) -> None:
        self.broker = broker
        self.site = site
        self.directory = folder / "recordings"
        self.log_file = folder / "recorder.log"
        self.sent = 0
        self._listener = listener
        self._process: subprocess.Popen[bytes] | None = None

    # --- the program -----------------------------------------------------------------------------

    def start(self, first: str = "pass", words: Sequence[str] = (), environment: Mapping[str, str] = {}) -> None:
        """Start the recorder, and wait until it is online. ``first`` is Python that its process runs before."""
        already = len(self._births())
        self.launch(first, words, environment)
        self.wait(lambda: len(self._births()) > already, "recorder that is online")

    def launch(self, first: str = "pass", words: Sequence[str] = (), environment: Mapping[str, str] = {}) -> None:
        """Start the recorder; it may end by itself."""
        run = f"{first}\nimport runpy; runpy.run_module('csv_recorder', run_name='__main__', alter_sys=True)"
        command = [*PYTHON, "-c", run, "--broker", self.broker.url, "--site", self.site, "--dir", str(self.directory)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen([*command, *words], stderr=log, env={**os.environ, **environment})

    @property
    def is_online(self) -> bool:
        """Return True if a recorder has been online."""
        return bool(self._births())

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The program that was started last."""
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """What the recorder has logged so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it with SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it in good order; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN_S)

    def wait(self, condition: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
        """Wait for a condition; fail at once, with the log, if the recorder ends meanwhile."""

        def is_met() -> bool:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}\n{self.log}"
            return bool(condition())

        try:
            wait_for(is_met, what, within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; faults {self.faults()[-3:]}\n{self.log[-3000:]}") from None

    # --- what it publishes -----------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Return what its state said so far, "" where there was no fault."""
        return [state.fault or "" for topic, state in self._listener.of(ServiceState) if self._is_ours(topic)]

    def receipt(self, source: str = GOOD) -> RecordedStream | None:
        """Return the newest receipt of a source."""
        receipts = [each for _, message in self._listener.of(Recorded) for each in message.streams]
        return next((each for each in reversed(receipts) if each.source == source), None)

    def healths(self) -> list[Health]:
        """Return its health messages so far."""
        return [health for topic, health in self._listener.of(Health) if self._is_ours(topic)]

    def _births(self) -> list[ServiceState]:
        states = [state for topic, state in self._listener.of(ServiceState) if self._is_ours(topic)]
        ours = [state for state in states if state.status is ServiceStatus.ONLINE and state.version != "0"]
        return [*{(state.run, state.epoch): state for state in ours}.values()]

    def _is_ours(self, topic: Topic) -> bool:
        return topic["service"] == SERVICE

    # --- students --------------------------------------------------------------------------------

    def publish(self, *messages: tuple[Topic | str, Message | bytes], retain: bool = False) -> None:
        """Publish messages, and wait until the broker has them."""
        publish.multiple(
            [
                {
                    "topic": str(topic),
                    "payload": message if isinstance(message, bytes) else encode(message),
                    "qos": 1,
                    "retain": retain,
                }
                for topic, message in messages
            ],
            hostname=LOOPBACK,
            port=self.broker.port,
        )

    def topic(self, source: str) -> Topic:
        """Return the topic of a student's readings."""
        return topics.reading(self.site, "CLASS", source)

    def send(self, source: str, *seqs: int, **changes: Any) -> None:
        """Let a student send readings. A row tells by its delta which it is."""
        self.publish(*((self.topic(source), student_reading(source, seq, **changes)) for seq in seqs))

    def send_good(self, count: int = 3) -> None:
        """Let the good student send her next readings."""
        self.sent += count
        self.send(GOOD, *range(self.sent - count, self.sent))

    def say(self, source: str, status: StreamStatus, session: str | None = None, **changes: Any) -> None:
        """Let a student's stream begin or end."""
        state: StreamState = stream_state(
            **{"status": status, "session": session or f"session-{source}", "counters": {}, **changes}
        )
        self.publish((topics.stream_state(self.site, "CLASS", source), state), retain=True)

    # --- what must be there ----------------------------------------------------------------------

    def wait_for_good(self) -> None:
        """Wait until every reading of the good student is in both files, once, in order, and has a receipt."""
        self.wait(self._good_is_recorded, f"{self.sent} rows of the good student")

    def good_are(self, count: int = 3) -> None:
        """Let the good student send readings, and wait until all that she ever sent are recorded."""
        self.send_good(count)
        self.wait_for_good()

    def wait_for_rows(self, source: str, seqs: Sequence[int], **changes: Any) -> None:
        """Wait until a student's file and the files of the session have exactly these rows."""
        rows = [student_reading(source, seq, **changes) for seq in seqs]
        self.wait(lambda: self.has(rows, source), f"rows {list(seqs)} of {source}")

    def has(self, readings: Sequence[Reading], source: str = GOOD) -> bool:
        """Return True if a student's file and the files of the session have exactly these readings, in order."""
        name = readings[0].name
        path = self.directory / f"{name}.csv"
        if not path.is_file() or path.read_bytes() != STUDENT_HEADER + b"".join(map(student_row, readings)):
            return False
        return self.session_rows(source, readings[0].session) == [reading_row(each) for each in readings]

    def session_rows(self, source: str, session: str) -> list[bytes]:
        """Return the rows of a session, from all its files."""
        paths = sorted(self.folder_of(source, session).glob("readings*.csv")) if self._folders(source, session) else []
        rows: list[bytes] = []
        for path in paths:
            header, *more = path.read_bytes().splitlines(keepends=True) or [b""]
            if header != HEADERS[READINGS]:
                return []
            rows += more
        return rows

    def folder_of(self, source: str = GOOD, session: str | None = None) -> Path:
        """Return the folder of a source's session, by default of its only one."""
        (found,) = self._folders(source, session)
        return found

    def _folders(self, source: str, session: str | None) -> list[Path]:
        folders = sorted(self.directory.glob(f"sessions/*/*_CLASS_{source}"))
        if len(folders) < 2 or session is None:
            return folders
        return [each for each in folders if session in _sessions_in(each)]

    def _good_is_recorded(self) -> bool:
        receipt = self.receipt()
        if receipt is None or (receipt.seq, receipt.rows, receipt.gaps) != (self.sent - 1, self.sent, 0):
            return False
        return self.has([student_reading(GOOD, seq) for seq in range(self.sent)])


def student_reading(source: str, seq: int, **changes: Any) -> Reading:
    """Return a student's reading; its row tells by its delta which it is."""
    values = {"name": source, "session": f"session-{source}", "code": "CLASS", "seq": seq, **changes}
    values.setdefault("delta", seq)
    if "time" not in changes:
        values["time"] = NOON + timedelta(seconds=seq)
    return reading(**values)


def _sessions_in(folder: Path) -> set[str]:
    path = folder / "readings.csv"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return {row[1] for row in [*csv.reader(io.StringIO(text))][1:] if len(row) > 1}


@contextmanager
def recorded_class(broker: Broker | FakeBroker, folder: Path, **start: Any) -> Iterator[RecordedClass]:
    """Run a recorder whose good student has sent her first readings; killed at the end if it still runs.

    ``start`` is for `RecordedClass.start`.
    """
    with waiting_class(broker, folder) as made:
        made.start(**start)
        made.good_are()
        yield made


@contextmanager
def waiting_class(broker: Broker | FakeBroker, folder: Path) -> Iterator[RecordedClass]:
    """Make a class whose recorder is not started; whatever is started is killed at the end."""
    site = f"site-{uuid.uuid4().hex[:12]}"
    with listening(broker.url, site, f"{topics.ROOT}/{site}/services/#") as listener:
        made = RecordedClass(broker, folder, listener, site)
        try:
            yield made
        finally:
            made.kill()

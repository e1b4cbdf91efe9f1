"""Find out whether a broker that runs also works, and restart it where that helps.

A broker whose disk was full, or that hangs, is a living process that serves nobody. NATS then refuses every connection
until it is started anew, also when there is room again (nats-server #3997, #7654). Mosquitto goes on without saving.
"""

import contextlib
import logging
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from neuroone.logins import UP_CHECK
from neuroone.mqtt import packets
from neuroone.mqtt.address import BrokerAddress
from neuroone.mqtt.packets import ConnAck, PubAck, SubAck
from neuroone.up.brokers import AUTOSAVE_S, MOSQUITTO, MOSQUITTO_STATE, NATS
from neuroone.up.children import Child

TRY_EVERY_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 7.0
"""NATS closes a connection 5 s after its disk refused the record of it: longer than that means that it is mute."""
STORE_TIMEOUT_S: Final = 4.0
"""NATS waits 5 s for a retained message that its disk refused, and acknowledges it all the same."""
FAILING_S: Final = 20.0
"""A busy broker fails a try or two; one that fails all tries for so long does not work."""
STARTING_S: Final = 120.0
"""While Mosquitto reads or writes its state it answers nobody: 500 MB on a slow SD card (5 MB/s) take 100 s."""
STARTING_MAX_S: Final = 960.0
"""After each restart that did not help the next one waits twice as long, up to this."""
ENDING_S: Final = 15.0
"""Time for a broker that was asked to end to write its state; then it is killed."""
UNSAVED_S: Final = 3.0 * AUTOSAVE_S
"""Mosquitto saves every AUTOSAVE_S: three failures in a row are no accident."""
ROOM_BYTES: Final = 50_000_000
"""Free space at which a restart makes sense: NATS needs a few MB to start, and a class of 30 fills 1 MB a minute."""
ROOM_PART: Final = 10
"""Of a disk that is smaller than 500 MB, a tenth is room enough."""
KEEP_ALIVE_S: Final = 30
RECEIVE_BYTES: Final = 4096

SILENT: Final = "does not answer"
REFUSES: Final = "refuses every connection"
STORES_NOTHING: Final = "accepts no messages"

ADVICE: Final = {
    MOSQUITTO: "Free some space, and do not end this program before: what waits for the recorder is in memory only",
    NATS: "Free some space: until then gateway and bridge keep the readings, as far as their memory goes",
}
"""What to do about a full disk."""

Answer = TypeVar("Answer", bound=packets.Packet)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What one try found.

    ``fault`` says in words what the broker does not do. ``saved`` changes whenever Mosquitto saves its state; NATS
    writes everything at once. ``disk_fault`` says why the broker cannot write.
    """

    began_s: float
    fault: str | None = None
    saved: tuple[int, ...] | None = None
    is_saving: bool = False
    disk_fault: str | None = None


class BrokerCheck:
    """Try the broker out in a thread, and restart it if it runs and does not work.

    ``step`` acts on what the thread found; the thread that owns ``broker`` calls it often. A broker that cannot write
    is not restarted: it would lose what is only in its memory, and could not start.
    """

    def __init__(self, broker: Child, folder: Path, try_out: Callable[[], str | None]) -> None:
        self._broker = broker
        self._folder = folder
        self._try_out = try_out
        self._ended = threading.Event()
        self._tried: Tried | None = None
        self._seen: Tried | None = None
        self._started_s = 0.0
        self._worked_s = 0.0
        self._failing_s: float | None = None
        self._unsaved_tries = 0
        self._saved: tuple[int, ...] | None = None
        self._asked_s: float | None = None
        self._restarts = 0
        self._is_waiting = False
        self._disk_fault_s: float | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with the broker, as a key of the texts for people; None: nothing, or not for long."""
        if self._disk_fault_s is not None:
            return "broker_disk"
        fails = self._failing_s is not None and self._seen is not None and self._seen.began_s > self._failing_s
        return "broker" if fails or self._is_waiting else None

    def start(self) -> None:
        """Start trying."""
        threading.Thread(target=self._run, name="broker-check", daemon=True).start()

    def close(self) -> None:
        """Try no more."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            began_s = time.monotonic()
            fault = self._try_out()
            self._tried = Tried(
                began_s=began_s,
                fault=fault,
                saved=_stamp(self._folder / MOSQUITTO_STATE),
                is_saving=(self._folder / f"{MOSQUITTO_STATE}.new").exists(),
                disk_fault=disk_fault(self._folder),
            )
            self._ended.wait(TRY_EVERY_S)

    def step(self, now_s: float) -> None:
        """Act on the newest try. ``now_s`` is the steady clock's."""
        if self._broker.started_s != self._started_s:
            self._started_s = self._broker.started_s
            self._asked_s = self._failing_s = None
            self._unsaved_tries = 0
        if self._asked_s is not None:
            if now_s - self._asked_s > ENDING_S:
                self._broker.kill()
            return
        tried = self._tried
        if tried is None or tried is self._seen or tried.began_s < self._started_s or self._broker.poll() is not None:
            return
        self._seen = tried
        self._on_disk(self._disk_fault_of(tried), now_s)
        if tried.fault is None:
            self._on_works(tried)
            return
        if self._failing_s is None:
            self._failing_s = tried.began_s
        if now_s - self._failing_s > self._patience_s(tried):
            self._on_fails(tried, tried.fault, now_s)

    def _patience_s(self, tried: Tried) -> float:
        """Return how long the broker may fail before it is restarted."""
        if self._worked_s > self._started_s and not tried.is_saving:
            return FAILING_S
        return float(min(STARTING_S * 2**self._restarts, STARTING_MAX_S))

    def _on_fails(self, tried: Tried, fault: str, now_s: float) -> None:
        name = self._broker.name
        if tried.disk_fault is not None:
            if not self._is_waiting:
                log.error("the broker %s runs, but %s; it is restarted when its disk has room", name, fault)
            self._is_waiting = True
            return
        log.error("the broker %s runs, but %s: restarting it", name, fault)
        self._is_waiting = False
        self._restarts += 1
        self._asked_s = now_s
        self._broker.terminate()

    def _on_works(self, tried: Tried) -> None:
        self._worked_s = tried.began_s
        self._failing_s = None
        if self._restarts or self._is_waiting:
            log.warning("the broker %s works again", self._broker.name)
        self._restarts, self._is_waiting = 0, False

    def _disk_fault_of(self, tried: Tried) -> str | None:
        """Return why the broker cannot write, or does not."""
        self._unsaved_tries += tried.fault is None
        if tried.saved != self._saved:
            self._saved, self._unsaved_tries = tried.saved, 0
        is_unsaved = self._broker.name == MOSQUITTO and self._unsaved_tries * TRY_EVERY_S > UNSAVED_S
        return tried.disk_fault or (f"it has not saved its state for {UNSAVED_S:.0f} s" if is_unsaved else None)

    def _on_disk(self, fault: str | None, now_s: float) -> None:
        """Report a fault of the disk once, and its end when there was none for a while."""
        name = self._broker.name
        if fault is not None:
            if self._disk_fault_s is None:
                log.error("the disk of the broker %s is full or faulty: %s. %s", name, fault, ADVICE[name])
            self._disk_fault_s = now_s
        elif self._disk_fault_s is not None and now_s - self._disk_fault_s > FAILING_S:
            self._disk_fault_s = None
            log.warning("the disk of the broker %s works again", name)


def broker_fault(address: BrokerAddress, client_id: str) -> str | None:
    """Use the broker as a service does; return what it does not do, or None if all works.

    The message is empty and retained, and its sender subscribes to it: NATS must write to each of its stores for that,
    and no broker keeps anything of it.
    """
    topic = f"{UP_CHECK}/{client_id}"
    fault = SILENT
    try:
        with socket.create_connection((address.host, address.port), timeout=CONNECT_TIMEOUT_S) as connection:
            answers = _Answers(connection)
            connect = packets.Connect(
                client_id=client_id, keep_alive_s=KEEP_ALIVE_S, user=address.user, password=address.password
            )
            connection.sendall(connect.encode(v5=False))
            if answers.next(ConnAck, CONNECT_TIMEOUT_S).reason:
                return REFUSES
            fault = STORES_NOTHING
            connection.sendall(packets.Subscribe(1, ((topic, 1),)).encode(v5=False))
            if answers.next(SubAck, STORE_TIMEOUT_S).reasons[0] >= packets.REFUSED:
                return fault
            connection.sendall(packets.Publish(topic, b"", retained=True, packet_id=2).encode(v5=False))
            answers.next(PubAck, STORE_TIMEOUT_S)
            connection.sendall(packets.Disconnect().encode(v5=False))
            return None
    except ConnectionError:
        return REFUSES if fault == SILENT else fault
    except (OSError, packets.BadPacket):
        return fault


class _Answers:
    """Read the broker's packets."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = packets.Decoder(v5=False)
        self._waiting: list[packets.Packet] = []

    def next(self, kind: type[Answer], timeout_s: float) -> Answer:
        """Return the next packet of that kind and drop those before it. Raises OSError, BadPacket."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            while self._waiting:
                packet = self._waiting.pop(0)
                if isinstance(packet, kind):
                    return packet
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._connection.settimeout(left_s)
            received = self._connection.recv(RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError
            self._waiting += self._decoder.feed(received)


def disk_fault(folder: Path) -> str | None:
    """Return why a broker cannot keep its state in ``folder``, None if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * RECEIVE_BYTES)
            file.flush()
        disk = shutil.disk_usage(folder)
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror or error})"
    needed_bytes = min(ROOM_BYTES, disk.total // ROOM_PART)
    with contextlib.suppress(OSError):  # Mosquitto writes its state anew before it removes the old one
        needed_bytes += (folder / MOSQUITTO_STATE).stat().st_size
    if disk.free >= needed_bytes:
        return None
    return f"{folder} has {disk.free / 1e6:.1f} MB left, and the broker needs {needed_bytes / 1e6:.0f} MB"


def _stamp(file: Path) -> tuple[int, ...] | None:
    """Return what changes whenever ``file`` is replaced; None if it is not there."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns

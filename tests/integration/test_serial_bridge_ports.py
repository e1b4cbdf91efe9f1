"""The bridge on real pseudo-terminals, TCP ports and pipes: their faults, and how they recover.

The clock runs SPEED times faster for the bridge and the simulated headsets alike.
"""

import os
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from serial import serial_for_url
from serial.rfc2217 import PortManager
from serial.tools.list_ports_common import ListPortInfo

from neuroone.contract.messages import Link, Message, RawBlock, Reading, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.service.wearers import Owner
from serial_bridge.headset import Headset
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.ports import serve_simulated
from serial_bridge.ports.memory import PortMemory
from serial_bridge.ports.serve_simulated import PtyLine, TcpLine
from serial_bridge.ports.simulated import Damage, SimulatedHeadset
from serial_bridge.ports.sources import SerialSource
from serial_bridge.publisher import StreamPublisher
from serial_bridge.reader import HeadsetReader, Search
from tests.support.brokers import free_port
from tests.support.bus_listener import identity
from tests.support.serial_ports import listed_port
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals and pipes are of POSIX systems")

SPEED = 8


def clock() -> float:
    return time.monotonic() * SPEED


def sleep(seconds: float) -> None:
    time.sleep(seconds / SPEED)


class Published:
    """Replace the broker's client; keep the messages."""

    def __init__(self) -> None:
        self.identity = identity("serial_bridge")
        self.messages: list[tuple[str, Any]] = []

    def publish(self, topic: Topic, message: Message, on_ack: Callable[[], None] | None = None) -> bool:
        self.messages.append((topic["source"], message))
        return True

    def of(self, kind: type[Any], source: str = "bench") -> list[Any]:
        return [message for of, message in list(self.messages) if of == source and isinstance(message, kind)]

    def wait_for_state(self, *, source: str = "bench", **wanted: object) -> StreamState:
        """Wait until the newest state has these fields."""

        def newest() -> StreamState | None:
            states = self.of(StreamState, source)
            is_so = states and all(getattr(states[-1], field) == value for field, value in wanted.items())
            return states[-1] if is_so else None

        found = wait_for(newest, f"state {wanted}; states: {self.of(StreamState, source)[-3:]}", 20)
        assert found is not None
        return found


class Plugged:
    """A simulated headset on a line, driven by a thread of its own; it can fall silent, send noise, be unplugged."""

    def __init__(self, line: serve_simulated.Line, **options: Any) -> None:
        self.headset = SimulatedHeadset(**{"seed": 1, **options})
        self.written = b""
        self.is_silent = False
        self.sends_noise = False
        self._line = line
        self._unplugged = threading.Event()
        self._thread = threading.Thread(target=self._send, name="plugged")
        self._thread.start()

    def _send(self) -> None:
        began_s = clock()
        while not self._unplugged.is_set():
            received = self._line.read(self.headset.baud)
            self.written += received
            self.headset.receive(received)
            stream = self.headset.advance(clock() - began_s)
            if stream and not self.is_silent:
                self._line.write(b"0123456789\r\n" if self.sends_noise else stream, self.headset.baud)
            sleep(serve_simulated.TICK_S)

    def unplug(self) -> None:
        if not self._unplugged.is_set():
            self._unplugged.set()
            self._thread.join()
            self._line.close()


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def plug() -> Iterator[Callable[..., Plugged]]:
    """Plug a headset in; it is unplugged after the test."""
    plugged: list[Plugged] = []

    def plug_in(line: serve_simulated.Line, **options: Any) -> Plugged:
        plugged.append(Plugged(line, **options))
        return plugged[-1]

    yield plug_in
    for each in plugged:
        each.unplug()


@pytest.fixture
def port(tmp_path: Path) -> Path:
    return tmp_path / "ttyBENCH"


def publisher_of(published: Published, source: str) -> StreamPublisher:
    return StreamPublisher(published, "no-group", source)  # type: ignore[arg-type]


@contextmanager
def running_reader() -> Iterator[HeadsetReader]:
    reader = HeadsetReader(clock, sleep)
    reader.start()
    try:
        yield reader
    finally:
        reader.close(10)


@contextmanager
def bridged(source: SerialSource, published: Published, **options: Any) -> Iterator[None]:
    """A headset that is read."""
    with running_reader() as reader:
        reader.add(Headset(source, publisher_of(published, "bench"), Owner(), Decoder, clock, **options))
        yield


ONLINE = {"status": StreamStatus.ONLINE, "link": Link.CONNECTED, "hint": None}


def check_sessions(published: Published) -> list[str]:
    """Numbers run from 0 without a gap in each session; returns the sessions in order."""
    sessions: dict[str, list[Reading]] = {}
    for reading in published.of(Reading):
        sessions.setdefault(reading.session, []).append(reading)
    for readings in sessions.values():
        assert [reading.seq for reading in readings] == list(range(len(readings)))
    return list(sessions)


def test_unplug_and_replug(published, plug, port):
    """The state of a lost port tells so; when it is back under its name, reading goes on in a new session."""
    first = plug(PtyLine(Random(1), port))
    with bridged(SerialSource(str(port)), published):
        published.wait_for_state(**ONLINE)
        first.unplug()
        gone = published.wait_for_state(status=StreamStatus.OFFLINE, link=Link.NO_PORT)
        assert "plug" in (gone.hint or "")
        assert Link.UNPLUGGED in {state.link for state in published.of(StreamState)}
        plug(PtyLine(Random(1), port))
        published.wait_for_state(**ONLINE)
        n = len(published.of(Reading))
        wait_for(lambda: len(published.of(Reading)) > n + 1, "readings")
    published.wait_for_state(status=StreamStatus.OFFLINE, link=Link.ENDED)
    assert len(check_sessions(published)) == 2


def test_replug_under_another_name(published, plug, tmp_path):
    """A USB port that comes back as another device is found by its place on the USB."""
    names = [tmp_path / "ttyUSB0", tmp_path / "ttyUSB1"]
    devices = [names[0]]

    def present() -> list[ListPortInfo]:
        return [listed_port(str(each), "USB Serial", 0x1A86, 0x7523, location="1-1.4") for each in devices]

    first = plug(PtyLine(Random(1), names[0]))
    with bridged(SerialSource(str(names[0]), present=present), published):
        published.wait_for_state(**ONLINE)
        devices.clear()
        first.unplug()
        published.wait_for_state(link=Link.NO_PORT)
        plug(PtyLine(Random(1), names[1]))
        devices.append(names[1])
        assert published.wait_for_state(**ONLINE).device == str(names[1])


def test_silence(published, plug, port):
    """A link that falls silent without any error is stale after 3 s, offline after 10 s, and comes back by itself."""
    headset = plug(PtyLine(Random(1), port))
    with bridged(SerialSource(str(port)), published):
        published.wait_for_state(**ONLINE)
        headset.is_silent = True
        silent = published.wait_for_state(status=StreamStatus.STALE, link=Link.SILENT)
        assert "switched on" in (silent.hint or "")
        published.wait_for_state(status=StreamStatus.OFFLINE, link=Link.SILENT)
        headset.is_silent = False
        published.wait_for_state(**ONLINE)
    check_sessions(published)


def test_wrong_speed(published, plug, port):
    """At a wrong speed no frames are found; the hint names --baud."""
    plug(PtyLine(Random(1), port), mode="normal")
    with bridged(SerialSource(str(port), baud=115200), published):
        state = published.wait_for_state(status=StreamStatus.OFFLINE, link=Link.NO_FRAMES)
        assert "--baud" in (state.hint or "")
    assert published.of(Reading) == []


@pytest.mark.parametrize("mode", SimulatedHeadset.MODES)
def test_speed_is_found(published, plug, port, mode):
    """Without --baud the right speed is found: of a headset, of a TGAM module in normal mode, of a dongle."""
    headset = plug(PtyLine(Random(1), port), mode=mode)
    with bridged(SerialSource(str(port)), published):
        published.wait_for_state(**ONLINE)
    assert bool(published.of(RawBlock)) == (mode != "normal")
    assert headset.written == (b"\xc2" if mode == "dongle" else b"")


def test_rubbish_then_headset(published, plug, port):
    """Nothing is written to a device that sends noise, and its state tells so; a headset in its place is read."""
    other = plug(PtyLine(Random(1), port))
    other.sends_noise = True
    with bridged(SerialSource(str(port)), published):
        published.wait_for_state(status=StreamStatus.OFFLINE, link=Link.NO_FRAMES)
        assert other.written == b""
        other.sends_noise = False
        published.wait_for_state(**ONLINE)


def test_dongle(published, plug, port):
    """A dongle's states are published; it is told to connect, and the headset's id becomes part of the device."""
    plug(PtyLine(Random(1), port), mode="dongle")
    with bridged(SerialSource(str(port), baud=115200), published):
        assert "headset 0606" in (published.wait_for_state(**ONLINE).device or "")
    links = [state.link for state in published.of(StreamState)]
    assert links.index(Link.STANDBY) < links.index(Link.SCANNING) < links.index(Link.CONNECTED)
    assert all(state.hint for state in published.of(StreamState) if state.link in (Link.STANDBY, Link.SCANNING))


def test_dongle_of_one_headset(published, plug, port):
    """A dongle is told to connect to the headset that was asked for, and again when it lost it."""
    headset = plug(PtyLine(Random(1), port), mode="dongle")
    with bridged(SerialSource(str(port), baud=115200), published, headset_id=b"\x06\x06"):
        published.wait_for_state(**ONLINE)
        headset.headset.receive(b"\xc1")
        published.wait_for_state(link=Link.SCANNING)
        published.wait_for_state(**ONLINE)
    assert headset.written == 2 * b"\xc0\x06\x06"


def test_switch_to_raw(published, plug, port):
    """A TGAM module at 9600 baud is switched to raw samples when that is asked for."""
    headset = plug(PtyLine(Random(1), port), mode="normal")
    with bridged(SerialSource(str(port)), published, asks_raw=True):
        wait_for(lambda: published.of(RawBlock), "raw samples", 20)
        published.wait_for_state(**ONLINE)
    assert headset.written == b"\x02"


def test_no_permission(published, plug, port):
    """A port that may not be opened names the group to join; once it may be opened, it is read."""
    plug(PtyLine(Random(1), port))
    port.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        port.parent.chmod(0o755)
        os.seteuid(65534)
    try:
        with bridged(SerialSource(str(port)), published):
            try:
                state = published.wait_for_state(status=StreamStatus.OFFLINE, link=Link.NO_PERMISSION)
                assert "dialout" in (state.hint or "")
            finally:
                if is_root:
                    os.seteuid(0)
                port.chmod(0o600)
            published.wait_for_state(**ONLINE)
    finally:
        if is_root:
            os.seteuid(0)


def test_busy_port(published, plug, port):
    """The state of a port that another program uses tells so; when that program ends, it is read."""
    plug(PtyLine(Random(1), port))
    other = SerialSource(str(port)).open(57600)
    with bridged(SerialSource(str(port)), published):
        state = published.wait_for_state(status=StreamStatus.OFFLINE, link=Link.PORT_BUSY)
        assert "ModemManager" in (state.hint or "")
        other.close()
        published.wait_for_state(**ONLINE)


def test_tcp_port(published, plug):
    """A headset behind a TCP port: not there, there, gone, there again."""
    number = free_port()
    with bridged(SerialSource(f"socket://127.0.0.1:{number}"), published):
        assert "Nothing answers" in (published.wait_for_state(link=Link.NO_PORT).hint or "")
        first = plug(TcpLine(number))
        published.wait_for_state(**ONLINE)
        first.unplug()
        published.wait_for_state(status=StreamStatus.OFFLINE, link=Link.NO_PORT)
        plug(TcpLine(number))
        published.wait_for_state(**ONLINE)
    assert len(check_sessions(published)) == 2


class Rfc2217Line(TcpLine):
    """A TCP port that speaks RFC 2217, as network serial adapters do."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._manager = PortManager(serial_for_url("loop://"), self)  # type: ignore[arg-type]

    def write(self, stream: bytes, baud: int | None = None) -> None:
        """Send a headset's bytes escaped; the protocol's own bytes, without a speed, are not."""
        super().write(stream if baud is None else b"".join(self._manager.escape(stream)), 0)

    def read(self, baud: int) -> bytes:
        return b"".join(self._manager.filter(super().read(baud)))


@pytest.mark.filterwarnings("ignore:set(Daemon|Name)")  # of pyserial 3.5
def test_network_adapter(published, plug):
    """A headset behind a network serial adapter is read at its full rate."""
    number = free_port()
    plug(Rfc2217Line(number))
    with bridged(SerialSource(f"rfc2217://127.0.0.1:{number}"), published):
        published.wait_for_state(**ONLINE)
        first = len(published.of(RawBlock))
        began_s = clock()
        wait_for(lambda: len(published.of(RawBlock)) >= first + 80, "ten seconds of raw samples", 20)
    assert clock() - began_s < 60  # at one byte a poll ten seconds of samples take 248


def test_named_pipe(published, tmp_path):
    """Bytes that a program writes into a named pipe are read as from a port."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    stream = SimulatedHeadset(1).advance(10)
    with bridged(SerialSource(str(path)), published):
        with path.open("wb") as pipe:
            pipe.write(stream)
            pipe.flush()
            published.wait_for_state(**ONLINE)
        wait_for(lambda: len(published.of(Reading)) == 10, "readings")


def test_damaged_line(published, plug, port):
    """A damaged line gives only readings that were sent."""
    plug(PtyLine(Random(1), port), damage=Damage(drop=0.01, flip=0.002), seed=3)
    sent = {reading_of(frame) for frame in second_frames(SimulatedHeadset(3).advance(120))}
    with bridged(SerialSource(str(port)), published):
        wait_for(lambda: len(published.of(Reading)) >= 20, "readings", 30)
        state = published.wait_for_state(link=Link.CONNECTED)
    received = [reading_of(reading) for reading in published.of(Reading)]
    assert set(received) <= sent
    assert state.counters["checksum_failures"] > 0


def second_frames(stream: bytes) -> list[Any]:
    decoder = Decoder()
    return [event for event in decoder.feed(stream) if hasattr(event, "rows")]


def reading_of(source: Any) -> tuple[Any, ...]:
    if isinstance(source, Reading):
        return (source.poor_signal, source.attention, source.meditation, source.delta, source.mid_gamma)
    value = {str(row.quantity): row.value for row in source.rows}
    return (value["poor_signal"], value["attention"], value["meditation"], value["bands"][0], value["bands"][7])


@contextmanager
def searching(published: Published, ports: dict[Path, ListPortInfo], names: list[str]) -> Iterator[None]:
    """A search over these ports; the headsets that it finds are read."""
    stop = threading.Event()

    def present() -> list[ListPortInfo]:
        return list(ports.values())

    def new_headset(source, source_id, probe):
        return Headset(source, publisher_of(published, source_id), Owner(), Decoder, clock, probe=probe)

    with running_reader() as reader:
        search = Search(
            reader,
            new_headset,
            publisher_of(published, "auto"),
            [*map(Owner, names), Owner()],
            set,
            PortMemory(Path("nowhere")),
            None,
            clock,
            present,
        )

        def search_until_stopped() -> None:
            while not stop.is_set():
                search.tick()
                sleep(0.1)

        thread = threading.Thread(target=search_until_stopped)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def test_search(published, plug, tmp_path):
    """The search reports that there is no port, finds two headsets by their bytes, and leaves another device alone."""
    ports: dict[Path, ListPortInfo] = {}

    def plug_in(name: str, location: str, **options: Any) -> Plugged:
        plugged: Plugged = plug(PtyLine(Random(1), tmp_path / name), **options)
        ports[tmp_path / name] = listed_port(str(tmp_path / name), "USB Serial", 0x1A86, 0x7523, location=location)
        return plugged

    with searching(published, ports, ["Ana", "Bia"]):
        assert "plug" in (published.wait_for_state(source="auto", link=Link.NO_PORT).hint or "")
        other = plug_in("ttyUSB0", "1-1")
        other.sends_noise = True
        published.wait_for_state(source="auto", link=Link.NO_FRAMES)
        plug_in("ttyUSB1", "1-2", mode="dongle")
        plug_in("ttyUSB2", "1-3", seed=2)
        for source in ("usb-1-2", "usb-1-3"):
            published.wait_for_state(source=source, **ONLINE)
        published.wait_for_state(source="auto", link=Link.ENDED)
    assert other.written == b""
    assert published.of(StreamState, "usb-1-1") == []
    names = {published.of(Reading, source)[0].name for source in ("usb-1-2", "usb-1-3")}
    assert names == {"Ana", "Bia"}
    assert published.of(Reading, "usb-1-3")[0].seq == 0


def test_a_port_is_ours_alone_while_it_is_open(tmp_path):
    """Another user's program cannot open it, and can once it is closed; a probe leaves DTR as it is."""
    line = PtyLine(Random(1))
    try:
        source = SerialSource(line.device, 57600, keeps_dtr=True)
        port = source.open(57600)
        fd = os.open(line.device, os.O_RDWR | os.O_NOCTTY)  # as root
        assert not termios.tcgetattr(fd)[2] & termios.HUPCL
        assert open_as_nobody(line.device) == "Device or resource busy"
        port.close()
        os.close(fd)
        assert open_as_nobody(line.device) == ""
    finally:
        line.close()


def open_as_nobody(device: str) -> str:
    """Open a port as another user; return the error."""
    Path(device).chmod(0o666)
    program = f"""
import os
try:
    os.setgid(65534), os.setuid(65534)
except PermissionError:
    pass
try:
    os.open({device!r}, os.O_RDWR | os.O_NOCTTY)
except OSError as error:
    print(error.strerror)
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()

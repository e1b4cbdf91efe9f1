"""The search for headsets: how often it opens a port that is not a headset's."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serial.tools.list_ports_common import ListPortInfo

from neuroone.contract.messages import Link, StreamStatus
from neuroone.service.wearers import Owner
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.ports import port
from serial_bridge.ports.memory import REST_S, PortMemory
from serial_bridge.ports.sources import SerialSource
from serial_bridge.reader import Search
from tests.support.serial_ports import listed_port

PROBE_TAKES_S = 10.5


class Bench:
    """Ports whose probes end with one verdict, a clock, and the times at which they were opened.

    ``CONNECTED`` means that a headset is there. Each run of the bridge has the same memory.
    """

    def __init__(self, verdict: Link, file: Path) -> None:
        self.verdict = verdict
        self.now_s = 0.0
        self.file = file
        self.opened_s: list[float] = []
        self.sources: list[SerialSource] = []
        self.states: list[LinkStatus] = []
        self.ports = [listed_port("/dev/ttyUSB0", "USB Serial", 0x1A86, 0x7523, location="1-1")]
        self._headsets: list[SimpleNamespace] = []
        self.start()

    def start(self) -> None:
        """Start the bridge anew."""
        publisher: Any = SimpleNamespace(published=None, publish_state=lambda *given: self.states.append(given[0]))
        reader: Any = SimpleNamespace(add=lambda headset: headset)
        new_headset: Any = self._new_headset
        memory = PortMemory(self.file, lambda: self.now_s)
        self._search = Search(
            reader, new_headset, publisher, [Owner()], set, memory, None, lambda: self.now_s, lambda: self.ports
        )

    def _new_headset(self, source: SerialSource, source_id: str, probe: Callable[[], Owner]) -> SimpleNamespace:
        self.opened_s.append(self.now_s)
        self.sources.append(source)
        status = LinkStatus(StreamStatus.OFFLINE, self.verdict, "hint")
        is_probe = self.verdict is not Link.CONNECTED
        self._headsets.append(SimpleNamespace(has_ended=False, is_probe=is_probe, link_status=status, baud=115200))
        return self._headsets[-1]

    def run(self, seconds: int, ports: list[ListPortInfo] | None = None) -> None:
        before, self.ports = self.ports, self.ports if ports is None else ports
        for _ in range(seconds):
            self.now_s += 1
            for headset, opened_s in zip(self._headsets, self.opened_s, strict=True):
                headset.has_ended = headset.is_probe and self.now_s - opened_s > PROBE_TAKES_S
            self._search.tick()
        self.ports = before


@pytest.mark.parametrize(("verdict", "least", "most"), [(Link.SILENT, 100, 150), (Link.NO_FRAMES, 3, 12)])
def test_how_often_a_port_without_a_headset_is_opened(verdict, least, most, tmp_path):
    """A silent one may be a headset that is still off; one that sends something else is left alone more and more."""
    bench = Bench(verdict, tmp_path / "ports.json")
    bench.run(3600)
    assert least <= len(bench.opened_s) <= most


def test_a_port_that_is_plugged_in_again_is_tried_at_once(tmp_path):
    bench = Bench(Link.NO_FRAMES, tmp_path / "ports.json")
    bench.run(1800)
    bench.run(3, ports=[])
    before = len(bench.opened_s)
    bench.run(2)
    assert len(bench.opened_s) == before + 1


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Link.NO_FRAMES, tmp_path / "state" / "ports.json")


def test_a_port_of_another_device_is_left_alone_in_the_next_run(bench):
    """The state tells so; the port is tried again after the time that is stated."""
    bench.run(60)
    bench.start()
    before = len(bench.opened_s)
    bench.run(int(REST_S) - 60)
    assert len(bench.opened_s) == before
    assert "plug it in" in (bench.states[-1].hint or "")
    bench.run(60)
    assert len(bench.opened_s) > before


def test_the_speed_of_a_headset_is_tried_first_in_the_next_run(bench):
    bench.verdict = Link.CONNECTED
    bench.run(5)
    bench.start()
    bench.run(1)
    assert [source.speeds for source in bench.sources] == [(57600, 115200, 9600), (115200, 57600, 9600)]


def plug_in_anew(bench: Bench) -> None:
    bench.run(2, ports=[])


def plug_in_while_the_bridge_is_off(bench: Bench) -> None:
    """Make the port's device file anew, as the system does."""
    device = Path(bench.ports[0].device)
    device.with_name("other").touch()
    device.with_name("other").replace(device)
    bench.start()


def set_the_clock_back(bench: Bench) -> None:
    bench.start()
    bench.now_s -= 1500


def plug_into_another_socket(bench: Bench) -> None:
    bench.ports = [listed_port(bench.ports[0].device, "USB Serial", 0x1A86, 0x7523, location="1-2")]
    bench.start()


def damage_the_file(bench: Bench) -> None:
    bench.file.write_bytes(bench.file.read_bytes()[:-9])
    bench.start()


@pytest.mark.parametrize(
    "change",
    [plug_in_anew, plug_in_while_the_bridge_is_off, set_the_clock_back, plug_into_another_socket, damage_the_file],
)
def test_a_headset_in_place_of_another_device_is_tried_at_once(bench, change, tmp_path):
    device = tmp_path / "ttyUSB0"
    device.touch()
    bench.ports = [listed_port(str(device), "USB Serial", 0x1A86, 0x7523, location="1-1")]
    bench.run(1800)
    before = len(bench.opened_s)
    change(bench)
    bench.run(2)
    assert len(bench.opened_s) == before + 1


EVENTS = "run", "start", "replug", "headset", "other"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 900)), max_size=4))
def test_no_history_keeps_a_headset_waiting_for_longer_than_stated(events):
    """Whatever happened before, a port is tried within ten minutes, and so is a headset on it."""
    with TemporaryDirectory() as folder:
        bench = Bench(Link.NO_FRAMES, Path(folder, "ports.json"))
        for event, seconds in events:
            if event == "start":
                bench.start()
            elif event == "replug":
                bench.run(2, ports=[])
            elif event in ("headset", "other"):
                bench.verdict = Link.CONNECTED if event == "headset" else Link.NO_FRAMES
            bench.run(seconds)
        bench.verdict = Link.CONNECTED
        bench.start()
        bench.run(int(REST_S) + 1)
        assert not bench._headsets[-1].is_probe


def test_where_dtr_can_be_left_low_every_second_try_raises_it(bench, monkeypatch):
    """Some dongles send nothing without it; where a headset was, it is raised at once."""
    monkeypatch.setattr(port, "KEEPS_DTR_LOW", True)
    bench.verdict = Link.SILENT
    bench.run(120)
    assert [source._keeps_dtr for source in bench.sources][:4] == [True, False, True, False]
    bench.verdict = Link.CONNECTED
    bench.run(60)
    bench.start()
    bench.run(1)
    assert not bench.sources[-1]._keeps_dtr


@pytest.mark.parametrize("fault", [OSError(5, "Input/output error"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd")])
def test_a_system_that_cannot_list_its_ports_is_asked_again(tmp_path, caplog, fault):
    """The search says so once and goes on, and so does the bridge with its other headsets."""

    class Unlistable(list[ListPortInfo]):
        def __iter__(self) -> Iterator[ListPortInfo]:
            raise fault

    bench = Bench(Link.SILENT, tmp_path / "memory.json")
    bench.run(5, ports=Unlistable())
    assert bench.opened_s == []
    assert bench.states[-1].link is Link.NO_PORT
    assert "cannot be searched" in str(bench.states[-1].hint)
    assert sum("cannot be searched" in record.message for record in caplog.records) == 1
    bench.run(1)
    assert len(bench.opened_s) == 1


def test_a_named_port_is_opened_although_no_list_can_be_had(monkeypatch):
    def present() -> list[ListPortInfo]:
        raise ValueError("an odd device")

    opened: list[str] = []
    monkeypatch.setattr(port, "open_port", lambda device, *_, **__: opened.append(device))
    SerialSource("/dev/ttyUSB0", present=present).open(115200)
    assert opened == ["/dev/ttyUSB0"]

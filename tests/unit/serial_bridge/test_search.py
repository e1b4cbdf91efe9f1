"""The search for headsets: how often it opens a port that is not a headset's."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from serial.tools.list_ports_common import ListPortInfo

from neuroone.contract.messages import Link, StreamStatus
from neuroone.service.wearers import Owner
from serial_bridge.link_monitor import LinkStatus
from serial_bridge.reader import Search
from tests.support.serial_ports import listed_port

PROBE_TAKES_S = 10.5


class Bench:
    """Ports whose probes end with one verdict, a clock, and the times at which they were opened."""

    def __init__(self, verdict: Link) -> None:
        self.verdict = verdict
        self.now_s = 0.0
        self.opened_s: list[float] = []
        self.ports = [listed_port("/dev/ttyUSB0", "USB Serial", 0x1A86, 0x7523, location="1-1")]
        self._headsets: list[SimpleNamespace] = []
        publisher: Any = SimpleNamespace(published=None, publish_state=lambda *_: None)
        reader: Any = SimpleNamespace(add=lambda headset: headset)
        new_headset: Any = self._new_headset
        self._search = Search(reader, new_headset, publisher, [Owner()], set, lambda: self.now_s, lambda: self.ports)

    def _new_headset(self, device: str, source_id: str, probe: Callable[[], Owner]) -> SimpleNamespace:
        self.opened_s.append(self.now_s)
        status = LinkStatus(StreamStatus.OFFLINE, self.verdict, "hint")
        self._headsets.append(SimpleNamespace(has_ended=False, is_probe=True, link_status=status))
        return self._headsets[-1]

    def run(self, seconds: int, ports: list[ListPortInfo] | None = None) -> None:
        before, self.ports = self.ports, self.ports if ports is None else ports
        for _ in range(seconds):
            self.now_s += 1
            for headset, opened_s in zip(self._headsets, self.opened_s, strict=True):
                headset.has_ended = self.now_s - opened_s > PROBE_TAKES_S
            self._search.tick()
        self.ports = before


@pytest.mark.parametrize(("verdict", "least", "most"), [(Link.SILENT, 100, 150), (Link.NO_FRAMES, 3, 12)])
def test_how_often_a_port_without_a_headset_is_opened(verdict, least, most):
    """A silent one may be a headset that is still off; one that sends something else is left alone more and more."""
    bench = Bench(verdict)
    bench.run(3600)
    assert least <= len(bench.opened_s) <= most


def test_a_port_that_is_plugged_in_again_is_tried_at_once():
    bench = Bench(Link.NO_FRAMES)
    bench.run(1800)
    bench.run(3, ports=[])
    before = len(bench.opened_s)
    bench.run(2)
    assert len(bench.opened_s) == before + 1

"""When outlets are opened and closed. What they send is read back in tests/integration/test_lsl_outlet.py."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from neuroone.contract.messages import BANDS, GroupEvent, RawBlock
from tests.support import lsl_streams
from tests.support.messages import GOLDEN

lsl_streams.library()

from neuroone.lsl.descriptions import EEG, NEUROSKY  # noqa: E402
from neuroone.lsl.outlets import (  # noqa: E402
    FROM_LSL,
    IDLE_S,
    RATE_WAIT_BLOCKS,
    RETRY_S,
    STREAMS_MAX,
    Outlets,
    stream_info,
)

ANA = "5B", "Ana"


@dataclass
class Network:
    """LSL, which has no port for an outlet while it is full."""

    now_s: float = 1000.0
    is_full: bool = False
    opened: list[tuple[str, float]] = field(default_factory=list)
    sent: int = 0

    def open(self, info: Any) -> "Network":
        """Open an outlet."""
        if self.is_full:
            raise RuntimeError("could not create stream outlet.")
        self.opened.append((info.type(), info.nominal_srate()))
        return self

    def push_chunk(self, samples: list[float], stamp_s: float) -> None:
        """Count samples."""
        self.sent += len(samples)

    def push_sample(self, sample: list[Any], stamp_s: float) -> None:
        """Count one sample."""
        self.sent += 1


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Let nothing leave this process."""
    network = Network()
    monkeypatch.setattr("neuroone.lsl.outlets.pylsl.StreamOutlet", network.open)
    return network


@pytest.fixture
def sender(network: Network) -> Outlets:
    """All outlets of a site."""
    return Outlets("lab", clock=lambda: network.now_s)


def block(n: int, rate_hz: int, measured_hz: int | None) -> RawBlock:
    """Return block number ``n`` of a headset."""
    raw = GOLDEN["raw"]
    assert isinstance(raw, RawBlock)
    return replace(raw, seq=n, first_sample=n * len(raw.samples), rate_hz=rate_hz, measured_hz=measured_hz)


def test_each_kind_has_a_stable_id_its_type_and_its_channels() -> None:
    eeg = stream_info("lab", *ANA, EEG, 256)
    assert (eeg.source_id(), eeg.type(), eeg.nominal_srate()) == ("neuroone/lab/5B/Ana/eeg", "EEG", 256.0)
    assert (eeg.get_channel_labels(), eeg.get_channel_units()) == (["Fp1"], ["microvolts"])
    second = stream_info("lab", *ANA, NEUROSKY, is_simulated=True)
    assert (second.source_id(), second.nominal_srate()) == ("neuroone/lab/5B/Ana/neurosky", 0.0)
    assert second.get_channel_labels() == ["attention", "meditation", "poor_signal", *BANDS]
    assert second.desc().child_value("simulated") == "true"


def test_samples_go_out_once_their_rate_is_measured(network: Network, sender: Outlets) -> None:
    for n, (rate_hz, measured_hz) in enumerate([(512, None), (512, None), (256, 255), (256, 255)]):
        sender.on_raw(*ANA, block(n, rate_hz, measured_hz))
    assert network.opened == [("EEG", 256.0)]
    assert network.sent == sender.counters["samples"] == 10


def test_a_sender_that_says_another_rate_with_each_block_opens_no_outlet_with_each(
    network: Network, sender: Outlets
) -> None:
    for n in range(100):
        network.now_s += 0.125
        sender.on_raw(*ANA, block(n, 512 if n % 2 else 256, 250))
    assert len(network.opened) == 2


def test_a_headset_whose_rate_cannot_be_measured_gets_the_usual_one(network: Network, sender: Outlets) -> None:
    for n in range(RATE_WAIT_BLOCKS + 1):
        sender.on_raw(*ANA, block(n, 512, None))
    assert network.opened == [("EEG", 512.0)]


def test_streams_beyond_the_limit_are_counted_and_get_the_place_of_idle_ones(network: Network, sender: Outlets) -> None:
    sender.add_group("_all")
    for n in range(STREAMS_MAX):
        sender.on_raw("5B", f"s{n}", block(0, 512, 512))
    assert (sender.streams, sender.counters["left_out"]) == (STREAMS_MAX, 1)
    network.now_s += IDLE_S + 1
    sender.close_idle()
    sender.on_raw(*ANA, block(0, 512, 512))
    assert (sender.streams, sender.counters["left_out"]) == (2, 1)  # the markers of everybody always are


def test_outlets_that_could_not_be_opened_are_tried_again(network: Network, sender: Outlets) -> None:
    event = GOLDEN["group_event"]
    assert isinstance(event, GroupEvent)
    network.is_full = True
    sender.add_group("5B")
    sender.on_raw(*ANA, block(0, 512, 512))
    assert sender.counters["failed"] == 1
    network.is_full = False
    network.now_s += RETRY_S
    sender.add_group("5B")
    sender.on_raw(*ANA, block(1, 512, 512))
    assert network.opened == [("Markers", 0.0), ("EEG", 512.0)]
    for each in (event, event, replace(event, id=f"{FROM_LSL}1")):
        sender.on_event("5B", each)
    assert sender.counters["markers"] == 1


def test_each_kind_of_warning_is_said_once(network: Network, sender: Outlets, caplog: pytest.LogCaptureFixture) -> None:
    network.is_full = True
    for _ in range(2):
        sender.on_raw(*ANA, block(0, 512, 512))
        network.now_s += RETRY_S
    for n in range(STREAMS_MAX + 2):
        sender.on_raw("5B", f"s{n}", block(0, 512, 512))
    said = [each.msg for each in caplog.records]
    assert len(said) == len(set(said)) == 2

"""Streams on the broker, seen by programs of the Lab Streaming Layer; all on this computer alone."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroone.contract import topics
from neuroone.contract.messages import MICROVOLTS_PER_COUNT, EventType, GroupEvent, RawBlock, StreamState
from neuroone.lsl.descriptions import BRIDGE_COUNTER, values
from neuroone.mqtt.threaded import ThreadedClient
from tests.support import lsl_streams
from tests.support.brokers import Broker
from tests.support.bus_listener import client_on, listening
from tests.support.messages import reading, stream_state
from tests.support.waiting import WITHIN_S, wait_for

pytestmark = pytest.mark.broker
SITE = f"test{uuid.uuid4().hex[:8]}"
"""Other tests on this computer have streams of their own, and LSL shows everybody all of them."""
ANA = SITE, "5B", "Ana"
EEG, NEUROSKY, STRAIGHT, MARKERS = (
    f"neuroone/{SITE}/{each}" for each in ("5B/Ana/eeg", "5B/Ana/neurosky", "no-group/sim/eeg", "_all/_all/markers")
)
BLOCK = timedelta(seconds=64 / 512)
RECORD = """
import os, sys, time, labrecorder, pylsl
file, source_id = sys.argv[1:]
recording = labrecorder.Recording(file, pylsl.resolve_byprop("source_id", source_id, timeout=20))
while os.path.getsize(file) < 30_000:
    time.sleep(0.05)
recording.stop()
"""
"""LabRecorder, in a process that can be killed: it waits for streams without an end. 30,000 bytes are five seconds: in
one second, a busy machine that is 14 ms late changes the rate by 7 Hz."""


class Lab:
    """A broker and what runs on it: lsl-outlet, and a bridge that sends to LSL itself."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        address = ("--site", SITE, "--broker", broker.url)
        self._words = {
            "bridge": ("serial_bridge", "run", "--port", "sim", "--lsl", *address),
            "lsl-outlet": ("lsl_outlet", *address),
        }
        self._programs = {name: lsl_streams.start(*words) for name, words in self._words.items()}

    def kill_and_start(self, part: str) -> None:
        """Kill the broker or a program, and start it again."""
        if part == "broker":
            self.broker.kill()
            self.broker.start()
            return
        self._programs[part].kill()
        self._programs[part].communicate()
        self._programs[part] = lsl_streams.start(*self._words[part])

    def end(self) -> list[int]:
        """End all programs; return their exit codes."""
        for program in self._programs.values():
            program.terminate()
        for program in self._programs.values():
            program.communicate(timeout=WITHIN_S)
        return [program.returncode for program in self._programs.values()]


@pytest.fixture(scope="module")
def lsl() -> Any:
    """LSL that does not leave this computer."""
    return lsl_streams.library()


@pytest.fixture(scope="module")
def lab(lsl: Any, one_broker: Broker) -> Iterator[Lab]:
    """Start everything once. How messages travel does not depend on the kind of broker."""
    lab = Lab(one_broker)
    yield lab
    assert lab.end() == [0, 0]


class Headset:
    """Publish what Ana's headset measures, when it is due: samples that rise by one count, a reading each second."""

    def __init__(self, client: ThreadedClient) -> None:
        self._client = client
        self._session = uuid.uuid4().hex
        self._began = datetime.now(UTC)
        self._blocks = 0
        client.publish(topics.stream_state(*ANA), stream_state(session=self._session, simulated=True))

    def send_due(self) -> None:
        """Publish what is due; drop it while the broker is away."""
        while (time := self._began + self._blocks * BLOCK) <= datetime.now(UTC):
            first = 64 * self._blocks
            if self._client.is_connected:
                block = RawBlock(
                    session=self._session,
                    seq=self._blocks,
                    time=time,
                    first_sample=first,
                    rate_hz=512,
                    samples=tuple(n % 4096 - 2048 for n in range(first, first + 64)),
                )
                self._client.publish(topics.raw(*ANA), block)
                if self._blocks % 8 == 0:
                    second = reading(session=self._session, seq=self._blocks // 8, time=time)
                    self._client.publish(topics.reading(*ANA), second)
            self._blocks += 1

    def inlets(self, lsl: Any, *source_ids: str) -> list[Any]:
        """Send until the first of these streams is there, and open them all."""

        def found() -> object:
            self.send_due()
            return lsl.resolve_byprop("source_id", source_ids[0], timeout=1.0)

        wait_for(found, f"LSL stream {source_ids[0]}")
        return [lsl_streams.inlet(each) for each in source_ids]


@pytest.fixture
def headset(lab: Lab) -> Iterator[Headset]:
    """Connect Ana's headset."""
    with client_on(lab.broker.url, "test") as client:
        yield Headset(client)


def pulled(inlet: Any, enough: int, send: Callable[[], object] = lambda: None) -> tuple[list[Any], list[float]]:
    """Pull until there are enough samples."""
    samples: list[Any] = []
    stamps: list[float] = []

    def has_enough() -> bool:
        send()
        chunk, at = inlet.pull_chunk(timeout=0.0)
        samples.extend(chunk)
        stamps.extend(at)
        return len(samples) >= enough

    wait_for(has_enough, f"{enough} samples", 30.0)
    return samples, stamps


def test_samples_and_readings_go_out_whole(headset: Headset, lsl: Any) -> None:
    eeg, neurosky = headset.inlets(lsl, EEG, NEUROSKY)
    about = eeg.info()
    assert (about.type(), about.nominal_srate(), about.channel_count()) == ("EEG", 512.0, 1)
    channel = about.desc().child("channels").child("channel")
    assert (channel.child_value("label"), channel.child_value("unit")) == ("Fp1", "microvolts")
    assert about.desc().child_value("simulated") == "true"
    samples, stamps = pulled(eeg, 512, headset.send_due)
    counts = np.round(np.array(samples).T[0] / MICROVOLTS_PER_COUNT)
    assert set(np.diff(counts) % 4096) == {1}
    assert np.diff(stamps).std() < 0.001
    (numbers, *_), _ = pulled(neurosky, 1, headset.send_due)
    assert numbers == values(reading())


def test_markers_go_out_once_and_those_of_other_programs_come_in(lab: Lab, lsl: Any) -> None:
    def event(text: str) -> GroupEvent:
        return GroupEvent(id=uuid.uuid4().hex, time=datetime.now(UTC), type=EventType.MARKER, text=text, source=None)

    topic = topics.event(SITE, "_all")
    markers, marker = lsl_streams.inlet(MARKERS), event("olhos fechados")
    with (
        listening(lab.broker.url, "listener", f"neuroone/v1/{SITE}/#") as listener,
        client_on(lab.broker.url, "test") as client,
    ):
        client.publish(topic, marker)
        client.publish(topic, marker)  # as a broker may deliver it again
        other = lsl.StreamOutlet(lsl.StreamInfo("PsychoPy", "Markers", 1, 0, "string", "psychopy"))
        wait_for(other.have_consumers, "reader of the other program's markers")
        other.push_sample(["stimulus 3"])
        where, came = listener.wait_for(GroupEvent, lambda _, event: event.text == "stimulus 3")
        assert (where["group"], came.type) == ("_all", EventType.MARKER)
        assert abs((datetime.now(UTC) - came.time).total_seconds()) < 10
        client.publish(topic, event("end"))
        texts, _ = pulled(markers, 2)
        assert texts == [["olhos fechados"], ["end"]]


def test_a_bridge_sends_its_headsets_straight_to_lsl_and_nobody_sends_them_twice(lab: Lab, lsl: Any) -> None:
    with listening(lab.broker.url, "listener", f"neuroone/v1/{SITE}/#") as listener:
        _, stamps = pulled(lsl_streams.inlet(STRAIGHT), 512)
        assert np.diff(stamps).std() < 0.001
        listener.wait_for(StreamState, lambda _, state: state.counters.get(BRIDGE_COUNTER, 0) > 0)
        lsl_streams.inlet(f"neuroone/{SITE}/no-group/_all/markers")  # lsl-outlet knows that group
        assert len(lsl.resolve_byprop("source_id", STRAIGHT, minimum=2, timeout=1.0)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="LabRecorder is installed for tests on Linux")
def test_labrecorder_writes_what_pyxdf_reads(lab: Lab, tmp_path: Path) -> None:
    pytest.importorskip("labrecorder", reason="LabRecorder has no wheel for this Python")
    pyxdf = pytest.importorskip("pyxdf")
    file = tmp_path / "lesson.xdf"
    subprocess.run([sys.executable, "-c", RECORD, file, STRAIGHT], check=True, timeout=2 * WITHIN_S)
    ((stream,), _) = pyxdf.load_xdf(str(file))
    assert stream["info"]["source_id"] == [STRAIGHT]
    assert stream["info"]["desc"][0]["channels"][0]["channel"][0]["unit"] == ["microvolts"]
    assert len(stream["time_stamps"]) > 256
    assert np.diff(stream["time_stamps"]).std() < 0.001
    assert abs(stream["info"]["effective_srate"] - 512) < 5


@pytest.mark.parametrize(
    ("part", "source_ids"),
    [("broker", (EEG, NEUROSKY)), ("lsl-outlet", (EEG, NEUROSKY)), ("bridge", (STRAIGHT,))],
)
def test_recorders_go_on_with_the_same_streams_after_an_outage(
    lab: Lab, headset: Headset, lsl: Any, part: str, source_ids: tuple[str, ...]
) -> None:
    inlets = headset.inlets(lsl, *source_ids)
    stamps = [pulled(each, 1, headset.send_due)[1] for each in inlets]
    lab.kill_and_start(part)
    again_s = lsl.local_clock()
    for inlet, before in zip(inlets, stamps, strict=True):
        while before[-1] < again_s:
            before += pulled(inlet, 1, headset.send_due)[1]
        assert before == sorted(before)

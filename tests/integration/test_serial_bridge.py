"""serial-bridge against real brokers: what it publishes of captures and of the simulated headset."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from neuroone.contract.messages import BANDS, Health, Link, RawBlock, Reading, StreamState, StreamStatus
from neuroone.up import brokers
from serial_bridge.__main__ import main
from serial_bridge.captures.files import EXAMPLE
from tests.support.brokers import Broker, free_port
from tests.support.bus_listener import Listener, listening
from tests.support.captures import BASELINE, needs_captures
from tests.support.recorder_process import RecorderProcess
from tests.support.scrapes import scrape
from tests.support.waiting import wait_for


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    with listening(broker.url) as listener:
        yield listener


def messages_of(listener: Listener, kind: type[Any], source: str) -> list[Any]:
    """The messages of one kind about one source, in order."""
    return [message for topic, message in listener.of(kind) if topic["source"] == source]


def wait_for_state(listener: Listener, source: str, **wanted: object) -> None:
    """Wait until the newest state of a source has these fields."""

    def is_so() -> bool:
        states = messages_of(listener, StreamState, source)
        return bool(states) and all(getattr(states[-1], field) == value for field, value in wanted.items())

    wait_for(is_so, f"state {wanted} of {source}")


def start(broker: Broker, *arguments: str) -> subprocess.Popen[bytes]:
    """serial-bridge as a program of its own."""
    command = [sys.executable, "-m", "serial_bridge", *arguments, "--broker", broker.url]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def stop(program: subprocess.Popen[bytes]) -> int:
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=20)
    return program.returncode


def check_numbers(readings: list[Reading], blocks: list[RawBlock]) -> None:
    """One session, numbers without a gap."""
    assert len({reading.session for reading in readings} | {block.session for block in blocks}) == 1
    assert [reading.seq for reading in readings] == list(range(len(readings)))
    assert [block.seq for block in blocks] == list(range(len(blocks)))
    first_sample = 0
    for block in blocks:
        assert block.first_sample == first_sample
        first_sample += len(block.samples)


@needs_captures
def test_capture_arrives_exactly(broker, listener):
    """A real capture, replayed fast, arrives on the topics with its exact sums, then the stream is offline."""
    assert main(["replay", str(BASELINE), "--speed", "1000", "--broker", broker.url]) == 0
    source = BASELINE.stem
    wait_for_state(listener, source, status=StreamStatus.OFFLINE, link=Link.ENDED)
    readings, blocks = messages_of(listener, Reading, source), messages_of(listener, RawBlock, source)
    samples = [sample for block in blocks for sample in block.samples]
    assert (len(samples), sum(samples), min(samples), max(samples)) == (165093, 11942641, -2048, 2047)
    assert len(readings) == 322
    expected = [2120, 21774, 16965, 39707500, 10326338, 2903539, 2257893, 2586877, 2151134, 904808, 716915]
    fields = ("poor_signal", "attention", "meditation", *BANDS)
    assert [sum(getattr(reading, field) for reading in readings) for field in fields] == expected
    check_numbers(readings, blocks)
    assert {reading.name for reading in readings} == {source}


def test_shipped_example(broker, listener):
    """The shipped capture, ten seconds, is published with a name and a code."""
    options = ["--speed", "20", "--name", "Ana Á", "--code", "Turma 1", "--source", "bench"]
    assert main(["replay", "example", *options, "--broker", broker.url]) == 0
    wait_for_state(listener, "bench", link=Link.ENDED)
    readings, blocks = messages_of(listener, Reading, "bench"), messages_of(listener, RawBlock, "bench")
    assert {(reading.name, reading.code) for reading in readings} == {("Ana Á", "Turma 1")}
    assert {topic["group"][:8] for topic, _ in listener.of(Reading)} == {"Turma-1-"}
    assert len(readings) == 10
    assert sum(len(block.samples) for block in blocks) == 5120
    check_numbers(readings, blocks)


def test_who_wears_a_headset_has_a_pseudonym_and_so_has_a_capture_of_that_name(broker, listener, tmp_path, capfd):
    """A name that is not listed is refused, in words that do not have it."""
    capture, table = tmp_path / "Ana Íris.tgcap", tmp_path / "names.csv"
    capture.write_bytes(EXAMPLE.read_bytes())
    table.write_text("name;pseudonym\nAna Íris;A01\n", encoding="utf-8")
    options = ["--speed", "1000", "--broker", broker.url, "--pseudonyms", str(table)]
    assert main(["replay", str(capture), *options]) == 0
    wait_for_state(listener, "capture-1", link=Link.ENDED)
    assert {reading.name for reading in messages_of(listener, Reading, "capture-1")} == {"A01"}
    assert not [each for each in listener.deliveries if b"Ana" in each.payload or "Ana" in each.topic]
    assert main(["replay", str(capture), *options, "--name", "Bia"]) == 2
    assert "--name: name 1 is not in the file of --pseudonyms" in (err := capfd.readouterr().err)
    assert "Bia" not in err


def test_a_capture_named_like_a_search_is_replayed(broker, listener, tmp_path, monkeypatch):
    (tmp_path / "auto").write_bytes(EXAMPLE.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["replay", "auto", "--speed", "20", "--broker", broker.url]) == 0
    wait_for_state(listener, "auto", link=Link.ENDED)
    assert {reading.name for reading in messages_of(listener, Reading, "auto")} == {"auto"}


def test_simulated_headset_until_stopped(broker, listener):
    """The simulated headset is online while it runs and offline after SIGTERM; it has no name."""
    program = start(broker, "--port", "sim")
    try:
        wait_for(lambda: len(messages_of(listener, Reading, "sim")) >= 2, "readings")
        wait_for_state(listener, "sim", status=StreamStatus.ONLINE, link=Link.CONNECTED, name=None, hint=None)
    finally:
        assert stop(program) == 0
    wait_for_state(listener, "sim", status=StreamStatus.OFFLINE)
    check_numbers(messages_of(listener, Reading, "sim"), [])


def test_search_without_ports(broker, listener):
    """Without an argument headsets are searched; the state of the search has a hint, and tells when it has ended."""
    program = start(broker, "--log-level", "debug")
    try:
        wait_for(lambda: messages_of(listener, StreamState, "auto"), "state of the search")
    finally:
        assert stop(program) == 0
    first, *_, last = messages_of(listener, StreamState, "auto")
    assert first.status is StreamStatus.OFFLINE
    assert first.hint
    assert (last.link, last.hint) == (Link.ENDED, None)


def test_health(start_broker):
    """The service's health has the totals of its headsets; two of one name are two sources."""
    broker = start_broker("nats")
    with listening(broker.url) as listener:
        program = start(broker, "--port", "sim", "--port", "sim")
        try:
            _, health = listener.wait_for(Health, lambda topic, health: health.gauges.get("online") == 2, 20)
        finally:
            assert stop(program) == 0
    assert health.counters["readings"] >= 2
    assert health.counters["checksum_failures"] == 0
    assert {topic["source"] for topic, _ in listener.of(StreamState)} == {"sim", "sim-2"}


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_raw_of_a_broker_s_outage_is_recorded(start_broker, tmp_path, kind):
    """The broker dies and comes back: readings and raw samples of the meantime are in the files, each once."""
    broker = start_broker(kind)
    recorder = RecorderProcess(broker.url, tmp_path / "data", "--raw")
    program = start(broker, "--port", "sim", "--name", "Ana")

    def samples() -> list[int]:
        numbers: list[int] = []
        for path in (tmp_path / "data").glob("sessions/*/*/raw.csv"):
            with path.open(encoding="utf-8", newline="") as file:
                numbers += [int(row["first_sample"]) for row in csv.DictReader(file) if row["check"]]
        assert numbers == sorted(set(numbers))
        return numbers

    try:
        wait_for(lambda: len(samples()) > 16, "raw samples", 40)
        broker.kill()
        gone_s, before = time.monotonic(), max(samples())
        wait_for(lambda: time.monotonic() - gone_s > 3, "three seconds", 10)
        broker.start()
        wait_for(lambda: max(samples()) > before + 512 * 6, "raw samples after the outage", 60)
        numbers = samples()
        assert numbers == list(range(numbers[0], numbers[-1] + 1, 64))
    finally:
        assert stop(program) == 0
        recorder.stop()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_next_run_clears_what_a_dead_one_left(broker, listener):
    """A stream that a killed bridge left online is offline once a bridge of that instance is back."""
    program = start(broker, "--port", "sim", "--source", "left", "--instance", "bench")
    wait_for_state(listener, "left", status=StreamStatus.ONLINE)
    program.kill()
    program.communicate()
    program = start(broker, "--port", "sim", "--source", "other", "--instance", "bench")
    try:
        wait_for_state(listener, "left", status=StreamStatus.OFFLINE)
    finally:
        stop(program)


def test_two_bridges_on_one_host(broker, listener):
    """Two bridges without --instance do not throw each other out of the broker."""
    programs = [start(broker, "--port", "sim", "--source", name) for name in ("one", "two")]
    try:
        for name in ("one", "two"):
            wait_for_state(listener, name, status=StreamStatus.ONLINE)
        assert [program.poll() for program in programs] == [None, None]
    finally:
        assert [stop(program) for program in programs] == [0, 0]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are of POSIX systems")
def test_headset_that_goes_and_comes_back(start_broker, tmp_path):
    """A headset is unplugged and plugged in again: its state tells so, and its readings go on in a new session."""
    broker, port = start_broker("nats"), str(tmp_path / "ttyBENCH")
    simulate = [sys.executable, "-m", "serial_bridge", "simulate", "--link", port]
    with listening(broker.url) as listener:
        bridge = start(broker, "--port", port, "--source", "bench")
        try:
            wait_for_state(listener, "bench", status=StreamStatus.OFFLINE, link=Link.NO_PORT)
            sessions = set()
            for _ in range(2):
                headset = subprocess.Popen(simulate, stdout=subprocess.DEVNULL)
                try:
                    wait_for_state(listener, "bench", status=StreamStatus.ONLINE, link=Link.CONNECTED)
                    sessions.add(messages_of(listener, StreamState, "bench")[-1].session)
                finally:
                    stop(headset)
                wait_for_state(listener, "bench", status=StreamStatus.OFFLINE, link=Link.NO_PORT)
            assert len(sessions) == 2
        finally:
            assert stop(bridge) == 0
    assert {reading.session for reading in messages_of(listener, Reading, "bench")} == sessions


def test_connector_program_beside_the_broker(start_broker):
    """A program made for ThinkGear Connector is served by a bridge that also publishes."""
    broker, port = start_broker("nats"), free_port()
    bridge = start(broker, "--port", "sim", "--tgc", str(port))
    try:
        wait_for(lambda: is_listening(port), "ThinkGear Connector server")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as program:
            program.sendall(b'{"enableRawOutput": false, "format": "Json"}')
            received = b""
            while b"eSense" not in received:
                received += program.recv(4096)
    finally:
        assert stop(bridge) == 0


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_bridge_is_watched_by_prometheus(start_broker: Any) -> None:
    """Its variable is not the recorder's, which may stand in the same file of settings."""
    broker, port, other = start_broker(brokers.NATS), free_port(), free_port()
    environ = {**os.environ, "NEUROONE_BRIDGE_METRICS_PORT": str(port), "NEUROONE_METRICS_PORT": str(other)}
    command = [sys.executable, "-m", "serial_bridge", "run", "--port", "sim", "--broker", broker.url]
    with subprocess.Popen(command, env=environ) as program:
        try:
            wait_for(lambda: answers(port) and scrape(port)["neuroone_bridge_readings_total"] >= 1, "a reading")
            wait_for(lambda: scrape(port)["neuroone_bridge_online"] == 1, "a report that the headset is there")
            samples = scrape(port)
            assert not answers(other)
        finally:
            program.terminate()
            assert program.wait(20) == 0
    assert samples["neuroone_broker_connected"] == 1
    assert samples["neuroone_bridge_online"] == samples["neuroone_bridge_headsets"] == 1
    assert samples["neuroone_bridge_event_loop_lag_seconds_count"] > 0
    assert samples["neuroone_bridge_raw_samples_total"] >= 512


def answers(port: int) -> bool:
    """Return True if something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""Recorder and gateway as programs, with states of other runs on the broker: wrong clocks, and living twins."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroone.contract import topics
from neuroone.contract.messages import Recorded, ServiceState, ServiceStatus
from neuroone.mqtt.presence import PROBE_ALIVE_S
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.bus_listener import Listener, client_on, listening
from tests.support.messages import reading
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
TOMORROW_S = 24 * 3600
CLOCK_AHEAD = f"""
import runpy, sys, time
real = time.time
time.time = lambda: real() + {TOMORROW_S}
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
READING = topics.reading("local", "ABC123", "Joao_Silva")
STARTS_S = 30.0


@contextlib.contextmanager
def program(broker: Broker, service: str, *words: str, clock_ahead: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A service in a process of its own, killed at the end if it still runs."""
    how = ["-c", CLOCK_AHEAD, service] if clock_ahead else ["-m", service]
    command = [sys.executable, *how, "--broker", broker.url, *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as popen:
        try:
            yield popen
        finally:
            popen.kill()


def gateway_words(instance: str) -> list[str]:
    return ["--host", LOOPBACK, "--ws-port", str(free_port()), "--instance", instance]


def births(listener: Listener, service: str) -> list[str]:
    """The runs that were said to be online by themselves, in their order; they say it twice."""
    states = [state for topic, state in listener.of(ServiceState) if topic["service"] == service]
    online = [str(state.run) for state in states if state.status is ServiceStatus.ONLINE and state.run != "tomorrow"]
    return [*dict.fromkeys(online)]


def record(broker: Broker, listener: Listener, seq: int) -> None:
    """Publish a reading, and wait until a recorder has it on disk."""
    with client_on(broker.url, "serial_bridge") as client:
        client.publish(READING, reading(seq=seq))
        listener.wait_for(Recorded, lambda topic, receipt: receipt.streams[0].seq == seq, STARTS_S)


@pytest.mark.parametrize("status", [ServiceStatus.ONLINE, ServiceStatus.OFFLINE])
def test_a_retained_state_of_tomorrow_stops_nobody(broker: Broker, tmp_path: Path, status: ServiceStatus) -> None:
    with client_on(broker.url, "peer") as peer:
        for service, instance in (("csv_recorder", "main"), ("ws_gateway", "here")):
            tomorrow = ServiceState(status=status, version="0", epoch=10**15, connection=1, run="tomorrow")
            peer.publish(topics.service_state("local", service, instance), tomorrow)
        wait_for(lambda: peer.waiting == 0, "the broker's acks")
    with (
        listening(broker.url) as listener,
        program(broker, "csv_recorder", "--dir", str(tmp_path)) as recorder,
        program(broker, "ws_gateway", *gateway_words("here")) as gateway,
    ):
        wait_for(lambda: births(listener, "ws_gateway"), "the gateway", STARTS_S)
        wait_for(lambda: births(listener, "csv_recorder"), "the recorder", STARTS_S + PROBE_ALIVE_S)
        record(broker, listener, 0)
        assert (recorder.poll(), gateway.poll()) == (None, None)


def test_a_recorder_whose_clock_was_ahead_when_it_was_killed_records_again_with_the_right_one(
    broker: Broker, tmp_path: Path
) -> None:
    with listening(broker.url) as listener:
        with program(broker, "csv_recorder", "--dir", str(tmp_path), clock_ahead=True):
            wait_for(lambda: births(listener, "csv_recorder"), "the recorder of tomorrow", STARTS_S)
        with program(broker, "csv_recorder", "--dir", str(tmp_path)) as recorder:
            wait_for(lambda: len(births(listener, "csv_recorder")) > 1, "the recorder", STARTS_S + PROBE_ALIVE_S)
            record(broker, listener, 0)
            assert recorder.poll() is None


def test_a_second_recorder_of_one_name_is_told_so_and_leaves_the_first_alone(broker: Broker, tmp_path: Path) -> None:
    with (
        listening(broker.url) as listener,
        program(broker, "csv_recorder", "--dir", str(tmp_path / "first")) as first,
    ):
        wait_for(lambda: births(listener, "csv_recorder"), "the recorder", STARTS_S)
        record(broker, listener, 0)
        with program(broker, "csv_recorder", "--dir", str(tmp_path / "second")) as second:
            record(broker, listener, 1)
            _, log = second.communicate(timeout=STARTS_S + PROBE_ALIVE_S)
        assert second.returncode == 1
        assert "another csv_recorder named main is recording on this broker (site local)" in log
        assert "give one of them another --instance" in log
        record(broker, listener, 2)
        assert first.poll() is None
        assert len(births(listener, "csv_recorder")) == 1
    assert (tmp_path / "first" / "Joao_Silva.csv").read_bytes().count(b"\n") == 4
    assert not (tmp_path / "second" / "Joao_Silva.csv").exists()


def test_of_two_gateways_of_one_name_the_older_leaves_and_the_newer_is_online(broker: Broker) -> None:
    with listening(broker.url) as listener, program(broker, "ws_gateway", *gateway_words("here")) as older:
        wait_for(lambda: births(listener, "ws_gateway"), "the older gateway", STARTS_S)
        with program(broker, "ws_gateway", *gateway_words("here")) as newer:
            _, log = older.communicate(timeout=STARTS_S)
            assert older.returncode == 1
            assert "give one of them another --instance" in log
            wait_for(lambda: len(births(listener, "ws_gateway")) == 2, "the newer gateway", STARTS_S)
            with listening(broker.url, "later") as later:
                _, state = later.wait_for(ServiceState, lambda topic, state: topic["service"] == "ws_gateway")
                assert (state.status, str(state.run)) == (ServiceStatus.ONLINE, births(listener, "ws_gateway")[-1])
            states = [state for topic, state in listener.of(ServiceState) if topic["service"] == "ws_gateway"]
            assert all(state.status is ServiceStatus.ONLINE for state in states)
            newer.send_signal(signal.SIGTERM)
            newer.communicate(timeout=20)
            assert newer.returncode == 0

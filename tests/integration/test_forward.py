"""`neuroone forward`: from a school's broker to its district's, over a line that goes away."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt import publish

from neuroone.contract import topics
from neuroone.contract.errors import SettingsError
from neuroone.contract.messages import Reading, Recorded, ServiceState, ServiceStatus, StreamState
from neuroone.contract.topics import Topic
from neuroone.doctor import forwarders, network
from neuroone.doctor.checks import BrokerAnswer
from neuroone.forward import line as line_module
from neuroone.forward import refusals
from neuroone.forward.service import Service
from neuroone.forward.settings import ForwardSettings
from neuroone.mqtt import presence, replay
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.replay import ReplayBuffer
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service.lifecycle import Stop
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.bus_listener import Listener, listening
from tests.support.messages import reading, stream_state
from tests.support.relay import Relay
from tests.support.scrapes import scrape
from tests.support.site_broker import site_broker
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
SITE = "school-a"
STUDENTS = range(5)
MORE_THAN_A_MB = 600
"""Readings of each student that do not fit into a spool of 1 MB."""
DIRECTIONS = [pytest.param("mosquitto", "nats", id="to-nats"), pytest.param("nats", "mosquitto", id="to-mosquitto")]


@contextlib.contextmanager
def program(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of ours, killed at the end if it still runs."""
    with subprocess.Popen([sys.executable, "-m", *words]) as popen:
        try:
            yield popen
        finally:
            popen.kill()


def recorder(broker: Broker, folder: Path) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """The recorder of a school or of its district."""
    return program("csv_recorder", "--broker", broker.url, "--site", SITE, "--dir", str(folder))


def forwarder(
    school: Broker, district: str, spool: Path, *words: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """The forwarder of the school."""
    to = ("--district", district, "--spool", str(spool), *words)
    return program("neuroone", "forward", "--broker", school.url, "--site", SITE, *to)


@contextlib.contextmanager
def gateway(school: Broker) -> Iterator[ThreadedClient]:
    """A service of the school that publishes readings, and keeps them until the school's recorder has them."""
    identity = Identity(SITE, "ws_gateway", "one", "0.1.0", epoch=1, run="run-1")
    bus = ThreadedClient(BrokerAddresses.parse(school.url), identity, replay=ReplayBuffer(time.monotonic))
    bus.start()
    try:
        yield bus
    finally:
        bus.close(10)


def send(bus: ThreadedClient, seqs: range) -> None:
    """Publish readings of all students that tell which they are."""
    for seq in seqs:
        for student in STUDENTS:
            said = reading(name=f"Aluno_{student}", session=f"session-{student}", seq=seq, delta=seq)
            assert bus.publish(topics.reading(SITE, "6B", f"Aluno_{student}"), said)


def recorded(folder: Path) -> list[list[int]]:
    """Return the seqs that are in each student's file."""
    return [_deltas(folder / f"Aluno_{student}.csv") for student in STUDENTS]


def _deltas(file: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(line.split(",")[2]) for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    return []


def wait_for_forwarder(on: Listener, already: int) -> int:
    """Wait until the forwarder is online on a broker once more than before; return how often it was."""

    def births() -> int:
        states = [state for topic, state in on.of(ServiceState) if topic["service"] == "forwarder"]
        return len({(each.run, each.connection) for each in states if each.status is ServiceStatus.ONLINE})

    wait_for(lambda: births() > already, "forwarder")
    return births()


@pytest.mark.parametrize(("at_school", "at_district"), DIRECTIONS)
def test_what_happens_while_the_line_is_away_arrives_once_and_in_order(
    at_school: str, at_district: str, start_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    """The school goes on alone, also when its broker and its forwarder are killed meanwhile."""
    school, district = start_broker(at_school), start_broker(at_district)
    spool, own, theirs = tmp_path / "spool", tmp_path / "school", tmp_path / "district"

    def has(folder: Path, count: int) -> Callable[[], bool]:
        return lambda: recorded(folder) == [[*range(count)]] * len(STUDENTS)

    with contextlib.ExitStack() as stack:
        line = stack.enter_context(Relay(district.port))
        to = f"mqtt://{LOOPBACK}:{line.port}"
        heard = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/#"))
        for each in (recorder(district, theirs), recorder(school, own)):
            stack.enter_context(each)
        first = stack.enter_context(forwarder(school, to, spool))
        bus = stack.enter_context(gateway(school))
        births = wait_for_forwarder(heard, 0)
        send(bus, range(10))
        wait_for(has(theirs, 10), "first readings at the district")
        line.freeze()  # neither end notices: what is sent now never arrives
        send(bus, range(10, 20))
        wait_for(has(own, 20), "readings at the school")
        line.refuse()
        school.kill()
        school.start()
        wait_for_forwarder(heard, births)
        send(bus, range(20, 30))
        wait_for(has(own, 30), "readings after the end of the school's broker")
        first.kill()
        assert has(theirs, 10)()
        second = stack.enter_context(forwarder(school, to, spool))
        line.heal()
        wait_for(has(theirs, 30), "all readings at the district")
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0


def test_what_mosquitto_had_not_saved_for_a_forwarder_that_is_off_is_sent_again(
    start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """Gateways keep it for the time between two saves, also when the school's recorder has it."""
    school, district = start_broker("mosquitto"), start_broker("nats")
    saved = next(tmp_path.rglob("mosquitto.conf")).parent / brokers.MOSQUITTO_STATE
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/#"))
        for each, folder in ((school, "school"), (district, "district")):
            stack.enter_context(recorder(each, tmp_path / folder))
        first = stack.enter_context(forwarder(school, district.url, tmp_path / "spool"))
        bus = stack.enter_context(gateway(school))
        wait_for_forwarder(heard, 0)
        send(bus, range(5))
        wait_for(lambda: recorded(tmp_path / "district") == [[*range(5)]] * len(STUDENTS), "first readings")
        first.terminate()
        assert first.wait(20) == 0
        heard.wait_for(ServiceState, is_end_of_forwarder)
        os.kill(school.pid, signal.SIGUSR1)  # Mosquitto saves, and then not again for 30 s
        wait_for(saved.exists, "saved sessions")
        send(bus, range(5, 20))
        wait_for(lambda: recorded(tmp_path / "school") == [[*range(20)]] * len(STUDENTS), "readings at the school")
        wait_for(lambda: not bus.gauges()["kept"], "receipts")
        assert bus.gauges()["unsaved"] == 15 * len(STUDENTS)
        school.kill()
        school.start()
        wait_for(lambda: bus.is_connected and not bus.waiting, "connection")
        stack.enter_context(forwarder(school, district.url, tmp_path / "spool"))
        wait_for(lambda: recorded(tmp_path / "district") == [[*range(20)]] * len(STUDENTS), "all at the district")
        assert recorded(tmp_path / "school") == [[*range(20)]] * len(STUDENTS)


def test_the_district_hears_states_events_and_the_forwarder_but_no_receipts(
    start_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    """A retained state that is taken off the school's broker is taken off the district's, too."""
    school, district = start_broker("nats"), start_broker("nats")
    with contextlib.ExitStack() as stack:
        stack.enter_context(recorder(school, tmp_path / "school"))
        here = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/#"))
        there = stack.enter_context(listening(district.url, "listener", f"neuroone/v1/{SITE}/#"))
        running = stack.enter_context(forwarder(school, district.url, tmp_path / "spool"))
        wait_for_forwarder(here, 0)
        bus = stack.enter_context(gateway(school))
        topic = topics.stream_state(SITE, "6B", "Ana")
        bus.publish(topic, stream_state(name="Ana", code="6B"))
        there.wait_for(StreamState, lambda topic, state: state.name == "Ana")
        send(bus, range(3))
        there.wait_for(Reading, lambda topic, said: said.seq == 2)
        here.wait_for(Recorded)
        publish.single(str(topic), None, qos=1, retain=True, hostname=LOOPBACK, port=school.port)
        wait_for(lambda: any(not each.payload for each in there.deliveries), "the empty state")
        services = stack.enter_context(listening(district.url, "services", f"neuroone/v1/{SITE}/services/#"))
        wait_for_forwarder(services, 0)
        running.kill()
        services.wait_for(ServiceState, is_end_of_forwarder)
        assert {topic["service"] for topic, _ in services.of(ServiceState)} == {"forwarder", "ws_gateway"}
        assert not [each for each in there.deliveries if "csv_recorder" in each.topic]


def test_a_topic_that_breaks_the_contract_keeps_nothing_else_from_the_district(
    start_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    school, district = start_broker("mosquitto"), start_broker("nats")
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/services/#"))
        stack.enter_context(recorder(district, tmp_path / "district"))
        stack.enter_context(forwarder(school, district.url, tmp_path / "spool"))
        wait_for_forwarder(here, 0)
        topic = f"neuroone/v1/{SITE}/streams/6B/Aná/reading"
        publish.single(topic, b"x", qos=1, hostname=LOOPBACK, port=school.port)
        bus = stack.enter_context(gateway(school))
        send(bus, range(3))
        wait_for(lambda: recorded(tmp_path / "district") == [[*range(3)]] * len(STUDENTS), "readings at the district")


@contextlib.contextmanager
def forwarder_here(school: Broker, district: str, spool: Path) -> Iterator[Service]:
    """The forwarder of the school in this process, so that a test may change how long it waits."""
    stop, made = Stop(), queue.SimpleQueue[Service]()
    to, at = BrokerAddresses.parse(district), BrokerAddresses.parse(school.url)
    given = ForwardSettings(site=SITE, broker=at, district=to, spool=spool, watchdog_s=0)

    def run() -> None:
        made.put(service := Service(given, stop))  # in this thread, to which its database belongs
        service.run()

    thread = threading.Thread(target=run)
    thread.start()
    service = made.get(timeout=20)
    try:
        yield service
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def doctors_code(on: Listener) -> str:
    """Return what the doctor finds about the forwarder by what has come from the school's broker."""
    received = network.Received(BrokerAnswer(""))
    for each in list(on.deliveries):
        received.on_delivery(each, time.time())
    (finding,) = forwarders.forwarders(received.instances)
    return finding.code


@pytest.fixture
def frequent_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a forwarder in this process publish its health twice a second."""
    for name in ("HEALTH_PERIOD_S", "HEARTBEAT_PERIOD_S"):
        monkeypatch.setattr(presence, name, 0.5)


def faults_of_forwarder(on: Listener) -> list[str | None]:
    """Return what the forwarder's states have said of faults so far."""
    return [state.fault for topic, state in on.of(ServiceState) if topic["service"] == "forwarder"]


def test_states_that_the_district_refuses_are_left_out_and_said_and_readings_arrive(
    start_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mosquitto 2.0 ends the connection at each refusal."""
    monkeypatch.setattr(refusals, "TRIES_MAX", 2)
    acl = tmp_path / "acl"
    allowed = ["read neuroone/v1/#", "write neuroone/v1/+/streams/+/+/reading", "write neuroone/v1/+/services/#"]
    acl.write_text("".join(f"topic {each}\n" for each in allowed))
    acl.chmod(0o644)
    school, district = start_broker("nats"), start_broker("mosquitto", f"acl_file {acl}")
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/services/#"))
        stack.enter_context(recorder(district, tmp_path / "district"))
        service = stack.enter_context(forwarder_here(school, district.url, tmp_path / "spool"))
        wait_for_forwarder(here, 0)
        bus = stack.enter_context(gateway(school))
        for name in ("Ana", "Bia"):
            bus.publish(topics.stream_state(SITE, "6B", name), stream_state(name=name, code="6B"))
        send(bus, range(3))
        wait_for(lambda: recorded(tmp_path / "district") == [[*range(3)]] * len(STUDENTS), "readings at the district")
        words = "the district's broker refuses streams/{group}/{source}/state (Not authorized (0x87))"
        wait_for(lambda: words in faults_of_forwarder(here), "words")
        wait_for(lambda: not service._spool.length, "an empty spool")
        counters = service._health().counters
        assert (counters["refused"], counters["given_up"]) == (2, 2)


def nats_that_denies(start_broker: Callable[..., Broker], denied: str) -> tuple[Broker, str]:
    """Start a district's NATS that denies its school something without a word; return it and the school's address."""
    users = f'[{{ user: "site-{SITE}", password: "secret", {denied} }}, {{ user: "free", password: "x" }}]'
    district = start_broker("nats", f"authorization {{ users: {users} }}", 'no_auth_user: "free"')
    return district, f"mqtt://site-{SITE}:secret@{LOOPBACK}:{district.port}"


@pytest.mark.usefixtures("frequent_health")
def test_what_a_login_may_not_publish_stays_in_the_spool_until_it_may(
    start_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NATS acknowledges it and drops it."""
    monkeypatch.setattr(line_module, "AWAY_S", 1.0)
    denied = 'permissions: { publish: { deny: [">"] } }'
    school = start_broker("mosquitto")
    district, url = nats_that_denies(start_broker, denied)
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/services/#"))
        stack.enter_context(recorder(district, tmp_path / "district"))
        service = stack.enter_context(forwarder_here(school, url, tmp_path / "spool"))
        wait_for_forwarder(here, 0)
        bus = stack.enter_context(gateway(school))
        send(bus, range(3))
        wait_for(lambda: line_module.NO_ECHO in faults_of_forwarder(here), "words")
        wait_for(lambda: doctors_code(here) == "forwarder_refused", "finding of the doctor")
        district.stop()
        configuration = next(tmp_path.rglob("nats.conf"))
        configuration.write_text(configuration.read_text().replace(denied, ""))
        district.start()
        wait_for(lambda: recorded(tmp_path / "district") == [[*range(3)]] * len(STUDENTS), "readings at the district")
        wait_for(lambda: not service._spool.length, "an empty spool")
        wait_for(lambda: faults_of_forwarder(here)[-1] is None, "no fault")
        wait_for(lambda: doctors_code(here) == "forwarder_ok", "finding of the doctor")
        district.stop()
        wait_for(lambda: doctors_code(here) == "forwarder_away", "finding of the doctor")
    assert doctors_code(here) == "forwarder_offline"


@pytest.mark.usefixtures("frequent_health")
def test_readings_that_the_districts_recorder_does_not_get_are_said(
    start_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that may publish states and no readings: NATS acknowledges both."""
    monkeypatch.setattr(replay, "KEPT_MAX_S", 1.0)
    denied = 'permissions: { publish: { deny: ["neuroone.v1.*.streams.>"] } }'
    school = start_broker("mosquitto")
    district, url = nats_that_denies(start_broker, denied)
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/services/#"))
        there = stack.enter_context(listening(district.url, "listener", f"neuroone/v1/{SITE}/services/#"))
        stack.enter_context(recorder(district, tmp_path / "district"))
        there.wait_for(ServiceState, lambda topic, state: topic["service"] == "csv_recorder")
        stack.enter_context(forwarder_here(school, url, tmp_path / "spool"))
        wait_for_forwarder(here, 0)
        send(stack.enter_context(gateway(school)), range(3))
        wait_for(lambda: line_module.NOT_RECORDED in faults_of_forwarder(here), "words")
        wait_for(lambda: doctors_code(here) == "forwarder_unrecorded", "finding of the doctor")


@pytest.mark.usefixtures("frequent_health")
@pytest.mark.parametrize("kind", brokers.KINDS)
def test_a_login_that_the_district_refuses_is_said(
    kind: str, start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    school = start_broker("nats")
    with contextlib.ExitStack() as stack:
        access = stack.enter_context(site_broker(kind, tmp_path))
        url = f"mqtt://site-{SITE}:wrong@{LOOPBACK}:{access.port}"
        here = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/services/#"))
        stack.enter_context(forwarder_here(school, url, tmp_path / "spool"))
        wait_for(lambda: line_module.LOGIN in faults_of_forwarder(here), "words")
        wait_for(lambda: doctors_code(here) == "forwarder_login", "finding of the doctor")


@pytest.mark.parametrize("at_school", brokers.KINDS)
def test_a_full_spool_leaves_the_rest_to_the_broker(
    at_school: str, start_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    """And takes it from there once there is room."""
    school, district = start_broker(at_school), start_broker("nats")
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(Relay(district.port))
        heard = stack.enter_context(listening(school.url, "listener", f"neuroone/v1/{SITE}/services/#"))
        stack.enter_context(recorder(district, tmp_path / "district"))
        to, port = f"mqtt://{LOOPBACK}:{line.port}", free_port()
        words = ("--spool-mb", "1", "--metrics-port", str(port))
        stack.enter_context(forwarder(school, to, tmp_path / "spool", *words))
        wait_for_forwarder(heard, 0)

        def shown(name: str) -> float:
            return scrape(port)[f"neuroone_forwarder_{name}"]

        wait_for(lambda: shown("district_connected") == 1, "connection")
        line.refuse()
        bus = stack.enter_context(gateway(school))
        send(bus, range(MORE_THAN_A_MB))
        heard.wait_for(ServiceState, lambda topic, state: "the spool is full" in (state.fault or ""))
        wait_for(lambda: not bus.waiting, "acks of the school's broker")
        wait_for(lambda: shown("spool_full") == 1 and not shown("district_connected"), "metrics")
        assert shown("spool_bytes") >= 1_000_000
        assert shown("spooled_total") >= shown("spool") > 0
        assert shown("oldest_waiting_age_seconds") > 0
        line.heal()
        wanted = [[*range(MORE_THAN_A_MB)]] * len(STUDENTS)
        wait_for(lambda: recorded(tmp_path / "district") == wanted, "all readings at the district", 40)
        wait_for(lambda: shown("spool") == shown("spool_full") == 0, "metrics of an empty spool")
        wait_for(lambda: shown("forwarded_total") == shown("spooled_total"), "counts")


def test_the_documented_bridge_of_mosquitto_brings_what_a_district_needs(
    start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """To NATS, over a line that goes away, in order; no receipts."""
    text = (Path(__file__).parents[2] / "docs/how-to/district.md").read_text(encoding="utf-8")
    block = text.partition("```conf\n")[2].partition("```")[0]
    lines = [
        each for each in block.splitlines() if not each.startswith(("bridge_cafile", "remote_user", "remote_pass"))
    ]
    district = start_broker("nats")
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(Relay(district.port))
        lines = [each.replace("district.example:8883", f"{LOOPBACK}:{line.port}") for each in lines]
        there = stack.enter_context(listening(district.url, "listener", f"neuroone/v1/{SITE}/#"))
        school = start_broker("mosquitto", *(each.replace("timeout 1 30", "timeout 1 1") for each in lines))
        stack.enter_context(recorder(school, tmp_path / "school"))
        bus = stack.enter_context(gateway(school))
        there.wait_for(ServiceState, lambda topic, state: topic["service"] == "ws_gateway")
        line.refuse()
        send(bus, range(5))
        bus.publish(topics.stream_state(SITE, "6B", "Ana"), stream_state(name="Ana", code="6B"))
        wait_for(lambda: recorded(tmp_path / "school") == [[*range(5)]] * len(STUDENTS), "readings at the school")
        line.heal()
        there.wait_for(StreamState, lambda topic, state: state.name == "Ana")
        seqs = [said.seq for topic, said in there.of(Reading) if topic["source"] == "Aluno_0"]
        assert list(dict.fromkeys(seqs)) == [*range(5)]  # a gateway repeats what it has for a recorder that is new
        assert not [each for each in there.deliveries if "csv_recorder" in each.topic]


def is_end_of_forwarder(topic: Topic, state: ServiceState) -> bool:
    """Return True for the Last Will of a forwarder."""
    return topic["service"] == "forwarder" and state.status is ServiceStatus.OFFLINE


def test_the_login_of_another_school_is_refused() -> None:
    """NATS would acknowledge all that it may not say, and the spool would be emptied for nobody."""
    given = ForwardSettings(site=SITE, district=BrokerAddresses.parse("mqtt://site-school-b:secret@127.0.0.1:1"))
    with pytest.raises(SettingsError, match="is the login of school-b, and --site is school-a"):
        given.check()

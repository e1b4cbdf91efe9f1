"""The Bus against real brokers."""

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from neuroone.contract import topics
from neuroone.contract.checks import replace
from neuroone.contract.errors import NeuroOneError
from neuroone.contract.messages import Health, Reading, ServiceState, ServiceStatus, StreamState, StreamStatus
from neuroone.mqtt import outbox
from neuroone.mqtt.address import BrokerAddress, BrokerAddresses
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.presence import HealthReport, Replaced
from neuroone.mqtt.threaded import ThreadedClient
from neuroone.up import brokers
from tests.support.brokers import Broker, free_port
from tests.support.bus_listener import identity, listening
from tests.support.messages import reading, stream_state
from tests.support.waiting import wait_for

pytestmark = pytest.mark.broker
READINGS = topics.reading("local", "ABC123", "Joao_Silva")
STATE = topics.stream_state("local", "ABC123", "Joao_Silva")


@contextmanager
def bus_on(url: str, service: str = "ws_gateway", **keys: object) -> Iterator[ThreadedClient]:
    """A started bus that is closed at the end."""
    bus = ThreadedClient(BrokerAddresses.parse(url), identity(service), **keys)  # type: ignore[arg-type]
    bus.start()
    try:
        yield bus
    finally:
        bus.close()


def test_readings_arrive_in_order_and_are_acknowledged(broker: Broker) -> None:
    """Each is acknowledged once, and a subscriber has them all as they were sent."""
    acks: list[int] = []
    with listening(broker.url) as listener, bus_on(broker.url) as bus:
        for seq in range(500):
            assert bus.publish(READINGS, reading(seq=seq), lambda seq=seq: acks.append(seq))  # type: ignore[misc]
        wait_for(lambda: len(listener.of(Reading)) == 500 and len(acks) == 500, "500 readings and acks")
        assert [message.seq for _, message in listener.of(Reading)] == list(range(500)) == sorted(acks)
        assert bus.waiting == 0


def test_mqtt_5_where_it_is_spoken_and_3_1_1_otherwise(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """The version is found out, not configured."""
    with caplog.at_level("INFO"), bus_on(broker.url) as bus:
        wait_for(lambda: bus.is_connected, "connection", 10)
    assert f"with MQTT {'5' if broker.speaks_mqtt5 else '3.1.1'}" in caplog.text


def test_birth_goodbye_and_last_will(broker: Broker) -> None:
    """Online at connect, offline at close, offline from the broker when the service is cut off; all retained."""
    with listening(broker.url) as listener:

        def says(status: ServiceStatus) -> Callable[[topics.Topic, ServiceState], bool]:
            return lambda topic, state: topic["service"] == "ws_gateway" and state.status is status

        with bus_on(broker.url):
            listener.wait_for(ServiceState, says(ServiceStatus.ONLINE))
        listener.wait_for(ServiceState, says(ServiceStatus.OFFLINE))
    with listening(broker.url, "later") as later:
        later.wait_for(ServiceState, says(ServiceStatus.OFFLINE))
        assert any(each.retained for each in later.deliveries)
        with cut_off_service(broker) as births:
            later.wait_for(ServiceState, lambda topic, state: topic["service"] == "cut" and births(state))
        _, will = later.wait_for(
            ServiceState, lambda topic, state: topic["service"] == "cut" and state.status is ServiceStatus.OFFLINE
        )
        assert will.connection >= 1


@contextmanager
def cut_off_service(broker: Broker) -> Iterator[Callable[[ServiceState], bool]]:
    """A service whose connection goes through a relay that is cut at the end, without a goodbye."""
    with relay_to(broker.port) as (port, cut):
        bus = ThreadedClient([BrokerAddress("127.0.0.1", port)], identity("cut"))
        bus.start()
        try:
            yield lambda state: state.status is ServiceStatus.ONLINE
            cut()
        finally:
            bus.close(timeout_s=0.1)


@contextmanager
def relay_to(target: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """A TCP relay on a free port; the callable cuts all its connections and takes no more."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def serve() -> None:
        while True:
            try:
                inner, _ = listener.accept()
            except OSError:
                return
            outer = socket.create_connection(("127.0.0.1", target))
            ends.extend((inner, outer))
            for pair in ((inner, outer), (outer, inner)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    def cut() -> None:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        ends.clear()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield listener.getsockname()[1], cut
    finally:
        cut()
        server.join(5)


def test_a_killed_broker_costs_no_reading_and_retained_states_come_back(broker: Broker, tmp_path: Path) -> None:
    """Readings wait while it is away, in order; states are published again with their newest value."""
    with bus_on(broker.url) as bus:
        wait_for(lambda: bus.is_connected, "connection", 10)
        bus.publish(STATE, stream_state())
        broker.kill()
        wait_for(lambda: not bus.is_connected, "loss of the broker")
        bus.publish(STATE, stream_state(status=StreamStatus.STALE))
        for seq in range(50):
            assert bus.publish(READINGS, reading(seq=seq))
        assert bus.waiting >= 50
        broker.start()
        with listening(broker.url) as listener:
            wait_for(lambda: bus.is_connected, "connection", 20)
            wait_for(lambda: bus.waiting == 0, "acks of all readings", 20)
            _, state = listener.wait_for(StreamState)
            assert state.status is StreamStatus.STALE
        bus.publish(READINGS, reading(seq=50))


def seqs(deliveries: list[Delivery]) -> list[int]:
    """The seq of each reading among the deliveries."""
    opened = [each.open()[1] for each in list(deliveries)]
    return [each.seq for each in opened if isinstance(each, Reading)]


def test_the_bounds_of_the_outbox_are_said(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit while the broker is away is refused and counted; QoS 0 is not kept at all."""
    monkeypatch.setattr(outbox, "OUTBOX_MAX_MESSAGES", 2)
    broker.stop()
    with bus_on(broker.url) as bus:
        answers = [bus.publish(READINGS, reading(seq=seq)) for seq in range(3)]
        assert answers == [True, True, False]
        assert bus.counters["dropped"] == 1
        assert not bus.close(timeout_s=0.1)


def test_health_is_published_and_the_file_touched(broker: Broker, tmp_path: Path) -> None:
    """Also what the service itself has to say."""
    file = tmp_path / "health"
    vitals = lambda: HealthReport({"rows": 3}, {"open_files": 1})  # noqa: E731
    with listening(broker.url) as listener, bus_on(broker.url, health=vitals, health_file=file):
        _, health = listener.wait_for(Health, lambda topic, health: topic["service"] == "ws_gateway")
        assert health.counters["rows"] == 3
        assert health.gauges["open_files"] == 1
        assert file.exists()


def test_a_late_will_is_overruled(broker: Broker) -> None:
    """An offline state of an earlier connection makes the service say again that it is there."""
    with listening(broker.url) as listener, bus_on(broker.url) as bus, bus_on(broker.url, "test_intruder") as intruder:
        topic, birth = listener.wait_for(ServiceState, lambda topic, state: topic["service"] == "ws_gateway")
        wait_for(lambda: bus.is_connected, "connection", 10)
        will = replace(birth, status=ServiceStatus.OFFLINE, epoch=birth.epoch - 1)

        def said() -> list[ServiceState]:
            return [state for of, state in listener.of(ServiceState) if of == topic]

        intruder.publish(topic, will)
        wait_for(lambda: will in said() and said()[-1] == birth, "the will and the answer to it")


def test_the_same_client_id_twice_is_an_error_that_says_so(broker: Broker) -> None:
    """The one that was thrown out sees the other when it comes back, and gives up."""
    errors: list[NeuroOneError] = []
    with bus_on(broker.url, on_fatal=errors.append) as first:
        wait_for(lambda: first.is_connected, "connection", 10)
        with bus_on(broker.url) as second:
            wait_for(lambda: errors, "the news that another took its place")
            wait_for(lambda: second.is_connected, "connection", 10)
    assert isinstance(errors[0], Replaced)
    assert "--instance" in str(errors[0])


def test_a_fault_in_a_callback_does_not_end_the_connection(broker: Broker) -> None:
    """It is counted and logged; the next delivery comes."""
    seen: list[Delivery] = []

    def fail_once(delivery: Delivery) -> None:
        seen.append(delivery)
        if len(seen) == 1:
            raise RuntimeError("a fault of ours")

    subscriptions = {topics.every(topics.READING, "local"): 1}
    with bus_on(broker.url, subscriptions=subscriptions, on_delivery=fail_once) as bus:
        wait_for(lambda: bus.is_connected, "connection", 10)
        for seq in range(2):
            bus.publish(READINGS, reading(seq=seq))
        wait_for(lambda: len(seqs(seen)) == 2, "both readings")
        assert bus.counters["callback_errors"] == 1


@pytest.mark.parametrize("callback", ["health", "has_room", "on_link"])
def test_a_fault_of_ours_ends_the_service(broker: Broker, caplog: pytest.LogCaptureFixture, callback: str) -> None:
    """Its thread does not die in silence."""
    errors: list[NeuroOneError] = []

    def fail(*arguments: object) -> HealthReport:
        raise RuntimeError("a fault of ours")

    with bus_on(broker.url, "ws_gateway", on_fatal=errors.append, **{callback: fail}) as bus:
        wait_for(lambda: errors, "the end of the service")
        assert bus.counters["faults"] == 1
    assert "a fault of ours" in str(errors[0])
    assert caplog.text.count("Traceback") == 1


def test_a_fault_while_sending_ends_the_service(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    faults: list[NeuroOneError] = []
    with bus_on(broker.url, on_fatal=faults.append) as bus:
        wait_for(lambda: bus.is_connected, "connection", 10)
        bus.subscribe("x" * 70_000, 0)  # longer than MQTT can carry
        wait_for(lambda: faults, "the end of the service")
        assert bus.counters["faults"] == 1
    assert "Traceback" in caplog.text


def test_closing_without_a_broker_is_quick_and_honest() -> None:
    """What could not be handed over is said."""
    bus = ThreadedClient([BrokerAddress("127.0.0.1", free_port())], identity("ws_gateway"))
    bus.start()
    bus.publish(READINGS, reading())
    assert bus.close(timeout_s=0.2) is False


def test_a_server_that_is_no_broker_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """One that takes the connection and says nothing, or rubbish, does not hold the service up."""
    with socket.create_server(("127.0.0.1", 0)) as mute, mute_server(mute):
        bus = ThreadedClient([BrokerAddress("127.0.0.1", mute.getsockname()[1])], identity("ws_gateway"))
        bus.start()
        wait_for(lambda: "no broker at" in caplog.text, "failed try")
        assert not bus.is_connected
        assert bus.close(timeout_s=0.1)


def test_a_broker_that_hangs_up_on_mqtt_5_is_spoken_to_in_3_1_1() -> None:
    """Some old brokers do so instead of answering; there is none to be had here, so this one is made of a socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener, old_broker(listener):
        bus = ThreadedClient([BrokerAddress("127.0.0.1", listener.getsockname()[1])], identity("ws_gateway"))
        bus.start()
        wait_for(lambda: bus.is_connected, "connection", 10)
        bus.close(timeout_s=0.1)


@contextmanager
def old_broker(listener: socket.socket) -> Iterator[None]:
    """Accept connections of MQTT 3.1.1, the level in the ninth byte of a CONNECT, and hang up on any other."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    if b"\x00\x04MQTT\x04" in connection.recv(4096):
                        connection.sendall(b"\x20\x02\x00\x00")
                        while connection.recv(4096):
                            pass

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    server.join(10)


@contextmanager
def mute_server(listener: socket.socket) -> Iterator[None]:
    """Answer each connection with bytes that are no MQTT."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()
            except OSError:
                return

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    server.join(5)


@contextmanager
def secured_mosquitto(folder: Path) -> Iterator[tuple[str, Path]]:
    """A Mosquitto with TLS and a login: its address with the login, and the authority to trust."""
    program = brokers.find(brokers.MOSQUITTO)
    passwords = shutil.which("mosquitto_passwd")
    if program is None or passwords is None:
        pytest.skip("Mosquitto is not installed on this machine, and NATS is started without TLS")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    subprocess.run([passwords, "-b", "-c", folder / "passwords", "ana", "se gredo"], check=True)
    port = free_port()
    (folder / "mosquitto.conf").write_text(
        f"user root\nlistener {port} 127.0.0.1\ncertfile {folder}/cert.pem\nkeyfile {folder}/key.pem\n"
        f"allow_anonymous false\npassword_file {folder}/passwords\n",
        encoding="utf-8",
    )
    with subprocess.Popen([program.path, "-c", folder / "mosquitto.conf"]) as running:
        try:
            wait_for(lambda: answers_tcp(port), "Mosquitto's listener")
            yield f"mqtts://ana:se%20gredo@localhost:{port}", folder / "ca.pem"
        finally:
            running.terminate()


def answers_tcp(port: int) -> bool:
    """Whether something listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


# paho drops a socket whose TLS handshake failed without closing it; the interpreter closes it at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_and_login(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the authority and the password readings get through; without, the log says why, and no secret."""
    with secured_mosquitto(tmp_path) as (url, authority):
        with bus_on(url, ca_file=authority) as bus:
            for seq in range(100):
                bus.publish(READINGS, reading(seq=seq))
            wait_for(lambda: bus.is_connected and bus.waiting == 0, "acks over TLS")
        with bus_on(url.replace("gredo", "grado"), ca_file=authority):
            wait_for(lambda: "it refuses us: Not authorized" in caplog.text, "the refusal in the log")
        with bus_on(url):
            wait_for(lambda: "certificate verify failed" in caplog.text, "the fault of the certificate in the log")
        assert "grado" not in caplog.text
        assert "gredo" not in caplog.text

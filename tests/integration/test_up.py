"""Tests of `neuroone up` as its user runs it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from neuroone.contract import hints
from neuroone.contract.messages import Reading, ServiceState, ServiceStatus, StreamState, StreamStatus
from neuroone.up import brokers
from tests.support.brokers import Broker, free_port
from tests.support.bus_listener import listening
from tests.support.up_process import STOP_S, running_up
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

STUDENT = (
    '{"Codigo":"ABC123","Nome":"Joao_Silva","Att":85,"Med":72,"Delta":123456,"Theta":234567,"LowAlpha":345678,'
    '"HighAlpha":456789,"LowBeta":567890,"HighBeta":678901,"LowGamma":789012,"MiddleGamma":890123}'
)
"""What the seed's JavaScript example sends."""
Transport = Literal["tcp", "websockets"]
CSV = (
    b"Att,Med,Delta,Theta,LowAlpha,HighAlpha,LowBeta,HighBeta,LowGamma,MiddleGamma\n"
    b"85,72,123456,234567,345678,456789,567890,678901,789012,890123\n"
)
TEN_KEYS = ["Att", "Med", "Delta", "Theta", "LowAlpha", "HighAlpha", "LowBeta", "HighBeta", "LowGamma", "MiddleGamma"]


def kinds_here() -> list[Any]:
    """Return both brokers as parameters; skip one that is not installed."""
    return [
        pytest.param(
            kind,
            marks=pytest.mark.skipif(brokers.find(kind) is None, reason=f"{kind} is not installed on this machine"),
        )
        for kind in brokers.KINDS
    ]


@pytest.mark.parametrize("kind", kinds_here())
def test_students_dashboards_and_listeners_work_until_ctrl_c(tmp_path: Path, kind: str) -> None:
    """An old student, an old dashboard, a silent listener and a third party, on one machine."""
    began_s = time.monotonic()
    with running_up(tmp_path / "D", "--port", "sim", "--broker-program", kind) as up:
        assert up.banner[0] == "=== Servidor WebSocket Headless ==="
        assert up.banner[1].startswith("IP Local: ")
        assert up.banner[2] == f"Porta: {up.ws_port}"
        assert up.banner[3].startswith("URL WebSocket: ws://")
        assert up.banner[3].endswith(f":{up.ws_port}")
        assert up.banner[4] == up.banner[3].replace("URL WebSocket:", "URL WebSocket (público):")
        assert not any("0.0.0.0" in line for line in up.banner)
        table = up.read_until("serial_bridge")
        assert [line.split()[:2] for line in table[2:]] == [
            [name, "running"] for name in ("broker", "csv_recorder", "ws_gateway", "serial_bridge")
        ]
        assert f"CSV files: {tmp_path / 'D'}" in up.banner
        print(f"ready after {time.monotonic() - began_s:.1f} s with {kind}")
        with listening(up.mqtt_url) as third_party, up.connect() as dashboard, up.connect() as silent:
            dashboard.send("dash")
            assert dashboard.ping().wait(10)
            with up.connect() as student:
                student.send(STUDENT)
                frame = json.loads(dashboard.recv(10))
                while list(frame) == TEN_KEYS:  # it was silent until its "dash" was read
                    frame = json.loads(dashboard.recv(10))
                assert frame == {"ID": 1, "Nome": "Joao_Silva", "Codigo": "ABC123", "Att": 85, "Med": 72}
                file = tmp_path / "D" / "Joao_Silva.csv"
                wait_for(lambda: file.exists() and file.read_bytes() == CSV, "the seed's file")
            demo = tmp_path / "D" / "Demo.csv"
            assert f"Simulated headset: {demo}" in up.banner
            wait_for(lambda: demo.exists() and demo.read_bytes().count(b"\n") >= 2, "the simulated headset's file", 20)
            assert list(json.loads(silent.recv(10))) == list(json.loads(silent.recv(10))) == TEN_KEYS
            assert {reading.simulated for topic, reading in third_party.of(Reading) if topic["source"] == "sim"} == {
                True
            }
            assert {state.simulated for topic, state in third_party.of(StreamState) if topic["source"] == "sim"} == {
                True
            }
            topics = {delivery.topic for delivery in third_party.deliveries}
            assert {
                "neuroone/v1/local/streams/ABC123/Joao_Silva/reading",
                "neuroone/v1/local/streams/ABC123/Joao_Silva/state",
                "neuroone/v1/local/streams/no-group/sim/reading",
                "neuroone/v1/local/streams/no-group/sim/raw",
            } <= topics
        family = up.family()
        assert len(family) >= 4
        up.popen.send_signal(signal.SIGINT)
        assert up.popen.wait(STOP_S) == 0
        assert not [each for each in family if each.is_running()]
        assert file.read_bytes() == CSV


def test_a_server_for_others_requires_a_token(tmp_path: Path) -> None:
    """It is printed with the dashboard's address and stays the same; students need none."""
    queries = []
    for _ in range(2):
        with running_up(tmp_path, "--host", "0.0.0.0", "--port", "sim", "--no-open-here") as up:
            queries.append(up.dashboard_query)
            assert any("--open-dashboards" in line for line in up.banner)
            with up.connect() as stranger:
                stranger.send("dash")
                said = json.loads(stranger.recv(10))["error"]
                assert said["code"] == "no_token"
                assert "--open-dashboards" in said["message"]
                with pytest.raises(ConnectionClosed):
                    stranger.recv(10)
                assert stranger.close_code == 1008
            token = up.dashboard_query.replace("#", "?")
            with up.connect(token) as dashboard, up.connect() as student:
                dashboard.send("dash")
                assert dashboard.ping().wait(10)
                student.send(STUDENT)
                assert json.loads(dashboard.recv(10))["Nome"] == "Joao_Silva"
            games = next(line for line in up.banner if line.startswith("Games: ws://"))
            assert games[games.index("?token=") :] != token
            with up.connect(games[games.index("?token=") :]) as game, up.connect() as silent:
                assert list(json.loads(game.recv(10))) == TEN_KEYS
                with pytest.raises(TimeoutError):
                    silent.recv(0.1)
    file = tmp_path / ".token"
    assert queries == [f"#token={file.read_text(encoding='ascii').strip()}"] * 2
    for each in (file, tmp_path / ".token.list"):
        assert each.stat().st_mode & 0o077 == 0


def test_a_server_for_this_machine_alone_is_open_to_its_own_programs(tmp_path: Path) -> None:
    """Nobody else can reach it, so it prints no token; pages of other sites, which are open here, would need one."""
    with running_up(tmp_path, "--host", "127.0.0.1") as up:
        assert f"Dashboard: http://127.0.0.1:{up.ws_port}/" in up.banner
        with up.connect() as dashboard, up.connect() as student:
            dashboard.send("dash")
            assert dashboard.ping().wait(10)
            student.send(STUDENT)
            assert json.loads(dashboard.recv(10))["Nome"] == "Joao_Silva"
        with connect(f"ws://127.0.0.1:{up.ws_port}", origin=Origin("http://evil.example"), proxy=None) as page:
            page.send("dash")
            assert json.loads(page.recv(10))["error"]["code"] == "no_token"
        assert (tmp_path / ".token").stat().st_mode & 0o077 == 0
        assert up.popen.stdout is not None
        up.popen.stdout.close()  # as `neuroone up | head` does, or a terminal that is gone
        up.popen.send_signal(signal.SIGINT)
        assert up.popen.wait(STOP_S) == 0


@pytest.mark.parametrize("kind", kinds_here())
def test_a_broker_for_the_network_and_for_browsers_wants_logins(tmp_path: Path, kind: str) -> None:
    """The printed login reads, over TCP and over WebSocket, and writes nothing; without one nobody comes in."""
    ws_port = free_port()
    words = ("--mqtt-host", "0.0.0.0", "--mqtt-ws-port", str(ws_port), "--broker-program", kind)
    with running_up(tmp_path / "D", "--port", "sim", *words) as up, contextlib.ExitStack() as clients:
        programs, pages = (
            next(line for line in up.banner if line.startswith(text)) for text in ("Programs that r", "Web pages")
        )
        reader = urlsplit(programs.partition(": ")[2])
        assert pages.endswith(f": ws://{reader.hostname}:{ws_port}/mqtt")
        assert f":{reader.port} ({kind})" in next(line for line in up.banner if line.startswith("MQTT: "))
        ports: dict[Transport, int] = {"tcp": reader.port or 0, "websockets": ws_port}

        def come(transport: Transport, *login: str | None) -> tuple[Client, list[str]]:
            client, said = Client(CallbackAPIVersion.VERSION2, transport=transport), list[str]()

            def on_connect(client: Client, data: object, flags: object, reason: object, more: object) -> None:
                said.append(str(reason))
                client.subscribe("neuroone/v1/#", 1)

            client.on_connect, client.on_message = on_connect, lambda client, data, message: said.append(message.topic)
            client.ws_set_options(path="/mqtt")
            if login:
                client.username_pw_set(*login)
            client.connect(reader.hostname or "", ports[transport])
            client.loop_start()
            clients.callback(client.loop_stop)
            wait_for(lambda: said, "answer")
            return client, said

        def reads(said: list[str]) -> None:
            count = len(said)
            wait_for(lambda: any(each.endswith("/sim/reading") for each in said[count:]), "reading")

        assert [come(each)[1][0] for each in ports] == ["Not authorized"] * 2
        assert come("websockets", "reader", "wrong")[1][0] in ("Not authorized", "Bad user name or password")
        for transport in ports:
            client, said = come(transport, reader.username, reader.password)
            reads(said)
            for level, retain in (("reading", False), ("state", True)):  # Mosquitto ends the connection
                client.publish(f"neuroone/v1/local/streams/no-group/evil/{level}", "{}", 1, retain)
                reads(said)
            assert not any("evil" in each for each in said)
        assert not (tmp_path / "D/.broker" / f"{kind}.conf").stat().st_mode & 0o077
        demo = tmp_path / "D/Demo.csv"
        wait_for(lambda: demo.exists() and demo.read_bytes().count(b"\n") >= 2, "a recording", 20)


def test_a_revoked_token_for_games_stays_revoked(tmp_path: Path) -> None:
    """A restart makes no new one."""
    words = ("--host", "0.0.0.0")
    with running_up(tmp_path, *words) as up:
        assert any(line.startswith("Games") for line in up.banner)
    revoke = [sys.executable, "-m", "neuroone", "token", "revoke", "games", "--data", str(tmp_path)]
    subprocess.run(revoke, check=True, timeout=60)
    with running_up(tmp_path, *words) as up:
        assert not any(line.startswith("Games") for line in up.banner)


def test_dashboards_can_be_opened(tmp_path: Path) -> None:
    """Then everything works as it did with the first server."""
    with running_up(tmp_path, "--open-dashboards") as up:
        assert up.dashboard_query == ""
        assert not (tmp_path / ".token").exists()
        with up.connect() as dashboard, up.connect() as student:
            dashboard.send("dash")
            assert dashboard.ping().wait(10)
            student.send(STUDENT)
            assert json.loads(dashboard.recv(10))["Nome"] == "Joao_Silva"


def test_a_hint_is_shown_in_the_users_language_until_it_is_mended(tmp_path: Path, one_broker: Broker) -> None:
    """A headset's server is away, then it is there; the banner's first lines are the first server's all the same."""
    port = free_port()
    device = f"socket://127.0.0.1:{port}"
    words = ["--port", device, "--host", "127.0.0.1"]
    with running_up(tmp_path, *words, mqtt_url=one_broker.url, language="pt_BR.UTF-8") as up:
        assert up.banner[0] == "=== Servidor WebSocket Headless ==="
        assert f"Arquivos CSV: {tmp_path}" in up.banner
        assert up.banner[-1] == "Pressione Ctrl+C para parar"
        assert not any("Press Ctrl+C" in line or "CSV files" in line for line in up.banner)
        *table, hint = up.read_until("Aviso: ")
        assert table[1].split() == ["Serviço", "Estado", "Endereço"]
        assert hint == f"Aviso: {hints.NO_SERVER.text(device, 'pt-BR')}"
        simulate = ["simulate", "--tcp", str(port)]
        with subprocess.Popen([sys.executable, "-m", "serial_bridge", *simulate], stdout=subprocess.DEVNULL) as headset:
            try:
                mended = up.read_until("Resolvido: ")
            finally:
                headset.terminate()
        up.popen.send_signal(signal.SIGINT)
        assert up.read_until("Encerrado")[-1] == f"Encerrado. As gravações estão em {tmp_path}"
    assert mended[-1] == f'Resolvido: "Nada responde em {device}"'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_every_retained_state_is_offline_after_the_end(tmp_path: Path, broker: Broker, number: signal.Signals) -> None:
    """On a broker that keeps running; and the last row is whole."""
    with running_up(tmp_path, "--port", "sim", "--name", "Ana", mqtt_url=broker.url) as up:
        file = tmp_path / "Ana.csv"
        wait_for(lambda: file.exists() and file.read_bytes().count(b"\n") >= 3, "two rows of the headset", 20)
        up.popen.send_signal(number)
        assert up.popen.wait(STOP_S) == 0
    assert file.read_bytes().endswith(b"\n")
    with listening(broker.url, "later") as later:
        for service in ("serial_bridge", "ws_gateway", "csv_recorder"):
            later.wait_for(ServiceState, lambda topic, state, service=service: topic["service"] == service)  # type: ignore[misc]
        later.wait_for(StreamState)
        services = {topic["service"]: state.status for topic, state in later.of(ServiceState)}
        services.pop("test", None)  # the listener itself, if it heard of itself
        assert set(services.values()) == {ServiceStatus.OFFLINE}
        assert {state.status for _, state in later.of(StreamState)} == {StreamStatus.OFFLINE}


def test_each_headset_has_its_own_name_and_code(tmp_path: Path, broker: Broker) -> None:
    """--name and --code are given as often as --port, in the same order."""
    words = ["--port", "sim", "--port", "sim", "--name", "José", "--name=-Bia", "--code", "6A", "--code", "6B"]
    with running_up(tmp_path, *words, mqtt_url=broker.url), listening(broker.url, "later") as listener:
        wait_for(lambda: (tmp_path / "José.csv").exists() and (tmp_path / "-Bia.csv").exists(), "both files", 30)
        wait_for(lambda: len({topic["source"] for topic, _ in listener.of(Reading)}) == 2, "both headsets", 20)
    found = {(topic["source"], reading.name, reading.code) for topic, reading in listener.of(Reading)}
    assert found == {("sim", "José", "6A"), ("sim-2", "-Bia", "6B")}


@pytest.mark.parametrize(
    "words",
    [
        ["--port", "sim", "--port", "sim", "--name", "José"],
        ["--port", "sim", "--name", "José", "--name", "Bia"],
        ["--port", "sim", "--port", "auto", "--name", "José"],
        ["--port", "sim", "--port", "sim", "--port", "sim", "--code", "6A", "--code", "6B"],
        ["--port", "sim", "--name", " "],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("program", ["neuroone up", "serial_bridge run"])
def test_names_that_do_not_match_the_ports_are_refused(tmp_path: Path, program: str, words: list[str]) -> None:
    """Nobody's headset is recorded under another name."""
    data = ["--data", str(tmp_path)] if program == "neuroone up" else []
    run = [sys.executable, "-m", *program.split(), *words, *data]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "--name: " in ended.stderr or "--code: " in ended.stderr


def test_a_child_that_dies_is_restarted(tmp_path: Path) -> None:
    """The broker too; clients then find everything as before, and the file grows."""
    with running_up(tmp_path) as up:
        for name in ("csv_recorder", "ws_gateway", "broker"):
            victim = next(each for each in up.family() if is_called(each, name))
            victim.kill()
            wait_for(
                lambda name=name, dead=victim.pid: any(
                    is_called(each, name) and each.pid != dead for each in up.family()
                ),  # type: ignore[misc]
                f"another {name}",
                20,
            )
        file = tmp_path / "Joao_Silva.csv"

        def student_gets_through() -> bool:
            with contextlib.suppress(OSError), up.connect() as student:
                student.send(STUDENT)
                return True
            return False

        wait_for(student_gets_through, "an open gateway", 20)
        wait_for(lambda: file.exists() and file.read_bytes() == CSV, "the student's row", 30)


def is_called(process: psutil.Process, name: str) -> bool:
    """Return True if a program is that service, or the broker."""
    with contextlib.suppress(psutil.NoSuchProcess):
        words = process.cmdline() or [""]  # one that has just ended has none
        return any(kind in words[0] for kind in brokers.KINDS) if name == "broker" else name in words
    return False


def test_a_killed_up_leaves_nothing_behind(tmp_path: Path) -> None:
    with running_up(tmp_path, "--port", "sim") as up:
        family = up.family()
        up.popen.kill()
        wait_for(lambda: not [each for each in family if each.is_running()], "end of all children", 30)


def refused(*words: str, **environ: str) -> str:
    """Run `neuroone up` with a fault; return what it prints on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "neuroone", "up", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environ},
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_ports_in_use_are_named(tmp_path: Path) -> None:
    """Both at once, each with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as mqtt, socket.create_server(("0.0.0.0", 0)) as ws:
        mqtt_port, ws_port = mqtt.getsockname()[1], ws.getsockname()[1]
        said = refused("--data", str(tmp_path), "--mqtt-port", str(mqtt_port), "--ws-port", str(ws_port))
    assert said.splitlines() == [
        f"neuroone up: --mqtt-port: port {mqtt_port} on 127.0.0.1 is in use; choose another",
        f"neuroone up: --ws-port: port {ws_port} is in use; choose another",
        *(said.splitlines()[2:]),
    ]
    mqtt_advice, ws_advice = said.splitlines()[2:]
    assert f"Port {mqtt_port} belongs to another program, or NeuroOne runs already." in mqtt_advice
    offered = int(ws_advice.removesuffix(".").split("add --ws-port ")[1])
    with socket.create_server(("0.0.0.0", offered)):
        assert offered != ws_port


def test_the_port_of_https_is_checked_too(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as https:
        port = https.getsockname()[1]
        words = ("--data", str(tmp_path), "--mqtt-port", str(free_port()), "--tls", "--tls-port", str(port))
        said = refused(*words, "--ws-port", str(port))
    assert f"--tls-port: port {port} is in use; choose another" in said
    assert f"--tls-port: port {port} is that of --ws-port; choose another" in said


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    ports = ("--mqtt-port", str(free_port()), "--ws-port", "8080")
    said = refused("--data", str(tmp_path), "--host", "203.0.113.1", *ports)
    assert said == "neuroone up: --ws-port: port 8080 on 203.0.113.1: Cannot assign requested address\n"


def test_a_data_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """There is a file in its place."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    said = refused(
        "--data", str(tmp_path / "file" / "D"), "--mqtt-port", str(free_port()), "--ws-port", str(free_port())
    )
    assert said == f"neuroone up: --data: {tmp_path / 'file' / 'D'} is not writable (Not a directory)\n"


def test_a_missing_broker_is_refused_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neuroone.contract.errors import SettingsError
    from neuroone.service.lifecycle import Stop
    from neuroone.up import command as up

    monkeypatch.setattr(brokers, "find", lambda kind: None)
    given = up.UpSettings(data=tmp_path, ws_port=free_port(), mqtt_port=free_port())
    with pytest.raises(SettingsError, match="no MQTT broker is installed here: install Mosquitto"):
        up.run(given, Stop())


def test_all_wrong_settings_are_reported_at_once() -> None:
    """Flags and variables."""
    said = refused("--ws-port", "99999", "--bogus", NEUROONE_MQTT_PORT="x")
    assert said.count("\n") == 3

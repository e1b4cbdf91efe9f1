"""Each check of `neuroone doctor` finds the fault that is provoked, with real parts where there are any."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import ssl
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from neuroone.contract import codec, topics
from neuroone.contract.messages import BANDS, Health, Kind, Link, Reading, ServiceState, ServiceStatus, StreamStatus
from neuroone.doctor import checks, machine, network
from neuroone.doctor import command as doctor
from neuroone.doctor.checks import (
    Adapter,
    BrokerAnswer,
    Directory,
    Finding,
    Firewall,
    Instance,
    Status,
)
from neuroone.doctor.texts import HEADINGS, LANGUAGES, WORDS
from neuroone.logins import login_in
from neuroone.mqtt.session import Delivery
from neuroone.service.settings import BrokerAddress
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.bus_listener import listening
from tests.support.closed_broker import closed_broker
from tests.support.messages import reading, stream_state

ROOT = Path("/")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def codes(findings: list[Finding] | Finding) -> list[str]:
    return [each.code for each in (findings if isinstance(findings, list) else [findings])]


def made(root: Path, **files: str) -> Path:
    """A machine that is only described: files under ``root``, ``__`` in their names for a slash."""
    for name, text in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def usb(root: Path, usb_id: str, port: str | None) -> Path:
    """A machine with a serial adapter, and the port that the system made of it."""
    vendor, product = usb_id.split(":")
    device = root / "sys/bus/usb/devices/1-1"
    device.mkdir(parents=True)
    (device / "idVendor").write_text(f"{vendor}\n", encoding="utf-8")
    (device / "idProduct").write_text(f"{product}\n", encoding="utf-8")
    if port is not None:
        (device / "1-1:1.0" / port).mkdir(parents=True)
    return root


# Ports


def test_an_adapter_without_a_port_lacks_its_driver(tmp_path: Path) -> None:
    """The USB has it, the system made no port of it, and brltty is not there to take it."""
    adapters = machine.adapters(usb(tmp_path, "1a86:7523", None))
    assert adapters == [Adapter("1a86:7523", None)]
    assert codes(checks.ports(adapters, [], frozenset())) == ["port_no_driver"]


def test_brltty_is_named_where_it_runs(tmp_path: Path) -> None:
    """It takes the port away as soon as there is one."""
    root = made(usb(tmp_path, "1a86:7523", None), proc__77__comm="brltty\n")
    assert codes(checks.ports(machine.adapters(root), [], machine.running(root))) == ["port_brltty"]


def test_the_port_of_an_adapter_is_found(tmp_path: Path) -> None:
    """By its place on the USB, with the name that the system gave it."""
    root = usb(tmp_path, "10c4:ea60", "ttyUSB3")
    assert machine.adapters(root) == [Adapter("10c4:ea60", "/dev/ttyUSB3")]


def test_a_port_that_is_not_there_is_missing() -> None:
    """It was asked for by name."""
    port = machine.port("/dev/ttyUSB77", ROOT)
    assert codes(checks.ports([], [port], frozenset())) == ["port_missing"]


@linux
@pytest.mark.pty
def test_a_port_of_another_user_may_not_be_opened() -> None:
    """A real terminal of mode 600, looked at by somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can look as another user")
    leader, follower = os.openpty()
    device = os.ttyname(follower)
    Path(device).chmod(0o600)
    machine.port(device, ROOT)  # what it imports may be closed to somebody else
    os.seteuid(65534)
    try:
        port = machine.port(device, ROOT)
    finally:
        os.seteuid(0)
        os.close(leader)
        os.close(follower)
    assert codes(checks.ports([], [port], frozenset())) == ["port_no_permission"]


@linux
@pytest.mark.pty
def test_a_program_that_has_the_port_open_is_named(tmp_path: Path) -> None:
    """A real program of that name, with a real terminal open."""
    thief = tmp_path / "ModemManager"
    shutil.copy(shutil.which("sleep") or "", thief)
    leader, follower = os.openpty()
    device = os.ttyname(follower)
    process = subprocess.Popen([thief, "60"], stdin=follower)
    os.close(follower)
    try:
        port = machine.port(device, ROOT)
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert codes(checks.ports([], [port], frozenset())) == ["port_taken"]


def test_no_adapter_is_no_problem() -> None:
    """A server has none."""
    assert [each.status for each in checks.ports([], [], frozenset())] == [Status.SKIPPED]


# WebSocket


class Answering:
    """An HTTP server that answers everything with one status."""

    def __init__(self, status: int, ready: int = 200) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(ready if self.path == "/readyz" else status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"ws://{LOOPBACK}:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Answering":
        self.thread.start()
        return self

    def __exit__(self, *how: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(
    ("status", "ready", "code"),
    [
        (101, 200, "ws_ok"),
        (101, 503, "ws_no_broker"),
        (200, 200, "ws_no_upgrade"),
        (426, 200, "ws_no_upgrade"),
        (429, 200, "ws_too_many"),
        (502, 200, "ws_proxy"),
        (504, 200, "ws_proxy"),
    ],
)
def test_what_answers_at_the_websocket_address_is_told_apart(status: int, ready: int, code: str) -> None:
    """A gateway, one without its broker, another program, a proxy that passes nothing on, one without a gateway."""
    with Answering(status, ready) as server:
        assert codes(checks.websocket(network.knock(server.url))) == [code]


def test_nobody_listens() -> None:
    """The port is free."""
    assert codes(checks.websocket(network.knock(f"ws://{LOOPBACK}:{free_port()}/"))) == ["ws_refused"]


def test_a_silent_address_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing, as behind a firewall."""
    monkeypatch.setattr(network, "ANSWER_TIMEOUT_S", 0.1)
    with socket.create_server((LOOPBACK, 0)) as silent:
        answer = network.knock(f"ws://{LOOPBACK}:{silent.getsockname()[1]}/")
    assert codes(checks.websocket(answer)) == ["ws_timeout"]


def test_an_unknown_name_is_told_apart() -> None:
    """No DNS has it (RFC 6761)."""
    assert codes(checks.websocket(network.knock("ws://nowhere.invalid/"))) == ["ws_name"]


def test_something_that_speaks_no_http_is_told_apart() -> None:
    """It answers in a language of its own."""
    with socket.create_server((LOOPBACK, 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = network.knock(f"ws://{LOOPBACK}:{other.getsockname()[1]}/")
        thread.join()
    assert codes(checks.websocket(found)) == ["ws_no_upgrade"]


def test_an_authority_that_is_not_trusted_is_told_apart(tmp_path: Path) -> None:
    """wss:// with a certificate of the proxy's own authority: trusted once that is named."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(LOOPBACK).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "root.crt"))
    with Answering(101) as server:
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        url = server.url.replace("ws://", "wss://")
        assert codes(checks.websocket(network.knock(url))) == ["ws_tls"]
        assert codes(checks.websocket(network.knock(url, tmp_path / "root.crt"))) == ["ws_ok"]


@pytest.mark.parametrize(
    ("loopback", "address", "works", "code"),
    [
        (True, "192.168.1.5", True, "network_ok"),
        (True, "192.168.1.5", False, "network_closed"),
        (False, "192.168.1.5", False, "network_skipped"),
        (True, "127.0.0.1", True, "network_skipped"),
    ],
)
def test_a_port_for_this_machine_only_is_told_apart(loopback: bool, address: str, works: bool, code: str) -> None:
    """It works here, and not where others come in."""
    assert codes(checks.network(loopback, address, works, 8080)) == [code]


# Firewall

UFW_RULES = (
    "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n### tuple ### allow any 80,8000:8100 0.0.0.0/0 any\n"
)


@pytest.mark.parametrize(("rules", "code"), [(UFW_RULES, "firewall_ok"), (UFW_RULES[:40], "firewall_closed")])
def test_ufw_is_read(tmp_path: Path, rules: str, code: str) -> None:
    """Ports, lists and ranges of its rules."""
    root = made(tmp_path, etc__ufw__ufw_conf="", **{"etc__ufw__user.rules": rules, "etc__ufw__ufw.conf": "ENABLED=yes"})
    assert codes(checks.firewall(machine.firewall(root), 8080, [])) == [code]


def test_firewalld_is_read(tmp_path: Path) -> None:
    """The ports of its zones."""
    zone = {"etc__firewalld__zones__public.xml": '<zone><port protocol="tcp" port="8080"/></zone>'}
    root = made(tmp_path, proc__5__comm="firewalld\n", **zone)
    wall = machine.firewall(root)
    assert wall == Firewall("firewalld", frozenset({8080}))
    assert codes(checks.firewall(wall, 443, [])) == ["firewall_closed"]


def test_a_firewall_that_is_off_or_passed_by_is_no_problem(tmp_path: Path) -> None:
    """ufw that is not enabled; ports that Docker publishes; rules that only root reads."""
    off = made(tmp_path, **{"etc__ufw__ufw.conf": "ENABLED=no"})
    assert codes(checks.firewall(machine.firewall(off), 8080, [])) == ["firewall_none"]
    assert codes(checks.firewall(Firewall("ufw", frozenset()), 8080, ["docker-proxy"])) == ["firewall_none"]
    assert codes(checks.firewall(Firewall("ufw", None), 8080, [])) == ["firewall_unknown"]


# Recordings, memory


def test_a_directory_that_can_be_written_is_fine(tmp_path: Path) -> None:
    """And left as it was."""
    found = machine.directory(tmp_path)
    assert codes(checks.recordings(dataclasses.replace(found, free_bytes=10**10))) == ["csv_ok"]
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_missing_or_closed_is_told_apart(tmp_path: Path) -> None:
    """/proc is closed even to root."""
    assert codes(checks.recordings(machine.directory(tmp_path / "none"))) == ["csv_no_dir"]
    if sys.platform == "linux":
        assert codes(checks.recordings(machine.directory(Path("/proc")))) == ["csv_no_permission"]
    assert codes(checks.recordings(None)) == ["csv_elsewhere"]


def test_a_disk_that_is_nearly_full_is_told_apart() -> None:
    """Before the recorder has to stop."""
    assert codes(checks.recordings(Directory("d", True, True, checks.SPACE_MIN_BYTES - 1))) == ["csv_no_space"]


def test_memory_is_read(tmp_path: Path) -> None:
    """What Linux calls available."""
    root = made(tmp_path, proc__meminfo="MemTotal: 4000000 kB\nMemAvailable:   100000 kB\n")
    assert codes(checks.memory(machine.available_memory_bytes(root))) == ["memory_low"]
    assert codes(checks.memory(10**9)) == ["memory_ok"]
    assert codes(checks.memory(machine.available_memory_bytes(tmp_path / "none"))) == ["memory_unknown"]


# Services


def instance(service: str, status: ServiceStatus = ServiceStatus.ONLINE, **changes: Any) -> Instance:
    return Instance(service, "a", status, **changes)


def test_services_that_are_away_are_told_apart() -> None:
    """Never seen, gone, and there."""
    found = checks.services([instance("ws_gateway"), instance("monitor_gui", ServiceStatus.OFFLINE)])
    assert {each.facts["service"]: each.code for each in found} == {
        "csv_recorder": "service_never",
        "ws_gateway": "service_ok",
    }
    gone = checks.services([instance("ws_gateway", ServiceStatus.OFFLINE), instance("csv_recorder")])
    assert codes(gone) == ["service_ok", "service_offline"]


def test_copies_that_went_are_no_problem_while_one_is_there() -> None:
    """A container that was made anew leaves its old name behind."""
    gone = Instance("ws_gateway", "old", ServiceStatus.OFFLINE)
    assert codes(checks.services([instance("ws_gateway"), gone]))[1] == "service_ok"


def test_a_recorder_whose_disk_fails_is_told_apart() -> None:
    """It says so in its health."""
    assert codes(checks.recorder_disk([instance("csv_recorder", disk_works=False)])) == ["recorder_disk"]
    assert codes(checks.recorder_disk([instance("csv_recorder", disk_works=True)])) == ["recorder_ok"]


def test_clocks_that_differ_are_told_apart() -> None:
    """By what a service says of its time."""
    assert codes(checks.clocks([instance("ws_gateway", skew_s=-61.0), instance("x", skew_s=0.1)])) == ["clock_skew"]
    assert codes(checks.clocks([instance("ws_gateway", skew_s=0.4)])) == ["clock_ok"]
    assert codes(checks.clocks([instance("ws_gateway")])) == ["clock_unknown"]


CONTAINERS = json.dumps(
    [
        {"Name": "/neuroone-a-1", "RestartCount": 0, "State": {"Running": True, "OOMKilled": False, "ExitCode": 0}},
        {"Name": "/neuroone-b-1", "RestartCount": 9, "State": {"Running": True, "OOMKilled": False, "ExitCode": 0}},
        {"Name": "/neuroone-c-1", "RestartCount": 1, "State": {"Running": True, "OOMKilled": True, "ExitCode": 137}},
        {"Name": "/neuroone-d-1", "RestartCount": 0, "State": {"Running": False, "OOMKilled": False, "ExitCode": 2}},
        {
            "Name": "/neuroone-secrets-1",
            "RestartCount": 0,
            "State": {"Running": False, "OOMKilled": False, "ExitCode": 0},
        },
    ]
)


def test_containers_that_die_are_told_apart() -> None:
    """Well, started again and again, out of memory, ended with a fault, and one whose work is done."""
    units = machine.containers(CONTAINERS, lambda command: "first\nlast words\n")
    found = checks.units(units)
    assert codes(found) == ["unit_ok", "unit_restarts", "unit_out_of_memory", "unit_failed", "unit_ok"]
    assert found[3].facts["tail"] == "first | last words"


SYSTEMD = """\
Id=neuroone-gateway.service
LoadState=loaded
ActiveState=active
NRestarts=12
Result=success
ExecMainStatus=0

Id=neuroone-recorder.service
LoadState=loaded
ActiveState=failed
NRestarts=0
Result=oom-kill
ExecMainStatus=9

Id=neuroone-none.service
LoadState=not-found
ActiveState=inactive
"""


def test_systemd_units_that_die_are_told_apart() -> None:
    """From what systemctl show prints."""
    units = machine.systemd_units(SYSTEMD, lambda command: "words\n")
    assert codes(checks.units(units)) == ["unit_restarts", "unit_out_of_memory"]
    assert codes(checks.units([])) == ["unit_none"]


def test_a_command_that_is_missing_or_fails_says_nothing() -> None:
    """A machine without Docker is no fault."""
    assert machine.run(["no-such-program-here"]) == ""
    assert machine.run([sys.executable, "-c", "print(1); raise SystemExit(3)"]) == ""
    assert machine.run([sys.executable, "-c", "print(1)"]).strip() == "1"
    assert machine.units(lambda command: "") == []


# Values


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"poor_signal": 0}, "values_ok"),
        ({"poor_signal": None}, "values_ok"),
        ({"poor_signal": 51}, "signal_poor"),
        ({"poor_signal": 200}, "signal_off"),
        ({"attention": 0, "meditation": 0, **dict.fromkeys(BANDS, 0)}, "values_zero"),
    ],
)
def test_values_that_say_nothing_are_told_apart(changes: dict[str, Any], code: str) -> None:
    """Contact, no skin at all, and zeros."""
    assert codes(checks.values({"A/x": stream_state()}, {"A/x": [reading(**changes)]})) == [code]


def test_a_headset_without_a_link_is_told_with_its_hint() -> None:
    """What the bridge says of its port."""
    state = stream_state(status=StreamStatus.OFFLINE, link=Link.NO_PERMISSION, hint="You may not open it.")
    [found] = checks.values({"A/x": state}, {})
    assert (found.code, found.facts["hint"]) == ("stream_link", "You may not open it.")


def test_a_student_who_went_home_is_no_problem() -> None:
    """A phone's stream that ended."""
    state = stream_state(status=StreamStatus.OFFLINE, link=Link.ENDED, kind=Kind.CLIENT)
    assert codes(checks.values({"A/x": state}, {})) == ["values_none"]


# Broker


@pytest.mark.broker
def test_a_login_that_may_read_is_fine_and_a_wrong_one_is_told_apart(tmp_path: Path) -> None:
    """On a real Mosquitto with the files of `neuroone secrets`: also one that may not read."""
    with closed_broker(tmp_path) as (secrets, address):

        def look(login: BrokerAddress) -> BrokerAnswer:
            return network.listen(login, None, "local", 0.5, lambda: False).answer

        doctor_login = login_in(secrets, "doctor")
        found = look(doctor_login)
        assert codes(checks.broker(found)) == ["broker_ok"]
        assert found.version.startswith("mosquitto version 2.")
        assert codes(checks.broker(look(address))) == ["broker_login"]
        assert codes(checks.broker(look(dataclasses.replace(doctor_login, password="wrong")))) == ["broker_login"]
        assert "wrong" not in str(look(dataclasses.replace(doctor_login, password="wrong")))


def test_a_login_that_may_not_read_and_an_old_broker_are_told_apart() -> None:
    """What the access list says, and what the broker says of itself."""
    assert codes(checks.broker(BrokerAnswer("a", may_read=False))) == ["broker_acl"]
    assert codes(checks.broker(BrokerAnswer("a", version="mosquitto version 1.6.9"))) == ["broker_old"]
    assert codes(checks.broker(BrokerAnswer("a", version="mosquitto version 2.1.2"))) == ["broker_ok"]


def test_a_broker_that_is_not_there_is_told_apart() -> None:
    """Nobody listens, and no such name."""
    for address, code in (
        (BrokerAddress(LOOPBACK, free_port()), "broker_refused"),
        (BrokerAddress("nowhere.invalid", 1), "broker_name"),
    ):
        heard = network.listen(address, None, "local", 0.1, lambda: False)
        assert codes(checks.broker(heard.answer)) == [code]


def test_a_broker_that_says_nothing_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has the port."""
    monkeypatch.setattr(network, "ANSWER_TIMEOUT_S", 0.1)
    with socket.create_server((LOOPBACK, 0)) as silent:
        address = BrokerAddress(LOOPBACK, silent.getsockname()[1])
        heard = network.listen(address, None, "local", 0.1, lambda: False)
    assert codes(checks.broker(heard.answer)) == ["broker_timeout"]


# The command


@pytest.mark.broker
def test_the_command_finds_a_whole_system_well_and_names_what_dies(
    start_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    """No problem while all are there; once the gateway is gone, its name, in both languages."""
    broker, port = start_broker("nats"), free_port()
    common = ["--broker", broker.url, "--instance", "test", "--log-level", "error"]
    commands = (
        ["csv_recorder", "run", "--dir", str(tmp_path / "recordings")],
        ["ws_gateway", "--host", LOOPBACK, "--ws-port", str(port)],
        ["serial_bridge", "run", "--port", "sim"],
    )
    doctor_command = ["-m", "neuroone", "doctor", "--broker", broker.url, "--ws-url", f"ws://{LOOPBACK}:{port}/"]
    with contextlib.ExitStack() as running:

        def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
            program = subprocess.Popen([sys.executable, "-m", *words, *common])
            running.callback(program.wait, 20)
            running.callback(program.terminate)
            return program

        def examine(*words: str) -> str:
            command = [sys.executable, *doctor_command, *words]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=40)
            assert done.stderr == ""
            assert (done.returncode == 1) == ('"problem"' in done.stdout or "PROBLEM" in done.stdout)
            return done.stdout

        def problems() -> dict[str, str]:
            found = [json.loads(line) for line in examine("--json", "--seconds", "15").splitlines()]
            return {each["code"]: each["facts"].get("service", "") for each in found if each["status"] == "problem"}

        with listening(broker.url) as listener:
            _, gateway, _ = [start(command) for command in commands]
            listener.wait_for(ServiceState, lambda topic, state: topic["service"] == "csv_recorder")
            listener.wait_for(ServiceState, lambda topic, state: topic["service"] == "ws_gateway")
            listener.wait_for(Reading)
        # The machine that tests may be small, and its own containers ill: that is not what is tested here.
        of_the_machine = {"memory_low", "unit_restarts", "unit_failed", "unit_out_of_memory", "network_closed"}
        assert set(problems()) <= of_the_machine
        gateway.terminate()
        gateway.wait(20)
        found = problems()
        assert found["service_offline"] == "ws_gateway"
        assert "ws_refused" in found
        shown = examine("--language", "pt-BR", "--seconds", "1")
        assert "PROBLEMA websocket: Nada escuta em ws://127.0.0.1" in shown
        assert "O que fazer: Inicie o gateway" in shown


# Words


def test_every_code_has_words_in_every_language_with_the_same_facts() -> None:
    """Problems say what to do; what is fine needs no advice."""

    def facts_of(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert set(WORDS) == set(HEADINGS) == set(LANGUAGES)
    source = Path(checks.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r'"((?:[a-z]+)_(?:[a-z_]+))"', source)) & set(WORDS["en"])
    of_faults = {f"{what}_{fault}" for what in ("ws", "broker") for fault in ("refused", "timeout", "name", "tls")}
    assert set(WORDS["en"]) == set(WORDS["pt-BR"]) == used | of_faults | {"broker_login"}
    for code in WORDS["en"]:
        english, portuguese = WORDS["en"][code], WORDS["pt-BR"][code]
        assert facts_of(english.says) == facts_of(portuguese.says), code
        assert facts_of(english.do) == facts_of(portuguese.do), code
        is_problem = not re.search(rf'_(?:ok|skipped)\([^)]*"{code}"', source)
        assert bool(english.do) == bool(portuguese.do) == is_problem, code


def test_the_language_is_the_systems() -> None:
    """Portuguese where the system speaks it, else English."""
    assert doctor.language_of({"LANG": "pt_BR.UTF-8"}) == "pt-BR"
    assert doctor.language_of({"LC_ALL": "C", "LANG": "pt_BR.UTF-8"}) == "en"
    assert doctor.language_of({}) == "en"


@pytest.mark.parametrize("given", ["http://x", "ws://", "x"])
def test_a_websocket_address_must_be_one(given: str) -> None:
    """The fault says how it looks."""
    with pytest.raises(ValueError, match="must be like ws://"):
        doctor.websocket_url(given)


def test_health_gives_the_skew_of_a_clock() -> None:
    """What a service says of its time, beside the time of arrival."""
    heard = network.Heard(BrokerAnswer("a"))
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    state = ServiceState(status=ServiceStatus.ONLINE, version="1", epoch=1, connection=1)
    health = Health(time=noon, uptime_s=1.0, memory_bytes=None, counters={}, gauges={"disk_works": 0})
    for topic, message in (
        (topics.service_state("local", "csv_recorder", "main"), state),
        (topics.health("local", "csv_recorder", "main"), health),
    ):
        heard.take(Delivery(str(topic), codec.encode(message), False, 1, 1), noon.timestamp() + 30)
    assert heard.is_complete
    [found] = heard.instances
    assert (found.skew_s, found.disk_works) == (-30.0, False)

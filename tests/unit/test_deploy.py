"""What deploy/ brings for servers without Docker, read by the programs that it is for."""

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import websockets
from playwright.sync_api import Page
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from csv_recorder.settings import RunSettings
from neuroone.logins import login_in
from neuroone.mqtt.packets import Connect, Publish, Subscribe
from neuroone.service import settings
from neuroone.service.settings import BusSettings
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.browser import chromium
from tests.support.closed_broker import closed_broker
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
ALL_UNITS = [*UNITS, *sorted((DEPLOY / "cluster").glob("*.service"))]
NOT_AUTHORIZED = 5
"""MQTT 3.1.1, 3.2.2.3."""
EXPOSURE_MAX = 2.0
"""Of 10; what systemd-analyze calls "OK" ends at 5. An ordinary unit has 9.2."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="for Linux servers")


@linux
@pytest.mark.parametrize("unit", ALL_UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_each_unit(unit: Path, tmp_path: Path) -> None:
    """systemd-analyze verify finds no fault, once the programs are where the unit expects them."""
    program = _program("systemd-analyze")
    here = tmp_path / unit.name
    here.write_text(
        re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text(encoding="utf-8"), flags=re.M),
        encoding="utf-8",
    )
    done = subprocess.run([program, "verify", "--man=no", here], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert said == []


@linux
@pytest.mark.parametrize("unit", ALL_UNITS, ids=lambda unit: unit.name)
def test_each_unit_is_hardened(unit: Path) -> None:
    program = _program("systemd-analyze")
    done = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", unit], capture_output=True, text=True, check=False
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd cannot judge a unit that is not installed")
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX


@linux
def test_the_documented_template_starts_a_recorder_of_each_shard(tmp_path: Path) -> None:
    """What the how-to makes of the recorder's unit is one that systemd and the recorder understand."""
    text = (ROOT / "docs/how-to/recorders.md").read_text(encoding="utf-8")
    (edit,) = re.findall(r"^sed '(.*)' /etc/systemd/system/neuroone-recorder.service", text, flags=re.M)
    made = subprocess.run(
        ["sed", edit, DEPLOY / "systemd/neuroone-recorder.service"], capture_output=True, text=True, check=True
    ).stdout
    template = tmp_path / "neuroone-recorder@.service"
    template.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", made, flags=re.M), encoding="utf-8")
    program = _program("systemd-analyze")
    done = subprocess.run([program, "verify", "--man=no", template], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if template.name in line] == []
    words = _command(made).replace("%i", "2").split()
    given = settings.read(RunSettings, [*words[words.index("run") + 1 :], "--broker", "mqtt://h"], {}, program="x")
    assert (str(given.shard), given.dir) == ("2/3", Path("/var/lib/neuroone/recordings/shard-2"))


def test_the_documented_template_starts_a_recorder_of_each_school() -> None:
    text = (ROOT / "docs/how-to/district.md").read_text(encoding="utf-8")
    (edit,) = re.findall(r"^sed '(.*)' /etc/systemd/system/neuroone-recorder.service", text, flags=re.M)
    unit = DEPLOY / "systemd/neuroone-recorder.service"
    made = subprocess.run(["sed", edit, unit], capture_output=True, text=True, check=True).stdout
    words = _command(made).replace("%i", "school-a").replace("file:/etc/neuroone/site-school-a.url", "mqtt://h").split()
    given = settings.read(RunSettings, words[words.index("run") + 1 :], {}, program="x")
    assert (given.site, given.dir) == ("school-a", Path("/var/lib/neuroone/recordings/school-a"))


def test_units_and_programs_start_the_same_commands() -> None:
    assert _supervised() == {unit.stem: _command(unit.read_text(encoding="utf-8")) for unit in UNITS}


@linux
def test_supervisor_understands_its_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its own parser accepts the file; the services start in order, the bridge only on request."""
    from supervisor import datatypes, options  # type: ignore[import-untyped]

    monkeypatch.setattr(options, "name_to_uid", lambda name: 1)
    monkeypatch.setattr(datatypes, "name_to_uid", lambda name: 1)
    text = (DEPLOY / "supervisor/neuroone.conf").read_text(encoding="utf-8").replace("/var/log/neuroone", str(tmp_path))
    file = tmp_path / "supervisord.conf"
    file.write_text(f"[supervisord]\nlogfile={tmp_path}/log\n{text}", encoding="utf-8")
    given = options.ServerOptions()
    given.realize(["-c", str(file)])
    groups: list[Any] = sorted(given.process_group_configs, key=lambda group: group.priority)
    programs = [group.process_configs[0] for group in groups]
    assert [each.name for each in programs] == [
        "neuroone-broker",
        "neuroone-broker-watch",
        "neuroone-recorder",
        "neuroone-gateway",
        "neuroone-bridge",
        "neuroone-forwarder",
    ]
    assert [each.autostart for each in programs] == [True, True, True, True, False, False]
    assert {each.stdout_logfile_maxbytes for each in programs} == {10 * 2**20}


def test_every_command_is_one_that_its_program_accepts() -> None:
    known = {
        f"--{variable.removeprefix('NEUROONE_').lower().replace('_', '-')}"
        for variable in settings.variables(BusSettings)
    }
    flags = {flag for command in _supervised().values() for flag in re.findall(r"--[a-z-]+", command)}
    assert flags <= known | {"--access-log", "--dir", "--district", "--recordings", "--spool", "--token-file"}


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """Run nginx with the shipped site, in front of a port of this machine."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed on this machine")
    front, back = free_port(), free_port()
    site = (DEPLOY / "nginx/neuroone.conf").read_text(encoding="utf-8")
    site = site.replace("listen [::]:80 default_server;", "").replace("listen 80", f"listen {LOOPBACK}:{front}")
    mqtt = free_port()
    site = site.replace("127.0.0.1:8080", f"{LOOPBACK}:{back}").replace("127.0.0.1:9001", f"{LOOPBACK}:{mqtt}")
    conf = tmp_path / "nginx.conf"
    conf.write_text(_in_folder(f"events {{}}\nhttp {{\n{site} }}\n", tmp_path), encoding="utf-8")
    with _running_nginx(program, tmp_path, conf, front):
        yield SimpleNamespace(front=front, back=back, mqtt=mqtt)


def _in_folder(conf: str, folder: Path) -> str:
    """Return the configuration with everything that nginx writes in a folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    head = f"daemon off; pid {folder}/pid; error_log {folder}/error.log;"
    return f"{head}\n{conf.replace('http {', f'http {{ {temporary}')}"


@contextlib.contextmanager
def _running_nginx(program: str, folder: Path, conf: Path, port: int) -> Iterator[None]:
    command = [program, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(conf)]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: _listens(port), "nginx")
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
async def gateway(nginx: SimpleNamespace) -> AsyncIterator[list[Any]]:
    """Answer like a gateway: echo every frame, and keep the headers of each handshake."""
    handshakes: list[Any] = []

    async def answer(connection: websockets.ServerConnection) -> None:
        handshakes.append(connection.request)
        async for message in connection:
            await connection.send(message)

    async with serve(answer, LOOPBACK, nginx.back):
        yield handshakes


@linux
@pytest.mark.parametrize("path", ["/", "/ws/?token=x"])
async def test_nginx_passes_websockets_on(nginx: SimpleNamespace, gateway: list[Any], path: str) -> None:
    """On every path, both ways, with the client's own address in place of what it claims."""
    url = f"ws://{LOOPBACK}:{nginx.front}{path}"
    async with asyncio.timeout(10), connect(url, additional_headers={"X-Forwarded-For": "8.8.8.8"}) as client:
        await client.send("dash")
        assert await client.recv() == "dash"
    assert gateway[0].path == path
    assert gateway[0].headers["X-Forwarded-For"] == LOOPBACK


READ = """async ({url, connect, subscribe}) => {
  const socket = new WebSocket(url, "mqtt");
  socket.binaryType = "arraybuffer";
  const bytes = [];
  return await new Promise((resolve) => {
    socket.onopen = () => socket.send(Uint8Array.from(connect));
    socket.onclose = () => resolve(bytes);
    socket.onmessage = ({ data }) => {
      bytes.push(...new Uint8Array(data));
      if (bytes.length === 4 && bytes[3] === 0) socket.send(Uint8Array.from(subscribe));
      if (bytes.length > 4 && bytes.at(-1) === 125) socket.close();
    };
  });
}"""
"""A client of MQTT in a web page: it returns the bytes that it gets, up to a message that ends in `}`."""


@linux
def test_a_web_page_reads_the_broker_through_nginx(nginx: SimpleNamespace, tmp_path: Path) -> None:
    """Real nginx, Mosquitto with the server's configuration, and Chromium: the reader's login gets a retained state."""
    topic = "neuroone/v1/local/streams/A/Ana/state"

    def bytes_of(page: Page, user: str | None = None, password: str | None = None) -> bytes:
        connect = Connect(client_id="", keep_alive_s=30, user=user, password=password)
        packets = {"connect": [*connect.encode(v5=False)], "subscribe": [*Subscribe(1, ((topic, 0),)).encode(v5=False)]}
        return bytes(page.evaluate(READ, {"url": f"ws://{LOOPBACK}:{nginx.front}/mqtt", **packets}))

    with closed_broker(tmp_path, nginx.mqtt) as (secrets, address), chromium() as browser:
        reader, writer = (login_in(secrets, name) for name in ("reader", "ws_gateway"))
        with socket.create_connection((address.host, address.port)) as gateway:
            connect = Connect(client_id="g", keep_alive_s=30, user=writer.user, password=writer.password)
            state = Publish(topic, b"{}", retained=True, packet_id=1)
            gateway.sendall(connect.encode(v5=False) + state.encode(v5=False))
            gateway.recv(8)
            page = browser.new_page()
            wait_for(lambda: bytes_of(page, reader.user, reader.password).endswith(b"{}"), "state")
            assert bytes_of(page)[3] == NOT_AUTHORIZED
            assert bytes_of(page, reader.user, "wrong")[3] == NOT_AUTHORIZED


@pytest.fixture
def debian_nginx(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """Run nginx as Debian brings it, after the commands of docs/how-to/server.md."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None or not Path("/etc/nginx/sites-available/default").exists():
        pytest.skip("no nginx as Debian has it is installed on this machine")
    etc, front, back = tmp_path / "etc/nginx", free_port(), free_port()
    shutil.copytree("/etc/nginx", etc, symlinks=True)
    (etc / "sites-enabled/default").unlink(missing_ok=True)
    (etc / "sites-enabled/default").symlink_to("../sites-available/default")
    (tmp_path / "etc/neuroone").mkdir()
    for name in ("sudo", "apt-get", "nginx", "systemctl"):
        (tmp_path / name).write_text("#!/bin/sh\n" + ('exec "$@"\n' if name == "sudo" else ""), encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    section = (ROOT / "docs/how-to/server.md").read_text(encoding="utf-8").partition("\n## nginx\n")[2]
    steps = section.partition("```sh\n")[2].partition("```")[0].replace("/etc/", f"{tmp_path}/etc/")
    subprocess.run(["sh", "-ec", steps], cwd=ROOT, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    for file in (etc / "nginx.conf", *(etc / "sites-enabled").iterdir()):
        text = file.read_text(encoding="utf-8").replace("/etc/nginx", str(etc)).replace("listen [::]", "#")
        text = re.sub(r"^(user|pid|error_log|include .*modules|\s*access_log).*;", "", text, flags=re.MULTILINE)
        text = text.replace("listen 80", f"listen {LOOPBACK}:{front}").replace(":8080", f":{back}")
        file.write_text(_in_folder(text, tmp_path) if file.parent == etc else text, encoding="utf-8")
    with _running_nginx(program, tmp_path, etc / "nginx.conf", front):
        yield SimpleNamespace(
            front=front, back=back, settings=(tmp_path / "etc/neuroone/neuroone.env").read_text(encoding="utf-8")
        )


@linux
async def test_the_documented_steps_put_nginx_before_the_gateway(debian_nginx: SimpleNamespace) -> None:
    """Debian's own site answered everybody before; by the domain and by the server's address."""
    assert debian_nginx.settings.split() == [
        "NEUROONE_TRUSTED_PROXIES=127.0.0.1",
        "NEUROONE_PUBLIC_URL=http://eeg.escola.example/",
    ]

    async def answer(connection: websockets.ServerConnection) -> None:
        await connection.send("neuroone")

    async with serve(answer, LOOPBACK, debian_nginx.back), asyncio.timeout(10):
        for host in ("eeg.escola.example", "192.168.0.10"):
            async with connect(f"ws://{host}:{debian_nginx.front}/", host=LOOPBACK) as client:
                assert await client.recv() == "neuroone"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed on this machine")
    return program


def _command(unit: str) -> str:
    found = re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    assert found
    return found[1]


def _supervised() -> dict[str, str]:
    text = (DEPLOY / "supervisor/neuroone.conf").read_text(encoding="utf-8")
    pairs = re.findall(r"^\[program:(\S+)\]\ncommand=(.+)$", text, re.MULTILINE)
    return {name: re.sub(r"^/bin/sh -c \".*exec (.+)\"$", r"\1", command) for name, command in pairs}


def test_both_configurations_of_mosquitto_have_the_same_settings(tmp_path: Path) -> None:
    """That of `neuroone up` and that of a server, but for who may connect and where things lie."""
    brokers.BrokerProgram(brokers.MOSQUITTO, tmp_path).command(tmp_path, LOOPBACK, 1883)
    of_up = _settings((tmp_path / "mosquitto.conf").read_text(encoding="utf-8"))
    of_server = _settings((DEPLOY / "mosquitto/mosquitto.conf").read_text(encoding="utf-8"))
    places = {"user", "listener", "allow_anonymous", "persistence_location"}
    assert {line for line in of_up if line.split()[0] not in places} <= of_server


def _settings(text: str) -> set[str]:
    return {line for line in text.splitlines() if line and not line.startswith("#")}


@linux
def test_the_health_check_ends_a_broker_that_hangs(start_broker: Callable[[str], Broker], tmp_path: Path) -> None:
    """Not at the first check without an answer; an answer in between begins the count anew."""
    sub = _program("mosquitto_sub")
    broker = start_broker(brokers.MOSQUITTO)
    (tmp_path / "mosquitto_sub").write_text(f"-h {LOOPBACK}\n-p {broker.port}\n", encoding="utf-8")
    script = (DEPLOY / "mosquitto/healthcheck.sh").read_text(encoding="utf-8").replace("-W 3", "-W 1")
    script = script.replace("failures_max=15", "failures_max=2")
    environment = {
        "PATH": str(Path(sub).parent) + ":/usr/bin:/bin",
        "TMPDIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }

    def check() -> int:
        command = ["sh", "-c", script, "sh", "kill", "-KILL", str(broker.pid)]
        return subprocess.run(command, capture_output=True, check=False, env=environment).returncode

    process = psutil.Process(broker.pid)
    assert check() == 0
    for _ in range(2):
        process.suspend()
        assert check() == 1
        process.resume()
        assert check() == 0
    process.suspend()
    assert (check(), check()) == (1, 1)
    broker.wait()


def test_what_the_package_includes_of_clients_reaches_the_builds_of_images():
    """.dockerignore leaves the rest of the clone out."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    for file in (*wheel["wheel"]["force-include"], "README.md", "pyproject.toml"):
        assert any(PurePath(file).match(line[1:]) for line in ignored if line.startswith("!")), file

"""The stack of compose.yaml in a real Docker engine, used as its users use it: one stack for all tests, in order."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from neuroone import __version__
from serial_bridge.captures.files import EXAMPLE
from tests.support.browser import fresh_chromium
from tests.support.captures import BASELINE, needs_captures
from tests.support.fake_headsets import KEYS
from tests.support.plugged_headset import plugged_headset, skip_without_consoles
from tests.support.repositories import Origin
from tests.support.student_page import record_with_losses
from tests.support.waiting import wait_for
from tests.system.stack import (
    BUILD_AND_START_S,
    HEADER,
    ROOT,
    WAIT_S,
    Phone,
    Stack,
    certificate_authority,
    copy_of_checkout,
    measuring,
    mqtt_client,
    opening,
    recordings_listed,
    skip_without_engine,
)
from tests.system.test_capture import ATTENTION, BAND_SUMS, MEDITATION, READINGS

pytestmark = [pytest.mark.compose, pytest.mark.timeout(BUILD_AND_START_S)]

STUDENT_FRAME = (
    '{"Codigo":"ABC123","Nome":"Joao_Silva","Att":85,"Med":72,"Delta":123456,"Theta":234567,'
    '"LowAlpha":345678,"HighAlpha":456789,"LowBeta":567890,"HighBeta":678901,"LowGamma":789012,'
    '"MiddleGamma":890123}'
)
STUDENT_CSV = f"{HEADER}\n85,72,123456,234567,345678,456789,567890,678901,789012,890123\n"
Value = TypeVar("Value")
PHONES = 8
READING_PERIOD_S = 0.25
CLASS_OF_300 = 300
SERIAL_GROUP = 20
GUESSES = 40
"""Wrong tokens: more than three gateways ever allowed."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Build and start the default stack of a fresh checkout; remove everything of it afterwards."""
    skip_without_engine()
    folder = tmp_path_factory.mktemp("server")
    origin = Origin(copy_of_checkout(folder / "origin"))
    origin.commit()
    stack = Stack(f"neuroone-test-{os.getpid()}", origin.clone(folder / "neuroone"), origin)
    try:
        stack.up("ws_gateway", "csv_recorder", "proxy")
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def shown(stack: Stack) -> dict[str, str]:
    """Return what `docker compose run --rm secrets --show` prints."""
    return stack.shown()


@pytest.fixture(scope="module")
def token(shown: dict[str, str]) -> str:
    """Return the dashboards' token from the operator's command."""
    return shown["Dashboards"].partition("#token=")[2]


def test_old_student_reaches_dashboard_file_and_topics(stack: Stack, token: str) -> None:
    """An old student's frame comes out at a dashboard that has the token, in {Nome}.csv and on the topics."""
    with connect(stack.url(token)) as dashboard, connect(stack.url()) as student:
        dashboard.send("dash")
        assert dashboard.ping().wait(WAIT_S)
        student.send(STUDENT_FRAME)

        seen = json.loads(dashboard.recv(timeout=WAIT_S))
        assert seen == {"ID": 1, "Nome": "Joao_Silva", "Codigo": "ABC123", "Att": 85, "Med": 72}
        assert wait_for(lambda: stack.recorded("Joao_Silva.csv"), "CSV file", WAIT_S) == STUDENT_CSV
        shown = dict(stack.topics("neuroone/v1/local/#"))
        status = {t.split("/")[4]: s["status"] for t, s in shown.items() if "/services/" in t and t.endswith("/state")}
        assert status == {"ws_gateway": "online", "csv_recorder": "online"}
        stream = shown["neuroone/v1/local/streams/ABC123/Joao_Silva/state"]
        assert stream["name"] == "Joao_Silva"
        assert stream["status"] in ("online", "stale")  # its one reading may be seconds old by now


def test_the_teachers_page_lists_what_was_recorded(stack: Stack, token: str) -> None:
    """The gateway reads the recorder's volume, for those who have the token."""
    server = f"http://127.0.0.1:{stack.ws_port}"
    assert "Joao_Silva.csv" in recordings_listed(server, token)
    with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
        recordings_listed(server, "guessed")


def test_a_teacher_downloads_workbooks_and_reports(stack: Stack, token: str) -> None:
    """Through the proxy, from recordings that the gateway may only read; nothing of them stays in the container."""
    server = f"http://127.0.0.1:{stack.ws_port}"
    listed = json.loads(recordings_listed(server, token, "by=lesson"))
    assert listed["formats"] == ["stored", "csv-ptbr", "xlsx", "report"]
    lesson = f"{server}/recordings/lessons/{listed['lessons'][0]['key']}?token={token}&tz=America/Sao_Paulo&format="
    for format, begins in (("xlsx", b"PK"), ("report", b"<!doctype html>")):
        with urllib.request.urlopen(lesson + format, timeout=WAIT_S) as answer:
            assert answer.read().startswith(begins)
    assert stack.compose("exec", "-T", "ws_gateway", "ls", "/tmp").split() == ["healthy"]
    image = "docker", "inspect", "-f", "{{json .RootFS.Layers}}"
    layers = [
        json.loads(subprocess.check_output([*image, stack.image(service)]))
        for service in ("ws-gateway", "csv-recorder")
    ]
    assert len(layers[0]) > 2
    assert layers[0][:-2] == layers[1][:-2], "both images are stored once"


@pytest.mark.parametrize("token", [None, "guessed"])
def test_a_dashboard_without_the_token_sees_nothing(stack: Stack, token: str | None) -> None:
    """It is told why, and the connection ends."""
    with connect(stack.url(token)) as dashboard:
        dashboard.send("dash")
        assert json.loads(dashboard.recv(timeout=WAIT_S))["error"]["code"] == "no_token"
        with pytest.raises(ConnectionClosed) as closed:
            dashboard.recv(timeout=WAIT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_a_student_cannot_publish_as_another(stack: Stack) -> None:
    """Who said hello as one student stays that one: another name is refused or not looked at."""
    with connect(stack.url(), subprotocols=[Subprotocol("neuroone.v1")]) as phone:

        def say(**said: Any) -> None:
            phone.send(json.dumps(said))

        def heard(kind: str) -> dict[str, Any]:
            while (said := json.loads(phone.recv(timeout=WAIT_S)))["type"] != kind:
                pass
            return dict(said)

        say(type="hello", role="student", name="Eva", code="A")
        heard("welcome")
        say(type="hello", role="student", name="Joao_Silva", code="ABC123")
        assert heard("error")["code"] == "bad_value"
        bands = dict.fromkeys(("delta", "theta", "low_alpha", "high_alpha", "low_beta", "high_beta"), 7)
        bands |= {"low_gamma": 7, "mid_gamma": 7}
        say(type="reading", seq=0, attention=7, meditation=7, name="Joao_Silva", code="ABC123", **bands)
        heard("ack")
    assert wait_for(lambda: stack.rows("Eva"), "row of the true name", WAIT_S) == ["7,7,7,7,7,7,7,7,7,7"]
    assert stack.recorded("Joao_Silva.csv") == STUDENT_CSV


def test_an_anonymous_program_is_refused_by_the_broker(stack: Stack, shown: dict[str, str]) -> None:
    """No login, no MQTT."""
    for ws_port in (None, stack.ws_port):
        with mqtt_client(shown["Programs"], anonymous=True, ws_port=ws_port) as (_, answers):
            assert answers[0] == "connect: Not authorized"


def test_a_web_page_reads_the_broker_behind_the_proxy(stack: Stack, shown: dict[str, str]) -> None:
    """At /mqtt, with the reader's login, which writes nothing there either."""
    with mqtt_client(shown["Programs"], ws_port=stack.ws_port) as (client, answers):
        client.subscribe("neuroone/v1/local/services/#", qos=1)
        wait_for(lambda: any(answer.startswith("message:") for answer in answers), "retained states")
        client.publish("neuroone/v1/local/streams/A/Eva/reading", b"{}", qos=1)
        wait_for(lambda: "publish: Not authorized" in answers, "refusal")


@pytest.mark.parametrize(
    ("who", "topic"),
    [
        ("Programs", "neuroone/v1/local/streams/A/Eva/reading"),
        ("Programs", "neuroone/v1/local/services/csv_recorder/compose/state"),
        ("The", "neuroone/v1/local/streams/A/Eva/reading"),
        ("A", "neuroone/v1/local/services/csv_recorder/compose/recorded"),
        ("A", "elsewhere"),
    ],
)
def test_an_identity_is_held_to_its_topics(shown: dict[str, str], who: str, topic: str) -> None:
    """A login reads; what it has no business to say, the broker refuses."""
    with mqtt_client(shown[who]) as (client, answers):
        assert answers[0] == "connect: Success"
        client.subscribe("neuroone/v1/local/services/#", qos=1)
        wait_for(lambda: any(answer.startswith("message:") for answer in answers), "retained states")
        client.publish(topic, b"{}", qos=1)
        wait_for(lambda: "publish: Not authorized" in answers, "refusal")


def test_only_the_door_is_open(stack: Stack) -> None:
    """The proxy is there for the network, the broker for this machine, the gateway for the proxy alone."""
    assert stack.compose("port", "proxy", "8080").strip() == f"0.0.0.0:{stack.ws_port}"
    assert stack.compose("port", "mosquitto", "1883").strip() == f"127.0.0.1:{stack.mqtt_port}"
    listing = stack.compose("ps", "--format", "json", "ws_gateway", "csv_recorder")
    ports = [
        port["PublishedPort"] for each in map(json.loads, listing.splitlines()) for port in each["Publishers"] or ()
    ]
    assert set(ports) <= {0}


def test_prometheus_can_scrape_what_its_configuration_names(stack: Stack) -> None:
    """From a container of the network "inside"; the port of the recorder's metrics is not published."""
    program = (
        "import urllib.request\n"
        "for address in ('ws_gateway:8080', 'csv_recorder:8081'):\n"
        "    print(urllib.request.urlopen(f'http://{address}/metrics', timeout=10).read().decode())\n"
    )
    lines = stack.compose("exec", "-T", "ws_gateway", "python", "-c", program).splitlines()
    assert lines.count("neuroone_broker_connected 1.0") == 2
    assert any(line.startswith("neuroone_recorder_free_bytes ") for line in lines)


@pytest.mark.parametrize(
    ("service", "user", "other"),
    [
        ("ws_gateway", "10002", "csv_recorder.url"),
        ("csv_recorder", "10001", "dashboard-token"),
        ("mosquitto", "1883", "reader.url"),
    ],
)
def test_containers_run_without_privileges(stack: Stack, service: str, user: str, other: str) -> None:
    """None is root, none can write outside its places or read another's secret; their images hold no installer."""
    look = (
        f"id -u; touch /x /app/x /etc/x 2>/dev/null || echo closed; cat /secrets/{other} 2>/dev/null || echo secret;"
        "ls /app/bin 2>/dev/null | grep -cE '^(uv|pip)' || true; grep CapEff /proc/self/status | cut -f2"
    )
    shown = stack.compose("exec", "-T", service, "sh", "-c", look)
    assert shown.split() == [user, "closed", "secret", "0", "0000000000000000"]


def test_no_container_has_a_password_in_its_environment(stack: Stack, shown: dict[str, str], token: str) -> None:
    """Whoever may look at containers does not see the logins."""
    names = stack.compose("ps", "--all", "-q").split()
    seen = subprocess.run(["docker", "inspect", *names], capture_output=True, text=True, check=True).stdout
    passwords = [token, *(url.split(":")[2].split("@")[0] for who, url in shown.items() if who != "Dashboards")]
    assert len(passwords) == 5
    assert [password for password in passwords if password in seen] == []


@needs_captures
def test_a_bench_computer_plays_a_capture_into_the_stack(stack: Stack, shown: dict[str, str]) -> None:
    """A bridge outside of the stack, with the bridge's login: the recorded file has the capture's sums."""
    replay = [sys.executable, "-m", "serial_bridge", "replay", str(BASELINE), "--speed", "100", "--broker", shown["A"]]
    assert subprocess.run(replay, check=False, timeout=120).returncode == 0

    rows = wait_for(lambda: len(rows := stack.rows("akloster_baseline")) == READINGS and rows, "all rows", WAIT_S)
    assert isinstance(rows, list)
    columns = [sum(map(int, column)) for column in zip(*(row.split(",") for row in rows), strict=True)]
    assert columns == [ATTENTION, MEDITATION, *BAND_SUMS]
    # The next test kills the broker, and this bridge does not come back to say again that it is offline.
    stack.compose("exec", "-T", "mosquitto", "sh", "-c", "kill -USR1 1")  # its init passes it on


async def in_thread(call: Callable[..., Value], *arguments: object) -> Value:
    """Let a call that takes its time run beside the phones."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


async def test_nothing_is_lost_or_doubled_whatever_dies(stack: Stack) -> None:
    """Eight phones measure all the time: each program is killed, the stack restarted, taken down and up again."""
    phones = [Phone(stack.url(), f"Phone_{n}") for n in range(PHONES)]
    async with measuring(phones, READING_PERIOD_S):
        for service in ("ws_gateway", "csv_recorder", "mosquitto", "proxy"):
            await in_thread(stack.kill, service)
        await in_thread(stack.compose, "restart")
        await in_thread(stack.wait_healthy, "ws_gateway")
        await in_thread(stack.compose, "down")
        await in_thread(stack.up, "ws_gateway", "csv_recorder", "proxy")
    await in_thread(wait_recorded, stack, phones)
    assert min(len(phone.sent) for phone in phones) > 50


async def test_an_update_and_the_way_back_lose_nothing(stack: Stack) -> None:
    """While phones measure, the documented commands, with a newer version where the checkout came from."""
    phones = [Phone(stack.url(), f"Updated_{n}") for n in range(PHONES)]
    source = stack.origin.folder / "neuroone/__init__.py"
    source.write_text(source.read_text(encoding="utf-8").replace(f'"{__version__}"', '"9.9.9"'), encoding="utf-8")
    stack.origin.commit()
    async with measuring(phones, READING_PERIOD_S):
        await in_thread(stack.follow, "Update")
        assert await in_thread(versions, stack) == {"9.9.9"}
        await in_thread(stack.follow, "Roll back")
        assert await in_thread(versions, stack) == {__version__}
    await in_thread(wait_recorded, stack, phones)


def test_wrong_settings_end_the_start_in_words(stack: Stack) -> None:
    """All at once, in the log of the service that `docker compose up` names; names that nobody knows are warned of."""
    settings = stack.root / ".env"
    settings.write_text("NEUROONE_SITE=the school\nNEUROONE_LOG_LEVEL=loud\nNEUROONE_SIET=lab\n", encoding="utf-8")
    try:
        with pytest.raises(AssertionError, match='"check_settings" didn\'t complete successfully: exit 2'):
            stack.compose("up", "-d")
        said = stack.compose("logs", "--no-log-prefix", "check_settings")
        assert "NEUROONE_SITE: must be an id" in said
        assert "NEUROONE_LOG_LEVEL: must be one of debug, info, warning, error, got 'loud'" in said
    finally:
        settings.write_text("NEUROONE_SIET=lab\n", encoding="utf-8")
    stack.up("ws_gateway", "csv_recorder", "proxy")
    settings.unlink()
    warned = stack.compose("logs", "--no-log-prefix", "check_settings")
    assert "NEUROONE_SIET is no setting of compose.yaml and changes nothing: NEUROONE_SITE?" in warned


def versions(stack: Stack) -> set[str]:
    """Return the versions of the services that are online."""
    states = [state for _, state in stack.topics("neuroone/v1/local/services/+/+/state")]
    return {state["version"] for state in states if state["status"] == "online"}


def wait_recorded(stack: Stack, phones: Sequence[Phone]) -> None:
    """Each phone's readings are in its CSV file: all of them, none twice."""

    def differences() -> dict[str, tuple[int, int]]:
        got = {phone.name: sorted(stack.rows(phone.name)) for phone in phones}
        wrong = [phone for phone in phones if got[phone.name] != sorted(phone.sent)]
        return {phone.name: (len(phone.sent), len(got[phone.name])) for phone in wrong}

    deadline_s = time.monotonic() + WAIT_S
    while (wrong := differences()) and time.monotonic() < deadline_s:
        pass
    assert wrong == {}, "students with sent and recorded rows"


def test_recordings_and_logins_are_saved_and_restored(stack: Stack, shown: dict[str, str], tmp_path: Path) -> None:
    """The documented commands: what was removed since the backup is there again, and goes on."""
    before = {name: stack.recorded(name) for name in ("Joao_Silva.csv", "Phone_0.csv")}
    stack.follow("Backup", backups=tmp_path)
    stack.wait_healthy("csv_recorder")
    stack.compose("exec", "-T", "csv_recorder", "sh", "-c", "rm -rf /data/*.csv /data/.inbox.sqlite*")
    other = "rm /secrets/dashboard-token; echo another >/secrets/dashboard-token"
    stack.compose("run", "--rm", "-T", "--entrypoint", "sh", "secrets", "-c", other)
    stack.follow("Restore", backups=tmp_path)
    assert stack.shown() == shown
    stack.wait_healthy("csv_recorder")
    assert {name: stack.recorded(name) for name in before} == before
    with connect(stack.url()) as student:
        student.send(STUDENT_FRAME)
        wait_for(lambda: len(stack.rows("Joao_Silva")) == 2, "another row", WAIT_S)


def test_files_of_an_old_server_are_gone_on_with(stack: Stack, tmp_path: Path) -> None:
    """The documented commands: its files come whole, none of ours is touched."""
    kept = stack.recorded("Joao_Silva.csv")
    old = f"{HEADER}\n1,2,3,4,5,6,7,8,9,10\n11,12,13,14,15,16,17,18,19,20\n"
    for name in ("Ana Souza.csv", "-José.csv"):
        (tmp_path / name).write_text(old, encoding="utf-8")
    stack.follow("The files of an old server", old=tmp_path)
    stack.wait_healthy("csv_recorder")
    with connect(stack.url()) as student:
        student.send(STUDENT_FRAME.replace("Joao_Silva", "Ana Souza"))
        row = STUDENT_CSV.splitlines()[1]
        wait_for(lambda: stack.recorded("Ana Souza.csv") == f"{old}{row}\n", "row behind the old ones", WAIT_S)
    assert stack.recorded("-José.csv") == old
    assert stack.recorded("Joao_Silva.csv") == kept


async def test_three_gateways_and_three_hundred_students_over_tls(stack: Stack, token: str) -> None:
    """Two dashboards see every student of three gateways, over wss on both paths, by the proxy's own authority."""
    trust = await in_thread(certificate_authority, stack)
    await in_thread(stack.up, "--scale", "ws_gateway=3", "ws_gateway", "csv_recorder", "proxy_tls")
    base = f"wss://localhost:{stack.https_port}"
    phones = [
        Phone(f"{base}{('/', '/ws/')[n % 2]}", f"Student_{n:03}", code="B", tls=trust) for n in range(CLASS_OF_300)
    ]
    everyone = {phone.name for phone in phones}
    async with (
        opening(f"{base}/?token={token}", trust) as first,
        opening(f"{base}/ws/?token={token}", trust) as second,
    ):
        for dashboard in (first, second):
            await dashboard.send("dash")
            await (await dashboard.ping())

        async def seen_by(dashboard: Any) -> set[str]:
            names: set[str] = set()
            while not everyone <= names:
                names.add(json.loads(await dashboard.recv())["Nome"])
            return names

        async with measuring(phones, 1.0), asyncio.timeout(WAIT_S):
            seen = await asyncio.gather(seen_by(first), seen_by(second))
    assert [names & everyone for names in seen] == [everyone, everyone]
    served = {
        state["instance"] for topic, state in await in_thread(stack.topics, "neuroone/v1/local/streams/B/+/state")
    }
    assert len(served) == 3, "gateways that served students"


def test_a_browser_that_trusts_the_proxys_authority_records_a_headset(stack: Stack, tmp_path: Path) -> None:
    """The plain port offers the authority and says where https is; the student's page works there."""
    plain = f"http://127.0.0.1:{stack.ws_port}"
    shown = wait_for(lambda: answer_of(f"{plain}/ca.crt"), "authority", WAIT_S)
    assert shown == (stack.root / "root.crt").read_bytes()
    assert json.loads(answer_of(f"{plain}/page/where.json")) == {"https": "https://127.0.0.1/", "ca": True}
    assert b"trust.js" in answer_of(f"{plain}/trust")
    with fresh_chromium(tmp_path, trusted=stack.root / "root.crt") as browser:
        expected = record_with_losses(
            browser,
            f"https://localhost:{stack.https_port}/student",
            "Lia",
            EXAMPLE,
            kill=lambda: stack.compose("kill", "ws_gateway"),
            start=lambda: stack.compose("start", "ws_gateway"),
        )
    wait_for(lambda: len(stack.rows("Lia")) >= len(expected), "all rows", WAIT_S)  # receipts come before them
    assert [row.split(",") for row in stack.rows("Lia")] == [[str(each[key]) for key in KEYS[1:]] for each in expected]


def answer_of(url: str) -> bytes:
    """Return what is at an address; nothing while nothing is there."""
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        return bytes(answer.read())
    return b""


def test_plain_http_leads_to_https_at_the_port_that_is_published(stack: Stack) -> None:
    with closing(HTTPConnection("127.0.0.1", stack.http_port, timeout=WAIT_S)) as plain:
        plain.request("GET", "/student?code=A", headers={"Host": f"localhost:{stack.http_port}"})
        assert plain.getresponse().headers["Location"] == f"https://localhost:{stack.https_port}/student?code=A"


def test_a_headset_is_read_whenever_it_is_plugged_in(stack: Stack) -> None:
    """The bridge starts without one; a headset that comes, goes, and comes as another device is read each time."""
    skip_without_consoles()
    stack.up("serial_bridge")
    device = Path(f"/dev/rfcomm{os.getpid()}")
    state = f"neuroone/v1/local/streams/+/{device.name}/state"
    readings = f"neuroone/v1/local/streams/+/{device.name}/reading"

    def is_at(status: str) -> bool:
        return [shown["status"] for _, shown in stack.topics(state, 1)] == [status]

    sessions = set()
    for console in (40, 41):
        with plugged_headset(device, console, SERIAL_GROUP):
            found = wait_for(lambda: stack.topics(readings, 2), f"readings from console {console}", WAIT_S)
            sessions.add(found[0][1]["session"])
        wait_for(lambda: is_at("offline"), "end of the stream", WAIT_S)
    assert len(sessions) == 2
    stack.compose("stop", "serial_bridge")


def test_simulated_headset_reaches_listeners_with_the_token(stack: Stack, token: str) -> None:
    """With profile sim, a client that says nothing gets ten-key frames; its readings are on the topics."""
    stack.up("simulated_headset")
    with connect(stack.url(token)) as game:
        frame = json.loads(game.recv(timeout=WAIT_S))
    assert list(frame) == HEADER.split(",")
    kinds = {topic.rsplit("/", 1)[1] for topic, _ in stack.topics("neuroone/v1/local/streams/#")}
    assert {"reading", "raw", "state"} <= kinds


def test_a_program_that_listens_reads_with_its_login(stack: Stack, shown: dict[str, str]) -> None:
    """The program of docs/how-to/programs.md prints the attention of the simulated headset."""
    page = (ROOT / "docs/how-to/programs.md").read_text(encoding="utf-8")
    program = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
    command = [sys.executable, "-u", "-c", program, shown["Programs"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as popen:
        assert popen.stdout is not None
        assert 0 <= int(popen.stdout.readline()) <= 100
        popen.kill()


def test_the_doctor_finds_the_stack_well_and_names_what_is_away(stack: Stack) -> None:
    """From within: broker, services, door and directory; a recorder that was stopped is the only problem."""

    def problems(*words: str) -> list[dict[str, Any]]:
        shown = stack.compose("run", "--rm", "doctor", "--json", *words, check=False)
        found = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
        codes = {each["code"] for each in found}
        assert {"broker_ok", "ws_ok", "broker_disk_ok"} <= codes
        assert {"csv_ok", "csv_foreign"} & codes
        return [each for each in found if each["status"] == "problem"]

    assert problems() == []
    stack.compose("stop", "csv_recorder")
    [found] = problems("--seconds", "1")
    assert (found["code"], found["facts"]["service"]) == ("service_offline", "csv_recorder")
    stack.compose("start", "csv_recorder")
    stack.wait_healthy("csv_recorder")

    as_root = ("run", "--rm", "--no-deps", "--user", "0:0", "--cap-add", "DAC_OVERRIDE", "--entrypoint")
    stack.compose(*as_root, "touch", "csv_recorder", "/data/Maria.csv")
    let_memory_run_out(stack, "csv_recorder")
    said = {each["code"]: f"{each['says']} {each['do']}" for each in problems()}
    assert list(said) == ["csv_foreign", "unit_out_of_memory"]
    assert "csv_recorder was killed" in said["unit_out_of_memory"]
    advised = re.findall(r"docker compose (run .* /data)", said["csv_foreign"])
    stack.compose(*advised[0].split())
    assert stack.compose("exec", "-T", "csv_recorder", "stat", "-c", "%u", "/data/Maria.csv").strip() == "10001"


def let_memory_run_out(stack: Stack, service: str) -> None:
    """Fill the memory of a container until Linux kills its service; wait until it is healthy again."""
    eat = """import glob, os
for process in glob.glob("/proc/[0-9]*"):
    if process != f"/proc/{os.getpid()}":
        open(f"{process}/oom_score_adj", "w").write("1000")  # Linux is to choose the service and not this program
eaten = []
while True:
    eaten.append(bytearray(b"x" * 10**7))
"""
    stack.kill(service, "/app/bin/python", "-c", eat)


def test_secrets_are_made_once_and_anew_when_asked(stack: Stack, shown: dict[str, str]) -> None:
    """After all that happened every login is what it was; the documented commands replace token and reader's login."""
    assert stack.shown() == shown
    stack.follow("Who may see what")
    after = stack.shown()
    assert {who for who in shown if shown[who] != after[who]} == {"Dashboards", "Programs"}
    with mqtt_client(shown["Programs"]) as (_, answers):
        assert answers[0] == "connect: Not authorized"
    with mqtt_client(after["Programs"]) as (_, answers):
        assert answers[0] == "connect: Success"


def test_wrong_tokens_lock_nobody_out(stack: Stack) -> None:
    """Whoever guesses tokens sees nothing, whatever address it claims; the right token passes from the same address."""
    for n in range(GUESSES):
        with connect(stack.url("guessed"), additional_headers={"X-Forwarded-For": f"127.0.0.{n}"}) as guesser:
            guesser.send("dash")
            assert json.loads(guesser.recv(timeout=WAIT_S))["error"]["code"] == "no_token"
    with connect(stack.url(stack.token())) as late:
        late.send("dash")
        with pytest.raises(TimeoutError):  # nobody sends, nobody is refused
            late.recv(timeout=2)


def test_both_languages_have_the_same_commands() -> None:
    """The Portuguese page is the English one."""
    pages = [(ROOT / f"docs/how-to/server{language}.md").read_text(encoding="utf-8") for language in ("", ".pt-BR")]
    blocks = [re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for page in pages]
    assert blocks[0] == blocks[1]


def test_stop_is_clean(stack: Stack) -> None:
    """Stopped services exit with 0 and leave retained states that say offline."""
    services = ["ws_gateway", "csv_recorder", "simulated_headset"]
    stack.compose("stop", *services, timeout_s=90)

    ended = stack.compose("ps", "--all", "--format", "json", *services)
    codes = {each["Name"]: each["ExitCode"] for each in map(json.loads, ended.splitlines())}
    assert len(codes) == 5
    assert set(codes.values()) == {0}
    states = stack.topics("neuroone/v1/local/services/+/+/state")
    assert states
    assert {(topic, state["status"]) for topic, state in states} == {(topic, "offline") for topic, _ in states}
    assert all(state["status"] == "offline" for _, state in stack.topics("neuroone/v1/local/streams/+/+/state"))

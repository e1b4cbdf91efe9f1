"""The stack of compose.yaml in a real Docker engine, used as its users use it: one stack for all tests, in order."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.system.stack import (
    BUILD_AND_START_S,
    HEADER,
    WAIT_S,
    Phone,
    Stack,
    certificate_authority,
    mqtt_client,
    new_stack,
    opening,
)
from tests.system.test_capture import ATTENTION, BAND_SUMS, CAPTURE, MEDITATION, READINGS
from tests.waiting import wait_for

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


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The default stack, built and healthy; nothing of it is left afterwards."""
    stack = new_stack("test")
    try:
        stack.up("ws_gateway", "csv_recorder", "proxy")
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def shown(stack: Stack) -> dict[str, str]:
    """What `docker compose run --rm secrets --show` prints."""
    return stack.shown()


@pytest.fixture(scope="module")
def token(shown: dict[str, str]) -> str:
    """The dashboards' token, from the operator's command."""
    return shown["Dashboards"].partition("?token=")[2]


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


def test_an_anonymous_program_is_refused_by_the_broker(shown: dict[str, str]) -> None:
    """No login, no MQTT."""
    with mqtt_client(shown["Programs"], anonymous=True) as (_, answers):
        assert answers[0] == "connect: Not authorized"


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
    assert len(passwords) == 4
    assert [password for password in passwords if password in seen] == []


@pytest.mark.skipif(not CAPTURE.exists(), reason="the real capture is test input beside the project, and is not here")
def test_a_bench_computer_plays_a_capture_into_the_stack(stack: Stack, shown: dict[str, str]) -> None:
    """A bridge outside of the stack, with the bridge's login: the recorded file has the capture's sums."""
    replay = [sys.executable, "-m", "serial_bridge", "replay", str(CAPTURE), "--speed", "100", "--broker", shown["A"]]
    assert subprocess.run(replay, check=False, timeout=120).returncode == 0

    rows = wait_for(lambda: len(rows := stack.rows("akloster_baseline")) == READINGS and rows, "all rows", WAIT_S)
    assert isinstance(rows, list)
    columns = [sum(map(int, column)) for column in zip(*(row.split(",") for row in rows), strict=True)]
    assert columns == [ATTENTION, MEDITATION, *BAND_SUMS]


async def in_thread(call: Callable[..., Value], *arguments: object) -> Value:
    """Let a call that takes its time run beside the phones."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


async def test_nothing_is_lost_or_doubled_whatever_dies(stack: Stack) -> None:
    """Eight phones measure all the time: each program is killed, the stack restarted, taken down and up again."""
    phones = [Phone(stack.url(), f"Phone_{n}") for n in range(PHONES)]
    running = [asyncio.create_task(phone.run()) for phone in phones]

    async def measure() -> None:
        while True:
            await asyncio.gather(*(phone.measure() for phone in phones))
            await asyncio.sleep(READING_PERIOD_S)

    measuring = asyncio.create_task(measure())
    try:
        for service in ("ws_gateway", "csv_recorder", "mosquitto", "proxy"):
            await in_thread(stack.kill, service)
        await in_thread(stack.compose, "restart")
        await in_thread(stack.wait_well, "ws_gateway")
        await in_thread(stack.compose, "down")
        await in_thread(stack.up, "ws_gateway", "csv_recorder", "proxy")
        measuring.cancel()
        async with asyncio.timeout(WAIT_S):
            while not all(phone.is_done for phone in phones):  # noqa: ASYNC110 (a phone sets no event)
                await asyncio.sleep(0.1)
    finally:
        measuring.cancel()
        for task in running:
            task.cancel()
        await asyncio.gather(measuring, *running, return_exceptions=True)

    def differences() -> dict[str, tuple[int, int]]:
        got = {phone.name: sorted(stack.rows(phone.name)) for phone in phones}
        return {
            phone.name: (len(phone.sent), len(got[phone.name]))
            for phone in phones
            if got[phone.name] != sorted(phone.sent)
        }

    deadline_s = time.monotonic() + WAIT_S
    while (wrong := await in_thread(differences)) and time.monotonic() < deadline_s:
        pass
    assert wrong == {}, "students with sent and recorded rows"
    assert min(len(phone.sent) for phone in phones) > 50


async def test_three_gateways_and_three_hundred_students_over_tls(stack: Stack, token: str) -> None:
    """Two dashboards see every student of three gateways, over wss on both paths, by the proxy's own authority."""
    await in_thread(stack.up, "--scale", "ws_gateway=3", "ws_gateway", "csv_recorder", "proxy_tls")
    trust = certificate_authority(stack)
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
        running = [asyncio.create_task(phone.run()) for phone in phones]

        async def seen_by(dashboard: Any) -> set[str]:
            names: set[str] = set()
            while not everyone <= names:
                names.add(json.loads(await dashboard.recv())["Nome"])
            return names

        async def measure() -> None:
            while True:
                await asyncio.gather(*(phone.measure() for phone in phones))
                await asyncio.sleep(1)

        measuring = asyncio.create_task(measure())
        try:
            async with asyncio.timeout(WAIT_S):
                seen = await asyncio.gather(seen_by(first), seen_by(second))
        finally:
            for task in (measuring, *running):
                task.cancel()
            await asyncio.gather(measuring, *running, return_exceptions=True)
    assert [names & everyone for names in seen] == [everyone, everyone]
    served = {
        state["instance"] for topic, state in await in_thread(stack.topics, "neuroone/v1/local/streams/B/+/state")
    }
    assert len(served) == 3, "gateways that served students"


def test_simulated_headset_reaches_listeners_with_the_token(stack: Stack, token: str) -> None:
    """With profile sim, a client that says nothing gets ten-key frames; its readings are on the topics."""
    stack.up("simulated_headset")
    with connect(stack.url(token)) as game:
        frame = json.loads(game.recv(timeout=WAIT_S))
    assert list(frame) == HEADER.split(",")
    kinds = {topic.rsplit("/", 1)[1] for topic, _ in stack.topics("neuroone/v1/local/streams/#")}
    assert {"reading", "raw", "state"} <= kinds


def test_the_doctor_finds_the_stack_well_and_names_what_is_away(stack: Stack) -> None:
    """From within: broker, services, door and directory; a recorder that was stopped is the only problem."""

    def problems() -> list[str]:
        shown = stack.compose("run", "--rm", "--build", "doctor", "--json", check=False)
        found = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
        assert {"broker_ok", "ws_ok", "csv_ok"} <= {each["code"] for each in found}
        return [f"{each['code']} {each['facts'].get('service')}" for each in found if each["status"] == "problem"]

    assert problems() == []
    stack.compose("stop", "csv_recorder")
    assert problems() == ["service_offline csv_recorder"]
    stack.compose("start", "csv_recorder")
    stack.wait_well("csv_recorder")


def test_secrets_are_made_once(stack: Stack, shown: dict[str, str]) -> None:
    """Every login is what it was at the first start, after all that happened."""
    assert stack.shown() == shown


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

"""Tests of what `neuroone up` shows below its banner."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from neuroone.contract import hints, topics
from neuroone.contract.json import encode
from neuroone.contract.messages import (
    Health,
    Kind,
    Link,
    Message,
    ServiceState,
    ServiceStatus,
    StreamState,
    StreamStatus,
)
from neuroone.mqtt.delivery import Delivery
from neuroone.service.language import LANGUAGES
from neuroone.up import banner
from neuroone.up.notices import TABLE_PERIOD_S, Notices
from neuroone.up.observed import Observed
from neuroone.up.view import BROKER, View, window_problems

SINCE_MS = 1_000_000
NAMES = (BROKER, "csv_recorder", "ws_gateway", "serial_bridge", "monitor_gui")


@dataclass
class Program:
    """A child as the table sees it."""

    is_running: bool = True
    has_ended: bool = False


class World:
    """A system whose states the test sets."""

    def __init__(self, language: str = "en") -> None:
        self.children: dict[str, Any] = {name: Program() for name in NAMES}
        self.observed = Observed("local", SINCE_MS, "PC-7")
        self.addresses = {BROKER: "mqtt://127.0.0.1:1883", "ws_gateway": "ws://192.168.0.10:8080"}
        self.problems: dict[str, str] = {}
        self.lines: list[str] = []
        self.now_s = 0.0
        view = View(self.addresses, self.problems)
        self.notices = Notices(self.children, self.observed, lambda: view, self, language)  # type: ignore[arg-type]
        for name in NAMES[1:4]:
            self.hear(topics.service_state("local", name, "PC-7"), service())

    def show(self, lines: list[str]) -> None:
        self.lines += lines

    def say(self, line: str) -> None:
        self.lines.append(line)

    def hear(self, topic: topics.Topic, message: Message, *, retained: bool = False) -> None:
        self.observed.on_delivery(Delivery(str(topic), encode(message), retained, 0, 1))

    def after(self, seconds: float) -> list[str]:
        """Let time pass; return what is shown meanwhile."""
        self.lines.clear()
        for _ in range(int(seconds * 5)):
            self.notices.step(self.now_s)
            self.now_s += 0.2
        return list(self.lines)


def service(status: str = "online", fault: str | None = None, epoch: int = SINCE_MS) -> ServiceState:
    return ServiceState(status=ServiceStatus(status), version="1", epoch=epoch, connection=1, fault=fault, run="now")


def headset(hint: str | None, link: Link = Link.NO_PORT, instance: str = "PC-7-auto", **more: Any) -> StreamState:
    return StreamState(
        **{
            "status": StreamStatus.OFFLINE,
            "session": "s",
            "time": datetime.now(UTC),
            "kind": Kind.HEADSET,
            "name": None,
            "code": None,
            "link": link,
            "hint": hint,
            "device": "auto",
            "service": "serial_bridge",
            "instance": instance,
            "epoch": SINCE_MS,
            "counters": {},
            **more,
        }
    )


AUTO = topics.stream_state("local", "no-group", "auto")


@pytest.mark.parametrize(
    ("language", "head", "state"),
    [
        ("en", "Service        State    Address", "running"),
        ("pt-BR", "Serviço        Estado       Endereço", "em execução"),
    ],
)
def test_the_table_comes_at_once_and_again_only_when_something_changes(language: str, head: str, state: str) -> None:
    """What is over before a table could be read is in none."""
    world = World(language)
    lines = world.after(5)
    assert lines[1] == head
    assert [line.split("  ")[0] for line in lines[2:-1]] == list(NAMES)
    assert f"ws_gateway     {state}  ws://192.168.0.10:8080" in lines
    assert world.after(600) == []
    world.children["ws_gateway"].is_running = False
    world.after(1)
    world.children["ws_gateway"].is_running = True
    assert world.after(60) == []
    world.addresses["ws_gateway"] = "ws://192.168.0.77:8080"
    assert f"ws_gateway     {state}  ws://192.168.0.77:8080" in world.after(10)
    world.children["serial_bridge"].has_ended = True
    assert any(line.startswith("serial_bridge") and state not in line for line in world.after(60))


def test_a_program_that_dies_again_and_again_does_not_fill_the_screen() -> None:
    world = World()
    world.after(5)
    shown = []
    for turn in range(60):
        world.children["csv_recorder"].is_running = turn % 2 == 0
        shown += world.after(10)
    assert 0 < shown.count("") / 2 <= 600 / TABLE_PERIOD_S
    assert len([line for line in shown if line.startswith(("Hint", "Mended"))]) < 30


@pytest.mark.parametrize(
    ("language", "said", "mended"),
    [
        ("en", "Hint: Nothing is recorded: ", 'Mended: "Nothing is recorded"'),
        ("pt-BR", "Aviso: Nada está sendo gravado: ", 'Resolvido: "Nada está sendo gravado"'),
    ],
)
def test_a_recorder_that_is_away_is_said_until_it_is_back(language: str, said: str, mended: str) -> None:
    """Its process may live and yet not be on the broker."""
    world = World(language)
    world.after(5)
    world.hear(topics.service_state("local", "csv_recorder", "PC-7"), service("offline"))
    lines = world.after(300)
    assert [line for line in lines if line.startswith(said)] == [line for line in lines if ": " in line]
    world.hear(topics.service_state("local", "csv_recorder", "PC-7"), service())
    assert [line for line in world.after(300) if ": " in line] == [mended]


def test_the_fault_that_a_service_reports_is_passed_on_without_what_steers_a_terminal() -> None:
    world = World()
    world.hear(topics.service_state("local", "csv_recorder", "PC-7"), service(fault="cannot write: \x1b[2JNo\nspace"))
    lines = world.after(10)
    assert "csv_recorder   has a fault" in lines
    assert "Hint: csv_recorder reports a fault: cannot write: ?[2JNo?space" in lines


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_bridges_advice_is_said_in_the_readers_language(language: str) -> None:
    world = World(language)
    world.hear(AUTO, headset(hints.NO_PORT_FOUND.text()))
    lines = world.after(30)
    kind = banner.texts(language)["hint"]
    assert [line for line in lines if ": " in line] == [f"{kind}: {hints.NO_PORT_FOUND.text('', language)}"]
    world.hear(AUTO, headset(None, Link.ENDED))
    assert [line.split(":")[0] for line in world.after(30)] == [banner.texts(language)["mended"]]


def test_a_headset_is_told_from_others_by_its_id_and_not_by_its_wearers_name() -> None:
    """What is printed may be kept as a log."""
    world = World()
    topic = topics.stream_state("local", "7B", "ttyUSB0")
    world.hear(topic, headset(hints.STANDBY.text(), Link.STANDBY, name="Ana", device="/dev/ttyUSB0"))
    said = [f"Hint: ttyUSB0 - {hints.STANDBY.text()}"]
    assert [line for line in world.after(30) if ": " in line] == said
    world.hear(topic, headset(hints.PORT_LOST.text("/dev/ttyUSB0"), Link.UNPLUGGED, name="Ana", device="/dev/ttyUSB0"))
    assert world.after(30) == [f"Hint: {hints.PORT_LOST.text('/dev/ttyUSB0')}"]


def test_only_headsets_of_this_computer_and_this_run_are_named() -> None:
    """A shared broker knows others, and keeps what a killed run left."""
    world = World()
    world.hear(AUTO, headset("another computer's", instance="PC-8-auto"))
    world.hear(AUTO, headset("of an earlier run", epoch=SINCE_MS - 1), retained=True)
    world.hear(AUTO, headset("a phone's", service="ws_gateway"))
    assert not [line for line in world.after(60) if line.startswith("Hint")]
    world.hear(AUTO, headset("after the clock was set back", epoch=SINCE_MS - 1))
    assert [line for line in world.after(60) if line.startswith("Hint")]


def test_a_disk_that_is_nearly_full_is_said() -> None:
    world = World()
    report = Health(time=datetime.now(UTC), uptime_s=1, memory_bytes=None, counters={}, gauges={"free_bytes": 9e8})
    world.hear(topics.health("local", "csv_recorder", "PC-7"), report)
    assert len([line for line in world.after(30) if line.startswith("Hint: The disk")]) == 1
    unknown = Health(time=datetime.now(UTC), uptime_s=1, memory_bytes=None, counters={}, gauges={"free_bytes": -1})
    world.hear(topics.health("local", "csv_recorder", "PC-7"), unknown)
    assert world.after(30) == ['Mended: "The disk of the recordings is nearly full"']


def test_every_text_exists_in_both_languages_with_the_same_facts() -> None:
    english, portuguese = map(banner.texts, LANGUAGES)
    assert list(english) == list(portuguese)
    for key, text in english.items():
        assert text.count("{") == portuguese[key].count("{"), key
    assert set(english) >= {*NAMES, *map(str, banner.State)}


def test_a_window_that_cannot_open_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuroone.service import qt_libraries

    say = banner.texts("en")
    monkeypatch.setattr(qt_libraries, "missing", lambda environ: ["libEGL.so.1"])
    assert "it needs libEGL.so.1" in window_problems({"DISPLAY": ":0"}, say)["monitor_gui"]
    monkeypatch.setattr(qt_libraries, "missing", lambda environ: [])
    assert window_problems({"DISPLAY": ":0"}, say) == {}
    assert window_problems({"QT_QPA_PLATFORM": "offscreen"}, say) == {}
    monkeypatch.setattr(qt_libraries, "has_screen", lambda environ: False)
    assert window_problems({}, say) == {"monitor_gui": say["window_screen"]}


def test_a_terminal_of_another_encoding_shows_what_it_can() -> None:
    """A file in another encoding than ours must not end the system either."""
    from neuroone.up.console import Console

    raw = io.BytesIO()
    console = Console(io.TextIOWrapper(raw, encoding="ascii"))
    console.say("Gravação em /home/joão/\udcff")
    console.close()
    assert raw.getvalue() == b"Grava??o em /home/jo?o/?\n"


def test_a_terminal_that_takes_nothing_holds_up_nobody() -> None:
    """Somebody selects text in a window of Windows, or has pressed Ctrl-S."""
    import threading

    from neuroone.up.console import WAITING_MAX, Console

    pressed = threading.Event()

    class Held(io.StringIO):
        def write(self, text: str) -> int:
            pressed.wait(30)
            return super().write(text)

    held = Held()
    console = Console(held)
    console.show(f"line {number}" for number in range(WAITING_MAX + 100))
    assert 98 <= console.dropped <= 100
    pressed.set()
    console.close()
    assert held.getvalue().startswith("line 0\nline 1\n")

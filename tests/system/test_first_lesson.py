"""The commands of docs/first-lesson.md, in both languages, lead to a recorded lesson."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroone.contract.messages import Reading
from neuroone.contract.topics import Topic
from tests.support.brokers import free_port
from tests.support.bus_listener import listening
from tests.support.documents import ROOT, TIMEOUT_S, blocks, running, wait_for_line

LESSONS = {"docs/first-lesson.md": "en", "docs/first-lesson.pt-BR.md": "pt-BR"}
STUDENTS = ("Ana", "Bia", "Caio")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]


def test_both_languages_have_the_same_commands() -> None:
    commands = [blocks(lesson, "sh") for lesson in LESSONS]
    assert commands[0] == commands[1]


@pytest.mark.parametrize(("lesson", "language"), LESSONS.items())
def test_the_buttons_it_names_are_on_the_page(lesson: str, language: str) -> None:
    page = json.loads((ROOT / f"services/ws_gateway/page/{language}.json").read_text(encoding="utf-8"))
    buttons = re.findall(r"\*\*(.+?)\*\*", (ROOT / lesson).read_text(encoding="utf-8"))
    assert buttons == [page["lesson.start"], page["marker"], page["lesson.stop"]]


def sent_by(name: str) -> Callable[[Topic, Reading], bool]:
    """Return a test for the third reading of a student."""
    return lambda topic, reading: reading.name == name and reading.seq >= 2


def test_the_commands_record_a_lesson(tmp_path: Path) -> None:
    up_command, class_command, report, verify = (block.strip() for block in blocks("docs/first-lesson.md", "sh"))
    mqtt_port = free_port()
    environ = {"NEUROONE_DATA": str(tmp_path), "NEUROONE_DIR": str(tmp_path), "NEUROONE_LANGUAGE": "en"}
    broker = f"mqtt://127.0.0.1:{mqtt_port}"
    ports = {"NEUROONE_WS_PORT": str(free_port()), "NEUROONE_MQTT_PORT": str(mqtt_port)}
    with running(up_command, **environ, **ports) as up:
        wait_for_line(up, "Ctrl+C")
        with listening(broker) as listener, running(class_command, NEUROONE_BROKER=broker):
            for name in STUDENTS:
                listener.wait_for(Reading, sent_by(name))
    assert up.returncode == 0
    for command, words in ((report, STUDENTS), (verify, ("all in order",))):
        done = subprocess.run(
            shlex.split(command.replace("recordings/report.html", shlex.quote(str(tmp_path / "report.html")))),
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            env={**os.environ, **environ},
            check=True,
        )
        assert all(word in done.stdout for word in words), done.stdout
    assert {path.stem for path in tmp_path.glob("*.csv")} >= set(STUDENTS)
    assert all(name in (tmp_path / "report.html").read_text(encoding="utf-8") for name in STUDENTS)

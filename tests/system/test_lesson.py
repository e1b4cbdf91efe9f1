"""A lesson with the phones of a real school, whose codes are new at each start, from `neuroone up` to the report."""

import asyncio
import contextlib
import json
import random
import string
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from csv_recorder.offline.report.figures import ALL, make
from neuroone.data.recordings import find, without_doubles
from tests.support.gateways import happens, hear
from tests.support.up_process import Up, running_up

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]
BANDS = ("Delta", "Theta", "LowAlpha", "HighAlpha", "LowBeta", "HighBeta", "LowGamma", "MiddleGamma")
PERIOD_S = 0.3
"""The gateway takes up to five readings a second."""
LESSON = "Ciências"
chance = random.Random(5)


class Phone:
    """A phone of the first dialect: a new code at each start, as the production app makes it."""

    def __init__(self, up: Up, name: str) -> None:
        self._up = up
        self._name = name
        self._sending: asyncio.Task[None] | None = None
        self.start()

    def start(self) -> None:
        code = "5" + "".join(chance.choices(string.ascii_uppercase, k=5))
        self._sending = asyncio.create_task(self._send(code))

    async def end(self) -> None:
        assert self._sending is not None
        self._sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sending

    async def _send(self, code: str) -> None:
        async with connect(f"ws://127.0.0.1:{self._up.ws_port}/", proxy=None) as connection:
            while True:
                bands = {band: chance.randrange(1, 10**6) for band in BANDS}
                values = {"Att": chance.randrange(1, 101), "Med": chance.randrange(1, 101)}
                await connection.send(json.dumps({"Nome": self._name, "Codigo": code, **values, **bands}))
                await asyncio.sleep(PERIOD_S)


@contextlib.asynccontextmanager
async def dashboard(up: Up) -> AsyncIterator[Any]:
    """Open a dashboard of the new dialect."""
    url = f"ws://127.0.0.1:{up.ws_port}/"
    async with connect(url, subprotocols=[Subprotocol("neuroone.v1")], proxy=None) as connection:
        await connection.send(json.dumps({"type": "hello", "role": "dashboard"}))
        yield connection


async def hear_of(connection: Any, kind: str) -> Any:
    while (heard := await hear(connection))["type"] != kind:
        pass
    return heard


async def mark(teacher: Any, event: str, text: str = "") -> None:
    await teacher.send(json.dumps({"type": "marker", "id": event, "event": event, "text": text}))
    await hear_of(teacher, "lesson")


def rows(data: Path) -> dict[Path, int]:
    """Count the rows of each session."""
    return {path: path.read_bytes().count(b"\n") - 1 for path in data.glob("sessions/*/*/readings.csv")}


async def all_grow(data: Path, sessions: int) -> None:
    """Wait until so many sessions get new rows."""
    before = rows(data)
    await happens(lambda: sum(count > before.get(path, 0) for path, count in rows(data).items()) >= sessions, 60.0)


def recorder_of(up: Up) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return next((each for each in up.family() if "csv_recorder" in each.cmdline()), None)
    return None


def printed(*words: str) -> str:
    command = [sys.executable, "-m", "csv_recorder", *words]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


async def hold_lesson(up: Up) -> None:
    """12 phones are there, 3 come late, 2 come back with new codes, and the recorder is killed in the middle."""
    phones = [Phone(up, f"Aluno {number:02}") for number in range(12)]
    await all_grow(up.data, 12)
    async with dashboard(up) as teacher:
        await mark(teacher, "session_start", LESSON)
        phones += [Phone(up, f"Aluno {number:02}") for number in range(12, 15)]
        await all_grow(up.data, 15)
        for phone in phones[:2]:
            await phone.end()
            phone.start()
        await all_grow(up.data, 15)
        killed = recorder_of(up)
        assert killed is not None
        killed.kill()
        await happens(lambda: recorder_of(up) not in (None, killed), 60.0)
        await all_grow(up.data, 15)
        async with dashboard(up) as late:
            assert (await hear_of(late, "lesson"))["name"] == LESSON
        await mark(teacher, "session_stop")
        await all_grow(up.data, 15)
    for phone in phones:
        await phone.end()


async def test_a_lesson_of_phones_with_random_codes_is_one_class_of_fifteen(tmp_path: Path) -> None:
    with running_up(tmp_path / "D") as up:
        await hold_lesson(up)
    sidecars = [json.loads(path.read_text("utf-8")) for path in up.data.glob("sessions/*/*/session.json")]
    assert [each["class"] for each in sidecars] == [LESSON] * 17
    assert {part["name"] for each in sidecars for part in each["lessons"]} == {LESSON}
    (listed,) = (json.loads(line) for line in printed("lessons", "--json", "--dir", str(up.data)).splitlines())
    assert (listed["name"], listed["students"], listed["sessions"]) == (LESSON, 15, 17)
    assert listed["began"] < listed["ended"]
    report = make(without_doubles(find([up.data])))
    (of_class,) = report.classes.to_dict("records")
    assert (of_class["class"], of_class["students"], of_class["attention_students"]) == (LESSON, 15, 15)
    assert report.count == 15
    assert not (report.sessions["session"] == ALL).any()
    assert 0 < of_class["rows"] < sum(rows(up.data).values()), "the readings before and after it are not in the lesson"
    assert LESSON in printed("report", "--dir", str(up.data), "--language", "en")

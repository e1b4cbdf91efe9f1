"""A class of simulated students, each on its own connection; the test controls them while they run in one thread."""

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from neuroone.contract.messages import BANDS

START_TIMEOUT_S = 20.0
OLD_KEYS = "Att Med Delta Theta LowAlpha HighAlpha LowBeta HighBeta LowGamma MiddleGamma".split()
POLL_S = 0.05


@dataclass
class SimulatedStudent:
    """What one student sends; a test may change it at any time. A silent student stays connected and sends nothing.

    An old one has the production phone app: the first dialect, without signal quality.
    """

    name: str | None
    code: str | None = "TURMA-1"
    poor_signal: int | None = 0
    attention: int = 60
    meditation: int = 50
    band: int = 1000
    is_silent: bool = False
    is_gone: bool = False
    is_old: bool = False
    sent: int = 0
    values: dict[str, int] = field(default_factory=dict)

    def reading(self) -> dict[str, Any]:
        """Make the next reading."""
        bands = dict.fromkeys(BANDS, self.band) | self.values
        if self.band and "delta" not in self.values:
            bands["delta"] += self.sent % 10  # ten equal numbers for 10 s are taken for a headset that is gone
        if self.is_old:
            values = zip(OLD_KEYS, (self.attention, self.meditation, *bands.values()), strict=True)
            return {"Nome": self.name, "Codigo": self.code, **dict(values)}
        return {
            "type": "reading",
            "seq": self.sent,
            "poor_signal": self.poor_signal,
            "attention": self.attention,
            "meditation": self.meditation,
            **bands,
        }


class SimulatedClass:
    """Students who send a reading every ``period_s``."""

    def __init__(self, url: str, students: list[SimulatedStudent], period_s: float = 0.5) -> None:
        self.students = students
        self._url = url
        self._period_s = period_s
        self._stop = threading.Event()
        self._ready = threading.Semaphore(0)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="class")

    def __enter__(self) -> "SimulatedClass":
        self._thread.start()
        for _ in self.students:
            assert self._ready.acquire(timeout=START_TIMEOUT_S), "a student found no gateway"
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*map(self._attend, self.students))

    async def _attend(self, student: SimulatedStudent) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError, ConnectionClosed):
                dialects = None if student.is_old else [Subprotocol("neuroone.v1")]
                async with connect(self._url, subprotocols=dialects, proxy=None) as connection:
                    hello = {"type": "hello", "role": "student", "name": student.name, "code": student.code}
                    if not student.is_old:
                        await connection.send(json.dumps(hello, ensure_ascii=False))
                    student.sent = 0
                    await self._send(student, connection)
            await asyncio.sleep(POLL_S)
            while student.is_gone and not self._stop.is_set():  # noqa: ASYNC110 (the test's thread sets it)
                await asyncio.sleep(POLL_S)

    async def _send(self, student: SimulatedStudent, connection: ClientConnection) -> None:
        clock = asyncio.get_running_loop().time
        due_s = clock()
        reader = asyncio.create_task(_ignore(connection))
        try:
            while not (self._stop.is_set() or student.is_gone):
                if not student.is_silent and clock() >= due_s:
                    due_s = clock() + self._period_s
                    await connection.send(json.dumps(student.reading(), ensure_ascii=False))
                    student.sent += 1
                    if student.sent == 1:
                        self._ready.release()
                await asyncio.sleep(POLL_S)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


async def _ignore(connection: ClientConnection) -> None:
    async for _ in connection:
        pass

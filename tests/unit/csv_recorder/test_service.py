"""The recorder between its client and its disk."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from csv_recorder import service as service_module
from csv_recorder.live.faults import Faults
from csv_recorder.live.recorder import Recorder
from csv_recorder.service import Service
from csv_recorder.settings import RunSettings
from neuroone.contract import topics
from neuroone.contract.messages import Recorded
from neuroone.mqtt.delivery import Delivery
from neuroone.service.lifecycle import Stop
from tests.support.lessons import Lesson, delivered
from tests.support.messages import NOON, reading
from tests.unit.csv_recorder.live.test_recorder import delivery

WITHIN_S = 20.0


class Client:
    """Keeps what the service reports, publishes and acknowledges."""

    def __init__(self) -> None:
        self.session = SimpleNamespace(has_states=True)
        self.is_connected = True
        self.faults: list[str | None] = []
        self.receipts: list[Recorded] = []
        self.acked: list[Delivery] = []

    def report_fault(self, fault: str | None) -> None:
        self.faults.append(fault)

    def publish(self, topic: object, message: Recorded) -> bool:
        self.receipts.append(message)
        return True

    def ack(self, deliveries: list[Delivery]) -> None:
        self.acked += deliveries

    def resume_reading(self) -> None: ...


async def run_until(service: Any, condition: Callable[[Client], object]) -> Client:
    """Let the service record until a condition is met."""
    client = service._client = Client()
    recording = asyncio.create_task(service._record(asyncio.get_running_loop()))
    async with asyncio.timeout(WITHIN_S):
        while not condition(client) and not recording.done():  # noqa: ASYNC110 (the condition sets no event)
            await asyncio.sleep(0.01)
    service._stop.set()
    service._some.set()
    await recording
    return client


@pytest_asyncio.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A service whose recorder is open, with short periods."""
    monkeypatch.setattr(service_module, "TICK_S", 0.02)
    monkeypatch.setattr(service_module, "RETRY_S", 0.1)
    monkeypatch.setattr(service_module, "QUIET_S", 0.02)
    service: Any = Service(RunSettings(dir=tmp_path), Stop())
    service._recorder.open()
    yield service
    monkeypatch.undo()
    await asyncio.get_running_loop().shutdown_default_executor()
    service._recorder.close()


async def test_what_the_broker_has_on_its_way_is_recorded_before_the_end(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that ended just before has its last readings there. Who never stops sending does not hold it up."""
    monkeypatch.setattr(service_module, "QUIET_S", 0.2)
    monkeypatch.setattr(service_module, "LAST_S", 0.5)
    loop, seqs = asyncio.get_running_loop(), iter(range(10**6))

    def come() -> None:
        if not recording.done():
            service._on_delivery(delivery(next(seqs)))
            loop.call_later(0.02, come)

    client = service._client = Client()
    service._stop.set()
    recording = asyncio.create_task(service._record(loop))
    loop.call_later(0.02, come)
    async with asyncio.timeout(WITHIN_S):
        await recording
    service._recorder.close()
    assert len(client.acked) > 2
    assert len((service._settings.dir / "Joao_Silva.csv").read_text().splitlines()) == 1 + len(client.acked)


async def test_a_wait_for_a_sync_that_cannot_begin_leaves_the_loop_to_others(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def refuse(recorder: Recorder) -> None:
        tries.append(recorder)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recorder, "is_full", True)
    monkeypatch.setattr(Recorder, "begin_settling", refuse)
    service._on_delivery(delivery())
    ticks = []
    monkeypatch.setattr(service, "_watch_space", lambda: ticks.append(1))
    monkeypatch.setattr(service_module, "SETTLE_PERIOD_S", 0.05)
    client = await run_until(service, lambda client: len(ticks) > 5)
    assert "cannot write the files: No space left on device" in client.faults
    assert not client.acked
    assert len(tries) < 100


async def test_receipts_and_files_go_on_while_the_inbox_refuses(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service._recorder.accept([delivery(0)])
    real, tries = Recorder.accept, []

    def refuse(recorder: Recorder, deliveries: list[Delivery]) -> None:
        tries.append(deliveries)
        if len(tries) < 4:
            raise OSError(28, "No space left on device")
        real(recorder, deliveries)

    monkeypatch.setattr(Recorder, "accept", refuse)
    monkeypatch.setattr(service_module, "RETRY_S", 600)  # the second try waits until the receipt has been looked at
    service._on_delivery(delivery(1))
    client = await run_until(service, lambda client: client.receipts)
    assert (len(tries), client.acked) == (1, [])
    assert client.receipts[0].streams[0].rows == 1
    assert (service._settings.dir / "Joao_Silva.csv").is_file()
    monkeypatch.setattr(service_module, "RETRY_S", 0.1)
    service._due.record_s = 0.0
    service._stop = Stop()
    client = await run_until(service, lambda client: client.acked)
    assert client.acked == [delivery(1)]
    assert client.faults[-1] is None


async def test_a_stream_of_deliveries_leaves_time_for_receipts(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """New ones come while each batch is recorded, so there is always one more."""
    real, seqs = Recorder.accept, iter(range(10**6))

    def accept(recorder: Recorder, deliveries: list[Delivery]) -> None:
        real(recorder, deliveries)
        if not service._stop.is_set():
            service._on_delivery(delivery(next(seqs)))

    monkeypatch.setattr(Recorder, "accept", accept)
    service._on_delivery(delivery(next(seqs)))
    client = await run_until(service, lambda client: len(client.receipts) > 3)
    assert len(client.acked) > 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            sqlite3.DatabaseError("database disk image is malformed"),
            "the inbox is damaged: database disk image is malformed; stop the recorder, then run csv-recorder rebuild",
        ),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (OSError(28, "No space left on device", "Ana.csv"), "No space left on device"),
    ],
)
def test_a_fault_is_said_without_a_name_and_a_damaged_inbox_with_the_way_out(error: Exception, words: str) -> None:
    faults = Faults()
    with faults.noting("record"):
        raise error
    assert faults.words == f"cannot record: {words}"


async def test_a_recorder_that_keeps_days_removes_old_sessions_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only while nobody is recorded; a failure of the removal keeps nobody from being recorded."""
    lesson = Lesson(tmp_path)
    for name, time in {"Ana": NOON - timedelta(days=400), "Joao": datetime.now(UTC)}.items():
        of_name = reading(name=name, session=f"session-{name}", time=time)
        lesson.recorder.accept([delivered(topics.reading("local", "A", name), of_name)])
    lesson.recorder.close()
    monkeypatch.setattr(service_module, "TICK_S", 0.02)
    monkeypatch.setattr(service_module, "PRUNE_PERIOD_S", 0.02)
    service: Any = Service(RunSettings(dir=tmp_path, keep_days=30), Stop())
    service._recorder.open()
    await run_until(service, lambda client: not [*tmp_path.glob("sessions/*/*Ana*")])
    asked: list[int] = []

    def fail(directory: Path, days: int, *_: object) -> None:
        asked.append(days)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(service_module, "prune", fail)
    service._stop = Stop()
    await run_until(service, lambda client: len(asked) > 1)
    service._stop = Stop()
    service._on_delivery(delivery())
    count = len(asked)
    await run_until(service, lambda client: client.acked and len([*tmp_path.glob("sessions/*/*/readings.csv")]) == 2)
    assert set(asked) == {30}
    assert len(asked) <= count + 1
    await asyncio.get_running_loop().shutdown_default_executor()
    service._recorder.close()

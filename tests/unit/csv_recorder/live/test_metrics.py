"""What the recorder shows to Prometheus."""

import errno
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.live import metrics
from csv_recorder.live.output import RETRY_MAX_S
from csv_recorder.live.recorder import Recorder
from csv_recorder.service import Service
from csv_recorder.settings import RunSettings
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.client import AsyncClient
from neuroone.service.lifecycle import Stop
from neuroone.service.metrics import CLIENT_COUNTERS, Metrics
from tests.support.scrapes import checked
from tests.unit.csv_recorder.live.test_faults import ana, clock, refuse, start
from tests.unit.csv_recorder.live.test_recorder import Clock, crash, delivery, record

__all__ = ["clock", "start"]
AGE = "oldest_unsettled_row_age_seconds"


def test_everything_that_is_counted_has_a_help_text(tmp_path: Path) -> None:
    counted = set(Recorder(tmp_path).counters) - {"disk_faults"} | {"of_others"}
    assert counted | set(CLIENT_COUNTERS) == set(metrics.COUNTERS)


def test_the_page_follows_the_conventions_of_prometheus(tmp_path: Path) -> None:
    service: Any = Service(RunSettings(dir=tmp_path), Stop())
    service._client = AsyncClient(BrokerAddresses.parse("mqtt://127.0.0.1:1"), service._identity)
    service._recorder.open()
    page = Metrics(service._identity, lambda: True, service._metrics).page().decode()
    service._recorder.close()
    names = {metric.name for metric in checked(page)}
    assert names >= {"neuroone_build_info", "neuroone_broker_connected", "neuroone_recorder_rows"}
    for name in metrics.GAUGES:
        assert f"\nneuroone_recorder_{name} " in page
    for kind in metrics.KINDS:
        assert f'neuroone_recorder_disk_faults_total{{kind="{kind}"}} 0.0' in page
    free_bytes = next(line for line in page.splitlines() if line.startswith("neuroone_recorder_free_bytes"))
    assert float(free_bytes.split()[1]) > 0


def test_sessions_are_open_until_they_are_closed(start: Any, clock: Clock) -> None:
    recorder = start()
    record(recorder, delivery(0), ana(0))
    assert recorder.gauges()["sessions_open"] == 2
    recorder.close()


def test_the_oldest_row_grows_old_until_it_is_settled(start: Any, clock: Clock) -> None:
    recorder = start()
    assert recorder.gauges()[AGE] == 0
    record(recorder, ana(0))
    clock.now_s += 10
    record(recorder, ana(1))
    assert recorder.gauges()[AGE] == 10
    settling = recorder.begin_settling()
    clock.now_s += 3
    record(recorder, ana(2))
    recorder.sync(settling)
    recorder.finish_settling(settling)
    assert recorder.gauges()[AGE] == pytest.approx(3, abs=0.1)
    recorder.settle()
    assert recorder.gauges()[AGE] == 0


def test_rows_of_a_file_that_cannot_be_synced_go_on_growing_old(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try writes them anew; they are as old as before."""
    recorder = start()
    refuse(monkeypatch, "Ana.csv", "fsync", errno.EIO)
    record(recorder, ana(0))
    for minutes in range(1, 4):
        clock.now_s += 60
        recorder.settle()
        record(recorder, delivery(minutes))
        assert recorder.gauges()[AGE] == minutes * 60
    assert recorder.disk.faults["EIO"] >= 3
    assert recorder.counters["disk_faults"] == recorder.disk.faults.total()
    monkeypatch.undo()
    clock.now_s += RETRY_MAX_S
    recorder.settle()
    clock.now_s += RETRY_MAX_S
    recorder.settle()
    assert recorder.gauges()[AGE] == 0


def test_rows_of_an_earlier_run_are_old_from_the_start_of_this_one(start: Any, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "Ana.csv").mkdir()
    recorder = start()
    record(recorder, ana(0))
    recorder.settle()
    crash(recorder)
    clock.now_s += 1000
    recorder = start()
    clock.now_s += 7
    assert recorder.gauges()[AGE] == 7


@pytest.mark.parametrize(("error", "kind"), [(errno.ENOSPC, "ENOSPC"), (errno.EROFS, "EROFS"), (99_999, "other")])
def test_faults_of_a_file_are_counted_by_kind(
    start: Any, monkeypatch: pytest.MonkeyPatch, error: int, kind: str
) -> None:
    recorder = start()
    refuse(monkeypatch, "Ana.csv", "write", error, times=1)
    record(recorder, ana(0))
    assert recorder.disk.faults == {kind: 1}

"""The recorder between its client and its disk."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from csv_recorder.live.recorder import Recorder
from csv_recorder.service import Service
from csv_recorder.settings import RunSettings
from neuroone.service.lifecycle import Stop


class Client:
    """Keeps the fault that the service reports."""

    fault: str | None = None

    def report_fault(self, fault: str | None) -> None:
        self.fault = fault


async def test_a_wait_for_a_sync_that_cannot_begin_leaves_the_loop_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(recorder: Recorder) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recorder, "is_full", True)
    monkeypatch.setattr(Recorder, "begin_settling", refuse)
    service: Any = Service(RunSettings(dir=tmp_path), Stop())
    service._client = Client()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(service._wait_for_sync(), 0.1)
    assert service._client.fault == "cannot write the files: No space left on device"

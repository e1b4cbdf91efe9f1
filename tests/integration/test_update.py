"""An `up` under load is backed up, updated, and brought to a version that does not work: no reading is lost."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from neuroone.maintenance import backup, restore, versions
from neuroone.maintenance.backup import BackupSettings
from neuroone.maintenance.checkouts import Checkout
from neuroone.maintenance.clones import Clone
from neuroone.maintenance.restore import RestoreSettings
from neuroone.service.lifecycle import Stop
from tests.support.brokers import free_port
from tests.support.repositories import Origin
from tests.support.up_process import STOP_S
from tests.support.waiting import wait_for
from tests.system.stack import ROOT, Phone, measuring

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed on this machine"),
]
Value = TypeVar("Value")
PHONES = 60
PERIOD_S = 0.25
WAIT_S = 30.0

RUN_PY = f"""\
import importlib.util, os, sys
from pathlib import Path
here = Path(__file__).absolute().parent
spec = importlib.util.spec_from_file_location("real", {str(ROOT / "run.py")!r})
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
real.ROOT, real.VENV_BIN, real.make_environment = here, Path({str(Path(sys.executable).parent)!r}), lambda sets: None
os.environ["PYTHONPATH"] = str(here)
"""
"""The run.py of a clone that has no environment of its own: it starts the programs of this one, from its own folder."""
STARTS = "sys.exit(real.main(sys.argv[1:]))\n"
PASSES_ITS_TEST = "sys.exit(0 if 'self-test' in sys.argv else real.main(sys.argv[1:]))\n"
FAILS_LATER = "sys.exit(0 if {'self-test', '--version'} & {*sys.argv} else 1)\n"


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    repository = Origin(tmp_path / "origin")
    (repository.folder / "neuroone").symlink_to(ROOT / "neuroone")
    return repository


@contextlib.contextmanager
def running_up(clone: Path, data: Path) -> Iterator[str]:
    """Start the `up` of a clone; yield the address of its gateway."""
    ws_port = free_port()
    words = ["--data", str(data), "--ws-port", str(ws_port), "--mqtt-port", str(free_port()), "--host", "127.0.0.1"]
    with subprocess.Popen([sys.executable, str(clone / "run.py"), "up", *words], stdout=subprocess.DEVNULL) as popen:
        try:
            ready = f"http://127.0.0.1:{ws_port}/readyz"
            wait_for(lambda: versions.answer(ready).startswith("ready"), "a ready system", WAIT_S)
            yield f"ws://127.0.0.1:{ws_port}/"
        finally:
            family = psutil.Process(popen.pid).children(recursive=True)
            popen.terminate()
            assert popen.wait(STOP_S) == 0
            assert not [each for each in family if each.is_running()]


def folders_in_use() -> set[str]:
    """Return from which folders gateways run that were started below this test."""
    family = psutil.Process().children(recursive=True)
    return {each.environ()["PYTHONPATH"] for each in family if "ws_gateway" in each.cmdline()}


def rows_of(data: Path, phones: list[Phone]) -> dict[str, list[str]]:
    return {each.name: (data / f"{each.name}.csv").read_text(encoding="utf-8").splitlines()[1:] for each in phones}


async def in_thread(call: Callable[..., Value], *arguments: Any) -> Value:
    """Let a call that takes its time run beside the phones."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


def write_what_waits(data: Path, safe: dict[str, int], phones: list[Phone]) -> None:
    """Let a recorder without a broker write what waits in its inbox, until each phone has as many rows as are safe."""
    away = f"mqtt://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "csv_recorder", "run", "--dir", str(data), "--broker", away]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as recorder:
        wait_for(lambda: all(len(rows) >= safe[name] for name, rows in rows_of(data, phones).items()), "rows", WAIT_S)
        recorder.terminate()


async def test_no_reading_is_lost_or_doubled_whatever_is_done_to_a_running_system(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data, saved, elsewhere = tmp_path / "data", tmp_path / "saved", tmp_path / "elsewhere"
    first = origin.commit(RUN_PY + STARTS)
    root = origin.clone(tmp_path / "clone")
    timeouts = pytest.MonkeyPatch()
    monkeypatch.setattr(versions, "STEADY_S", 0.5)

    def installed() -> Clone:
        return Clone(Checkout(root), data)

    with running_up(root, data) as url:
        phones = [Phone(url, f"Phone_{n}") for n in range(PHONES)]
        async with measuring(phones, PERIOD_S):
            await in_thread(wait_for, lambda: min(len(each.sent) for each in phones) > 8, "readings", WAIT_S)
            safe = {each.name: len(each.sent) - each.waiting for each in phones}
            assert await in_thread(backup.run, BackupSettings(to=saved, data=data), Stop()) == 0

            second = origin.commit(RUN_PY + PASSES_ITS_TEST)
            assert await in_thread(versions.update, installed(), None, None)
            assert installed().commit() == second
            assert folders_in_use() == {str(root / ".versions" / second[:12])}

            origin.commit(RUN_PY + FAILS_LATER)
            timeouts.setattr(versions, "READY_TIMEOUT_S", 1.0)
            assert not await in_thread(versions.update, installed(), None, None)
            timeouts.undo()
            assert "does not work: nothing answers" in capfd.readouterr().out
            assert await in_thread(installed().fault) is None
            assert folders_in_use() == {str(root / ".versions" / second[:12])}
        print(f"{sum(len(each.sent) for each in phones)} readings")
    assert rows_of(data, phones) == {each.name: each.sent for each in phones}

    assert versions.roll_back(installed())
    assert installed().commit() == first
    assert restore.run(RestoreSettings(backup=saved, data=elsewhere), Stop()) == 0
    await in_thread(write_what_waits, elsewhere, safe, phones)
    for each in phones:
        rows = rows_of(elsewhere, [each])[each.name]
        assert rows == each.sent[: len(rows)]
        assert max(Counter(rows).values()) == 1

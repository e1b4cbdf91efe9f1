"""The record that a service keeps of its runs."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neuroone.service import run_record
from neuroone.service.variables import unknown

PROGRAM = """
import logging, os, sys
from dataclasses import dataclass
from neuroone.contract.errors import NeuroOneError
from neuroone.service import lifecycle, settings

@dataclass(frozen=True, kw_only=True)
class Settings:
    how: str = settings.setting("well", settings.one_of("well", "ill", "hang", "fault", "wait"), "How to end.")

def run(given, stop):
    if given.how == "ill":
        raise NeuroOneError("the disk is gone")
    if given.how == "hang":
        logging.critical("it hangs and ends")
        os._exit(1)
    if given.how == "wait":
        print("ready", flush=True)
        stop.wait()
    return {"well": 0, "fault": 1 / 0 if given.how == "fault" else 0}[given.how]

command = lifecycle.Command(Settings, run, "", record="example")
sys.exit(lifecycle.main("example", {"run": command, "other": lifecycle.Command(Settings, run, "")}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows kills in another way")
def test_a_service_writes_down_how_each_of_its_runs_ended(tmp_path: Path) -> None:
    """A real program: in order, by an error, hanging, with a wrong setting, killed; other commands write nothing."""
    environ = {**os.environ, "NEUROONE_STATUS_DIR": str(tmp_path), "NEUROONE_SIET": "x"}
    program = [sys.executable, "-c", PROGRAM]
    for how in ("well", "ill", "hang", "typo"):
        subprocess.run([*program, "--how", how], env=environ, capture_output=True, check=False, timeout=30)
    with subprocess.Popen([*program, "--how", "wait"], env=environ, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "ready\n"
        waiting.send_signal(signal.SIGKILL)
    subprocess.run([*program, "other"], env=environ, capture_output=True, check=True, timeout=30)
    [record] = run_record.read_all(tmp_path)
    wrong = "--how: must be one of well, ill, hang, fault, wait, got 'typo'"
    expected = [(0, ""), (1, "the disk is gone"), (1, "it hangs and ends"), (2, wrong), (None, "")]
    assert [(run.code, run.words) for run in record.runs] == expected
    assert record.unknown == {"NEUROONE_SIET": "NEUROONE_SITE"}
    assert {run.boot for run in record.runs} == {run_record.boot_id()}

    for content in (b"", b"{", b"[1]", b'{"service": "a", "runs": [{"began_s": "x"}]}', b"x" * 10**6):
        (tmp_path / "damaged.json").write_bytes(content)
        assert run_record.read_all(tmp_path) == [record]
    os.mkfifo(tmp_path / "pipe.json")
    assert run_record.read_all(tmp_path) == [record]
    assert run_record.read_all(tmp_path / "none") == []


def test_records_of_containers_that_are_no_more_do_not_pile_up(tmp_path: Path) -> None:
    for n in range(run_record.RECORDS_MAX + 9):
        (tmp_path / f"example-{n}.json").touch()
        os.utime(tmp_path / f"example-{n}.json", (n, n))
    environ = {**os.environ, "NEUROONE_STATUS_DIR": str(tmp_path), "NEUROONE_INSTANCE": "../new"}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True, timeout=30)
    assert len(list(tmp_path.iterdir())) == run_record.RECORDS_MAX
    assert [record.runs[-1].code for record in run_record.read_all(tmp_path)] == [0]


def test_no_text_keeps_a_record_from_being_written_and_read(tmp_path: Path) -> None:
    """Names that are no UTF-8, and last words that are long and full of controls, of many runs."""
    environ = {"NEUROONE_STATUS_DIR": str(tmp_path)}
    for _ in range(run_record.RUNS_MAX + 1):
        record = run_record.RunRecord("example", environ)
        record.begin(unknown({f"NEUROONE_\udcff{n}": "x" for n in range(99)}))
        logging.getLogger().removeHandler(record)
        record.end(1, "\udcff" + "\x01" * run_record.WORDS_MAX)
    [read] = run_record.read_all(tmp_path)
    assert (len(read.runs), len(read.unknown)) == (run_record.RUNS_MAX, run_record.UNKNOWN_MAX)
    assert read.runs[0].words == "?".ljust(run_record.WORDS_MAX, "\x01")


def test_a_service_runs_on_where_its_record_cannot_be_written(tmp_path: Path) -> None:
    environ = {**os.environ, "NEUROONE_STATUS_DIR": str(tmp_path / "none")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "the record of runs cannot be written" in done.stderr


def test_how_many_programs_lacked_memory_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 12\nnuma_hit 3\n", encoding="ascii")
    assert run_record.memory_kills(tmp_path) == 12
    assert (run_record.memory_kills(tmp_path / "none"), run_record.boot_id(tmp_path)) == (0, "")

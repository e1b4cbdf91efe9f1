"""Jobs of Windows, with a stand-in for its kernel32: they have never run there."""

import ctypes
import subprocess
from typing import Any, cast

import pytest

from neuroone.service.job import ExtendedLimits, Job, new_job


class Kernel32:
    """Notes what it is asked for; ``fails`` is the function that does."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.asked: list[tuple[object, ...]] = []

    def CreateJobObjectW(self, security: None, name: None) -> int | None:
        return None if self.fails == "create" else 7

    def SetInformationJobObject(self, job: int, kind: int, limits: Any, size_bytes: int) -> int:
        self.asked.append(("limit", job, kind, limits._obj.basic.flags, size_bytes))
        return int(self.fails != "limit")

    def AssignProcessToJobObject(self, job: int, process: int) -> int:
        self.asked.append(("add", job, process))
        return int(self.fails != "add")

    def CloseHandle(self, job: int) -> int:
        self.asked.append(("close", job))
        return 1


class Program:
    """Stands in for a `subprocess.Popen` of Windows."""

    pid, _handle = 4711, 12


PROGRAM = cast("subprocess.Popen[bytes]", Program())


def test_its_programs_end_when_it_is_closed() -> None:
    kernel32 = Kernel32()
    with Job(kernel32) as job:
        job.add(PROGRAM)
    job.close()
    limit = ("limit", 7, 9, 0x2000, ctypes.sizeof(ExtendedLimits))
    assert kernel32.asked == [limit, ("add", 7, 12), ("close", 7)]


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="the documented size is that of 64 bits")
def test_the_limits_have_the_size_that_windows_documents() -> None:
    assert ctypes.sizeof(ExtendedLimits) == 144


@pytest.mark.parametrize("fault", ["create", "limit", "add"])
def test_a_program_runs_without_a_job_where_windows_gives_none(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    with Job(Kernel32(fault)) as job:
        job.add(PROGRAM)
    assert len(caplog.messages) == 1
    assert "this one" in caplog.text


@pytest.mark.skipif("sys.platform == 'win32'")
def test_other_systems_have_no_jobs() -> None:
    with new_job() as job:
        job.add(PROGRAM)

"""Jobs: programs that Windows ends together, as other systems end the process group of a session.

This has never run on Windows: the tests give it a stand-in for kernel32, and hold the sizes that Windows documents.
"""

import ctypes
import logging
import subprocess
import sys
from ctypes import wintypes
from functools import cache
from typing import Any, Final, Self

_EXTENDED_LIMITS: Final = 9
"""JobObjectExtendedLimitInformation."""
_KILL_ON_JOB_CLOSE: Final = 0x2000
"""JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE. Windows closes the job of a program that ends, in whatever way."""

log = logging.getLogger(__name__)


class _BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_user_time", ctypes.c_int64),
        ("per_job_user_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", _BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class Job:
    """Programs, and all that they start, that end when the job is closed or when this program ends.

    Without ``kernel32``, on other systems, it does nothing.
    """

    def __init__(self, kernel32: Any = None) -> None:
        self._kernel32 = kernel32
        self._handle = None if kernel32 is None else _open(kernel32)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, program: "subprocess.Popen[bytes]") -> None:
        """Let a program that has just been started end with the job."""
        if self._handle is None:
            return
        handle = program._handle  # type: ignore[attr-defined] # noqa: SLF001 (Popen has no other name for it)
        if not self._kernel32.AssignProcessToJobObject(self._handle, int(handle)):
            log.warning("program %d is not ended when this one is killed: Windows gave it no job", program.pid)

    def close(self) -> None:
        """End the programs of the job."""
        if self._handle is not None:
            self._kernel32.CloseHandle(self._handle)
            self._handle = None


def new_job() -> Job:
    """Return a job of this system."""
    return Job(kernel32() if sys.platform == "win32" else None)


@cache
def own_job() -> Job:
    """Return the job of programs that must not outlive this one."""
    return new_job()


def kernel32() -> Any:
    """Return the functions of Windows that this module calls, with their types."""
    of: Any = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009 (only Windows has it)
    of.CreateJobObjectW.restype = wintypes.HANDLE
    of.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
    of.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD)
    of.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    of.CloseHandle.argtypes = (wintypes.HANDLE,)
    return of


def _open(kernel32: Any) -> int | None:
    """Return the handle of a new job; None if Windows makes none."""
    handle: int | None = kernel32.CreateJobObjectW(None, None)
    limits = ExtendedLimits()
    limits.basic.flags = _KILL_ON_JOB_CLOSE
    if handle and kernel32.SetInformationJobObject(
        handle, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
    ):
        return handle
    log.warning("Windows makes no job: programs that were started may outlive this one if it is killed")
    return None

"""The start and the end of a program: settings, logs, signals, exit codes.

Exit codes: 0 a clean end, 1 a failure, 2 wrong settings or anything else that keeps the program from starting.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.service import logs, settings, systemd, variables
from neuroone.service.run_record import RunRecord

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
STOP_ON_EOF: Final = "NEUROONE_STOP_ON_EOF"
"""Set by a parent program: stop when standard input ends. It works without signals (Windows), and when the parent is
killed."""
LINE_MAX_BYTES: Final = 8192
"""A line from the parent program: a word and a path, of which most systems allow 4096 bytes."""
_WINDOWS_SLICE_S: Final = 0.2
"""On Windows a waiting main thread sees Ctrl-C only between two waits."""

_CONSOLE_ENDS: Final = (2, 5, 6)
"""Windows' events of a console: its window is closed, its user logs off, the computer shuts down."""
_CONSOLE_ENDS_S: Final = 5.0
"""Windows ends a program when it has answered such an event, or after this time."""
_CALLED_BY_WINDOWS: Final[list[object]] = []
"""Functions that must stay in memory."""

log = logging.getLogger(__name__)


class Stop:
    """The request to end the program; set once, by a signal or by the program itself."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []
        self.exit_code = OK
        self.on_line: Callable[[str], object] = lambda line: None
        """Called, in a thread of its own, with each line that a parent program writes (see `STOP_ON_EOF`)."""

    def set(self, exit_code: int = OK) -> None:
        """Request the program's end with this exit code. The first caller's code counts."""
        with self._lock:
            if self._event.is_set():
                return
            self.exit_code = exit_code
            self._event.set()
            calls = tuple(self._calls)
        for call in calls:
            call()

    def is_set(self) -> bool:
        """Return True if the program must end."""
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the program must end, at most ``timeout_s``; return True if it must."""
        if sys.platform != "win32":
            return self._event.wait(timeout_s)
        left_s = float("inf") if timeout_s is None else timeout_s
        while left_s > 0 and not self._event.wait(min(left_s, _WINDOWS_SLICE_S)):
            left_s -= _WINDOWS_SLICE_S
        return self._event.is_set()

    def call(self, callback: Callable[[], object]) -> None:
        """Call ``callback``, from any thread, when the program must end; at once if it already must."""
        with self._lock:
            if not self._event.is_set():
                self._calls.append(callback)
                return
        callback()


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a program: its settings, the function that runs it, and one line of help.

    A service keeps a ``record`` of its runs, under this name. ``unknown`` finds the variables that are no setting of
    ``reader``.
    """

    settings: type[Any]
    run: Callable[[Any, Stop], int]
    about: str
    record: str = ""
    unknown: Callable[[Mapping[str, str]], dict[str, str]] = variables.unknown
    reader: str = "NeuroOne"


def main(program: str, commands: Mapping[str, Command], argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names, or else the first of ``commands``; return the exit code.

    SIGTERM, SIGINT and Ctrl-C set the command's Stop; a second one ends the program immediately.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    default = next(iter(commands))
    if words[:1] in (["--help"], ["-h"]) and len(commands) > 1:
        _print_commands(program, commands)
        return OK
    if len(commands) > 1 and words and words[0] not in commands and not words[0].startswith("-"):
        print(f"{program}: no command {words[0]!r}; the commands are {', '.join(commands)}", file=sys.stderr)
        return USAGE
    name = words.pop(0) if words and words[0] in commands else default
    command = commands[name]
    title = program if len(commands) == 1 else f"{program} {name}"
    record = RunRecord(command.record, os.environ)
    try:
        given = settings.read(command.settings, words, os.environ, program=title, about=command.about)
        logs.configure(program, getattr(given, "log_level", "info"))
        unknown = command.unknown(os.environ)
        if not os.environ.get(STOP_ON_EOF):  # the parent program has the same ones, and has named them
            for sentence in variables.sentences(unknown, command.reader):
                log.warning("%s", sentence)
        record.begin(unknown)
        stop = Stop()
        stop.call(lambda: systemd.notify("STOPPING=1"))
        _stop_on_signals(stop)
        if sys.platform == "win32":
            stop_with_console(stop, ctypes.WinDLL("kernel32").SetConsoleCtrlHandler)
        if os.environ.get(STOP_ON_EOF):
            threading.Thread(target=_stop_on_eof, args=(stop,), name="stdin", daemon=True).start()
        return record.end(command.run(given, stop))
    except SettingsError as error:
        print(*(f"{title}: {fault}" for fault in error.faults), sep="\n", file=sys.stderr)
        return record.end(USAGE, "; ".join(error.faults))
    except NeuroOneError as error:
        log.error("%s", error)
        return record.end(FAILED)
    except BrokenPipeError:
        sys.stdout = None  # the reader of our output has ended (`| head`): flush nothing at exit
        return record.end(FAILED)
    except Exception:
        log.exception("a fault of ours: %s ends", title)
        return record.end(FAILED)


def _print_commands(program: str, commands: Mapping[str, Command]) -> None:
    print(f"usage: {program} [{'|'.join(commands)}] [options]\n")
    width = max(map(len, commands))
    for name, command in commands.items():
        print(f"  {name:{width}}  {command.about}")
    print(f"\n{program} COMMAND --help prints a command's options; {next(iter(commands))} is the default.")


def _stop_on_signals(stop: Stop) -> None:
    def handler(number: int, _frame: object) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        # The interrupted frame may hold Stop's lock: set it from another thread.
        threading.Thread(target=stop.set, name="signal", daemon=True).start()

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handler)


def stop_with_console(stop: Stop, handle: Callable[[Any, int], object]) -> None:
    """Let the program end in order when Windows ends its console. ``handle`` is Windows' SetConsoleCtrlHandler.

    It has never run on Windows.
    """

    def on_event(event: int) -> int:
        if event not in _CONSOLE_ENDS:
            return 0  # Ctrl-C and Ctrl-Break come as signals
        stop.set()
        threading.Event().wait(_CONSOLE_ENDS_S)  # with an answer Windows would end the program at once
        return 1

    called = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)(ctypes.c_int, ctypes.c_uint)(on_event)
    _CALLED_BY_WINDOWS.append(called)
    handle(called, 1)


def _stop_on_eof(stop: Stop) -> None:
    waiting = b""
    while arrived := os.read(0, 1024):
        *lines, waiting = (waiting + arrived)[-LINE_MAX_BYTES:].split(b"\n")
        for line in lines:
            try:
                stop.on_line(line.decode("utf-8", "replace").strip())
            except Exception:  # the end of the input must be seen all the same
                log.exception("a fault of ours: a line of the parent program is not obeyed")
    stop.set()

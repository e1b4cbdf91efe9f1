"""Start and stop of a program, as a program."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroone.service import lifecycle
from neuroone.service.lifecycle import OK, STOP_ON_EOF, USAGE, Stop

PROGRAM = textwrap.dedent(
    """
    import sys
    from dataclasses import dataclass
    from neuroone.contract.errors import NeuroOneError, SettingsError
    from neuroone.service import lifecycle, settings
    from neuroone.service.settings import setting

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        number: int = setting(1, settings.whole(1, 9), "A number.")

    def obey(line):
        print("told to", line, flush=True)
        1 / 0

    def wait(given, stop):
        stop.on_line = obey
        print("ready", flush=True)
        stop.wait()
        print("left in order", flush=True)
        return stop.exit_code

    def fail(given, stop):
        raise NeuroOneError("the disk is gone")

    def refuse(given, stop):
        raise SettingsError(["--port: is in use"])

    sys.exit(lifecycle.main("example", {
        "wait": lifecycle.Command(Settings, wait, "Waits."),
        "fail": lifecycle.Command(Settings, fail, "Fails."),
        "refuse": lifecycle.Command(Settings, refuse, "Refuses."),
    }))
    """
)


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM, encoding="utf-8")
    return [sys.executable, str(file)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send to another program")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_in_order(program: list[str], number: signal.Signals) -> None:
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(number)
        assert running.stdout.read() == "left in order\n"
    assert running.returncode == OK


def test_the_end_of_standard_input_ends_in_order(program: list[str]) -> None:
    """Only if a parent program asked for it."""
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, STOP_ON_EOF: "1"}
    ) as running:
        assert running.communicate(timeout=30)[0] == "ready\nleft in order\n"
    assert running.returncode == OK


def test_a_line_that_cannot_be_obeyed_hides_neither_the_next_one_nor_the_end(program: list[str]) -> None:
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, STOP_ON_EOF: "1"},
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        said, logged = running.communicate("sing\ndance\n", timeout=30)
    assert sorted(said.splitlines()) == ["left in order", "told to dance", "told to sing"]
    assert running.returncode == OK
    assert logged.count("ZeroDivisionError") == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--number", "x"], USAGE, "example wait: --number: must be a whole number from 1 to 9, got 'x'\n"),
        (["dance"], USAGE, "example: no command 'dance'; the commands are wait, fail, refuse\n"),
        (["wait", "dance"], USAGE, "example wait: dance: is not expected here\n"),
        (["refuse"], USAGE, "example refuse: --port: is in use\n"),
    ],
)
def test_wrong_settings_are_one_message_each(program: list[str], words: list[str], code: int, said: str) -> None:
    """Exit code 2, and only the faults on standard error."""
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_a_failure_is_logged_without_a_traceback(program: list[str]) -> None:
    done = subprocess.run([*program, "fail"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr.endswith("ERROR   example: the disk is gone\n")
    assert done.stderr.count("\n") == 1


def test_a_mistyped_variable_is_named_once_with_the_nearest_setting(program: list[str]) -> None:
    """By every program that reads settings, but for those whose parent program has the same variables."""
    environ = {**os.environ, "NEUROONE_LOGLEVEL": "debug", "NEUROONE_READING_RATE": "9"}
    for more, lines in ({}, 2), ({STOP_ON_EOF: "1"}, 1):
        done = subprocess.run([*program, "fail"], capture_output=True, text=True, timeout=30, env=environ | more)
        assert done.stderr.count("\n") == lines
        is_said = "NEUROONE_LOGLEVEL is no setting of NeuroOne and changes nothing: NEUROONE_LOG_LEVEL?" in done.stderr
        assert is_said == (not more)


def test_stop_calls_back_once_and_keeps_the_first_code() -> None:
    """A callback that is added too late is called at once."""
    stop = Stop()
    calls: list[str] = []
    stop.call(lambda: calls.append("early"))
    stop.set(1)
    stop.set(0)
    stop.call(lambda: calls.append("late"))
    assert calls == ["early", "late"]
    assert stop.exit_code == 1
    assert stop.wait(0)


@pytest.mark.parametrize(("event", "is_end"), [(0, False), (1, False), (2, True), (5, True), (6, True)])
def test_the_end_of_a_windows_console_ends_in_order(event: int, is_end: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C and Ctrl-Break, 0 and 1, come as signals. It has never run on Windows."""
    monkeypatch.setattr(lifecycle, "_CONSOLE_ENDS_S", 0.0)
    handlers: list[Callable[[int], int]] = []
    stop = Stop()
    lifecycle.stop_with_console(stop, lambda handler, is_added: handlers.append(handler))
    assert handlers[0](event) == int(is_end)
    assert stop.is_set() is is_end

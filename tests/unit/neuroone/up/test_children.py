"""Tests of restarting a program that cannot be started for a while."""

import random
import sys
from pathlib import Path

import pytest

from neuroone.mqtt.backoff import Backoff
from neuroone.up.children import Child
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the program is a script with #!, which Windows has not"
)


def test_a_program_that_cannot_be_started_again_is_tried_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was removed by an update, or the system had no memory for one more process: the others go on."""
    program, backoff, rng = tmp_path / "program", Backoff(first_s=0.01, cap_s=0.02), random.Random(1)
    program.write_text("#!/bin/sh\nexec cat\n", encoding="utf-8")
    program.chmod(0o755)
    child = Child("program", [str(program)])
    child.start()
    try:
        program.rename(tmp_path / "away")
        child.kill()

        def has_failed_twice() -> bool:
            child.restart_if_dead(backoff, rng)
            return caplog.text.count("program cannot be started ([Errno 2]") == 2

        wait_for(has_failed_twice, "two failed starts")
        assert "program was ended by a signal (Killed); starting it again in 0.0 s" in caplog.text
        (tmp_path / "away").rename(program)
        before_s = child.started_s

        def is_started() -> bool:
            child.restart_if_dead(backoff, rng)
            return child.started_s > before_s

        wait_for(is_started, "the next start")
        assert child.poll() is None
    finally:
        child.stop()


class ForeignProgram:
    """Stands in for a running program; ``has_console`` is whether Ctrl-Break reaches it."""

    returncode, stdin = 0, None

    def __init__(self, has_console: bool) -> None:
        self.has_console = has_console
        self.got: list[object] = []

    def send_signal(self, number: int) -> None:
        self.got.append(number)
        if not self.has_console:
            raise OSError(6, "The handle is invalid")

    def terminate(self) -> None:
        self.got.append("terminate")

    def kill(self) -> None:
        self.got.append("kill")

    def wait(self, timeout_s: float | None) -> int:
        return 0


@pytest.mark.parametrize(("has_console", "got"), [(True, [1]), (False, [1, "terminate"])])
def test_a_broker_on_windows_gets_ctrl_break_and_is_terminated_where_that_does_not_reach_it(
    has_console: bool, got: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroone.up.children.ASK_TO_END", 1)  # CTRL_BREAK_EVENT; it has never run on Windows
    child, program = Child("nats", ["nats-server"], foreign=True), ForeignProgram(has_console)
    monkeypatch.setattr(child, "_popen", program)
    child.stop()
    assert program.got == got

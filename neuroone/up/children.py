"""The programs that `neuroone up` starts, restarts and ends."""

import ctypes
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from neuroone.mqtt.backoff import Backoff
from neuroone.service import job
from neuroone.service.lifecycle import STOP_ON_EOF

STOP_TIMEOUT_S: Final = 15.0
"""Time for a service to hand its last messages to the broker and its last rows to the disk."""
TERMINATE_TIMEOUT_S: Final = 3.0
CALM_AFTER_S: Final = 30.0
"""A program that ran longer than this is healthy: the back-off starts again at its next death."""
_PR_SET_PDEATHSIG: Final = 1
ASK_TO_END: Final[int] = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
"""Lets a foreign program end in order. Windows has no SIGTERM; it sends Ctrl-Break to the program's own group."""

log = logging.getLogger(__name__)


class Child:
    """One service or broker, as a child process.

    A service stops when its standard input ends, a ``foreign`` program by ASK_TO_END. A program that ``may_end`` is not
    restarted after a clean exit; any other exit is followed by a restart. ``prepare`` is called before each start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        foreign: bool = False,
        may_end: bool = False,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment or {})
        self._foreign = foreign
        self._may_end = may_end
        self._prepare = prepare
        self._popen: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._again_s = 0.0
        self._deaths = 0

    def poll(self) -> int | None:
        """Return the program's exit code if it has ended, else None."""
        return None if self._popen is None else self._popen.poll()

    @property
    def is_running(self) -> bool:
        """Return True while the program runs."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def has_ended(self) -> bool:
        """Return True if the program has ended in order and is not started again."""
        return self._again_s == float("inf")

    @property
    def started_s(self) -> float:
        """When the program was started last, by the steady clock."""
        return self._started_s

    def terminate(self) -> None:
        """Ask a running program to end; `restart_if_dead` then starts it again."""
        if self._popen is not None:
            self._ask_to_end(self._popen)

    def kill(self) -> None:
        """End a running program at once; `restart_if_dead` then starts it again."""
        if self._popen is not None:
            self._popen.kill()

    def start(self) -> None:
        """Start the program. Raises OSError."""
        self._prepare()
        self._started_s = time.monotonic()
        self._popen = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            env={**os.environ, **self._environment, STOP_ON_EOF: "1"},
            # Only `up` gets the terminal's Ctrl-C: it ends its children in their order.
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            preexec_fn=_end_with_parent if self._foreign and sys.platform == "linux" else None,
        )
        if self._foreign:
            job.own_job().add(self._popen)

    def restart_if_dead(self, backoff: Backoff, rng: random.Random) -> None:
        """Start the program again if it died and the back-off's delay is over. Call this often."""
        now_s = time.monotonic()
        if self._popen is not None and self._popen.poll() is not None:
            exit_code = self._popen.returncode
            self._close_stdin()
            self._popen = None
            if self._may_end and exit_code == 0:
                self._again_s = float("inf")
                log.info("%s has ended", self.name)
                return
            by_signal = f"was ended by a signal ({signal.strsignal(-exit_code)})" if exit_code < 0 else ""
            self._wait_again(by_signal or f"has ended with code {exit_code}", now_s, backoff, rng)
        if self._popen is None and now_s >= self._again_s:
            try:
                self.start()
            except OSError as error:
                self._wait_again(f"cannot be started ({error})", now_s, backoff, rng)

    def _wait_again(self, why: str, now_s: float, backoff: Backoff, rng: random.Random) -> None:
        self._deaths = 1 if now_s - self._started_s > CALM_AFTER_S else self._deaths + 1
        delay_s = backoff.delay_s(self._deaths - 1, rng)
        self._again_s = now_s + delay_s
        log.warning("%s %s; starting it again in %.1f s", self.name, why, delay_s)

    def stop(self) -> None:
        """Ask the program to end, then send SIGTERM, then SIGKILL; return when it is gone."""
        popen = self._popen
        if popen is None:
            return
        self._close_stdin()
        for ask, timeout_s in (
            (partial(self._ask_to_end, popen) if self._foreign else None, STOP_TIMEOUT_S),
            (popen.terminate, TERMINATE_TIMEOUT_S),
            (popen.kill, None),
        ):
            if ask is not None:
                ask()
            try:
                popen.wait(timeout_s)
                break
            except subprocess.TimeoutExpired:
                log.warning("%s does not stop", self.name)
        self._popen = None

    def _ask_to_end(self, popen: "subprocess.Popen[bytes]") -> None:
        try:
            popen.send_signal(ASK_TO_END if self._foreign else signal.SIGTERM)
        except OSError:  # Ctrl-Break goes through a console, and there is none
            popen.terminate()

    def _close_stdin(self) -> None:
        if self._popen is not None and self._popen.stdin is not None:
            self._popen.stdin.close()


def _end_with_parent() -> None:
    """Make this new program end when `up` ends, also when `up` is killed: brokers do not watch their input."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

"""A cluster of three real NATS servers, with the configuration that `neuroone cluster` makes."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import pytest

from neuroone import cluster
from neuroone.up import brokers
from tests.support.brokers import LOOPBACK
from tests.support.waiting import wait_for

START_TIMEOUT_S = 60.0
"""Until a majority has elected the leaders of all parts: 10 s on a quiet machine."""
STOP_TIMEOUT_S = 30.0
WATCH = Path(__file__).parents[2] / "deploy/cluster/healthcheck.py"


class Node:
    """One server of the cluster, which can be stopped, killed and started again.

    ``prefix`` is put in front of its commands; ``store`` is where it keeps its state. With ``is_watched`` it waits for
    another node before it starts, and has the watch beside it that neuroone-nats-watch.service starts.
    """

    def __init__(
        self, folder: Path, address: str, store: Path, prefix: Sequence[str], *, is_watched: bool = False
    ) -> None:
        self.address = address
        self.log_file = folder / "log"
        self.store = store
        program = brokers.find(brokers.NATS)
        if program is None:
            pytest.skip("the NATS server is not installed on this machine")
        pid_file = folder / "nats.pid"
        server = [str(program.path), "-c", cluster.CONF, "-sd", str(store), "-P", str(pid_file)]
        wait = ["sh", "-c", '"$0" "$1" --wait; shift; exec "$@"', sys.executable, str(WATCH)] if is_watched else []
        self._command = [*prefix, *wait, *server]
        self._watch_command = [*prefix, sys.executable, str(WATCH), "--watch", str(pid_file)] if is_watched else None
        is_here = address.startswith("127.")
        self.monitor = f"http://{address if is_here else LOOPBACK}:{cluster.MONITOR_PORT}"
        self._prefix = prefix
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log)
            if self._watch_command and self._watch is None:
                own = {**os.environ, "TMPDIR": str(self._folder)}  # each machine has its own
                self._watch = subprocess.Popen(self._watch_command, cwd=self._folder, env=own, stdout=log, stderr=log)

    def end_watch(self) -> None:
        """End the watch, if there is one."""
        if self._watch is not None:
            self._watch.kill()
            self._watch.wait()
            self._watch = None

    def end(self, number: signal.Signals) -> None:
        """End it with a signal, if it runs."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(STOP_TIMEOUT_S)
            self.process = None

    def ask(self, path: str) -> str | None:
        """Return what its monitoring port answers; None if that is a fault."""
        command = [*self._prefix, "curl", "-sf", "-m", "3", f"{self.monitor}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return None if done.returncode else done.stdout

    @property
    def is_healthy(self) -> bool:
        """Return True if it has all that the others have; fail if it has ended by itself."""
        assert self.process is None or self.process.poll() is None, f"{self.address} has ended"
        return self.ask("/healthz") is not None


class Cluster:
    """Three nodes on ``addresses``, by default three of this machine's own.

    ``folder`` has what `neuroone cluster` has made.
    """

    def __init__(
        self,
        folder: Path,
        addresses: Sequence[str] = (),
        *,
        prefix_of: Callable[[str], Sequence[str]] = lambda address: (),
        store_of: Callable[[str], Path] | None = None,
        is_watched: bool = False,
    ) -> None:
        self.folder = folder
        addresses = addresses or _addresses_here()
        cluster.make(folder, addresses, 1, {})
        self.nodes = [
            Node(
                folder / "nodes" / each,
                each,
                store_of(each) if store_of else folder / "nodes" / each / "store",
                prefix_of(each),
                is_watched=is_watched,
            )
            for each in addresses
        ]

    def broker(self, identity: str) -> list[str]:
        """Return the words that a service of this identity is started with."""
        url, authority = f"file:{self.folder / identity}.url", str(self.folder / cluster.AUTHORITY)
        return ["--broker", url, "--broker-ca", authority, "--broker-shuffle"]

    def wait_until_healthy(self) -> None:
        """Wait until every node that runs has all that the others have."""
        for each in self.nodes:
            if each.process is not None:
                wait_for(lambda each=each: each.is_healthy, f"health of {each.address}", START_TIMEOUT_S)  # type: ignore[misc]

    def leaders(self) -> dict[str, str]:
        """Return the address of the node that leads each stream, and the meta group, by what that node itself says."""
        found: dict[str, str] = {}
        for each in self.nodes:
            said = json.loads(each.ask("/jsz?accounts=true&streams=true") or "{}")
            streams = [one for account in said.get("account_details", ()) for one in account["stream_detail"]]
            groups = {"meta": said.get("meta_cluster", {}), **{one["name"]: one["cluster"] for one in streams}}
            found |= {name: each.address for name, group in groups.items() if group.get("leader") == each.address}
        return found

    def wait_until_led(self) -> None:
        """Wait until the watches have brought every leader to its node."""

        def is_led() -> bool:
            led, last = self.leaders(), self.nodes[-1].address
            messages = led.get("$MQTT_msgs", last)
            return led.get("$MQTT_sess") == led.get("meta") == last != messages == led.get("$MQTT_rmsgs")

        wait_for(is_led, "leaders at their nodes", START_TIMEOUT_S)

    def __enter__(self) -> "Cluster":
        for each in self.nodes:
            each.start()
        try:
            self.wait_until_healthy()
        except AssertionError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for each in self.nodes:
            if error is not None:
                print(each.address, each.log_file.read_text(encoding="utf-8", errors="replace")[-4000:], sep="\n")
            each.end_watch()
            each.end(signal.SIGKILL)


def _addresses_here() -> list[str]:
    """Return three addresses of this machine that no other test uses: all of 127.0.0.0/8 are its own on Linux."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    part = f"127.{100 + worker}.{random.randrange(256)}"
    return list(itertools.islice((f"{part}.{number}" for number in itertools.count(1)), 3))

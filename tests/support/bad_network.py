"""clients/bad_network.mjs in Node and in a browser, through a relay to a gateway whose readings are recorded."""

import csv
import functools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import opened
from tests.support.gateways import running_gateway
from tests.support.recorder_process import RecorderProcess
from tests.support.relay import Relay
from tests.support.waiting import wait_for

CLIENTS = Path(__file__).parents[2] / "clients"
NODE_MIN = 20
"""The first Node with a WebSocket of its own, behind a flag; from 22 on without it."""
DELAY_S = 0.05
"""Real time, in which the client's clock goes on a few seconds."""
IN_PAGE = """async ([url, seconds]) => {
  const { run } = await import("/page/bad_network.mjs");
  const { IndexedDbStore } = await import("/page/neuroone.js");
  return run({ url, seconds, relay, newStore: (name) => new IndexedDbStore(name) });
}"""


@dataclass
class RecordedStack:
    """A gateway behind a bad network, and the directory in which its readings are recorded."""

    relay: Relay
    folder: Path

    @property
    def url(self) -> str:
        """Return the gateway's address for clients."""
        return f"ws://{LOOPBACK}:{self.relay.port}"

    def recorded(self, name: str) -> list[int]:
        """Return the number `delta` of all readings in the session files of a student, in order."""
        deltas = []
        for file in self.folder.glob(f"sessions/*/*_{name}*/readings.csv"):
            with file.open(encoding="utf-8", newline="") as opened_file:
                deltas += [int(row["delta"]) for row in csv.DictReader(opened_file)]
        return sorted(deltas)

    def check_rows(self, seconds: int) -> None:
        """Wait for the rows of all students, and assert that none is missing, doubled or under another name."""
        expected: dict[str, Sequence[int]] = {
            "Rede": range(seconds),
            "Ana": range(10),
            "Bruno": range(100, 110),
            "Lia": range(0, 20, 2),
            "Beto": range(1, 20, 2),
            "Duas": [number for number in range(42) if number % 3 < 2],
            "Eva": range(2, 42, 3),
            "Dez": range(20),
            "Ruim": range(30, 40),
        }
        for name, deltas in expected.items():
            wait_for(functools.partial(self._has_rows, name, len(deltas)), f"{len(deltas)} readings of {name}")
            assert self.recorded(name) == [*deltas], f"the readings of {name}"

    def _has_rows(self, name: str, count: int) -> bool:
        return len(self.recorded(name)) >= count


@contextmanager
def recorded_stack(broker: Broker, folder: Path) -> Iterator[RecordedStack]:
    """Run a gateway behind a relay, and a recorder."""
    with (
        running_gateway(broker) as (gateway, peer),
        RecorderProcess(broker.url, folder),
        Relay(gateway.port) as relay,
    ):
        wait_for(lambda: peer.services("csv_recorder"), "birth of the recorder")
        yield RecordedStack(relay, folder)


def acts_on(relay: Relay) -> Mapping[str, Callable[[], None]]:
    """Return what the scripts' words do to the network."""
    named = {name: getattr(relay, name) for name in ("freeze", "hold", "cut", "refuse", "deafen", "heal")}
    return {**named, "delay": functools.partial(relay.delay, DELAY_S)}


def node() -> list[str]:
    """Return the words that start Node. Skip the test if it is not installed or too old."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node is not installed on this machine")
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout
    if int(version[1:].split(".")[0]) < NODE_MIN:
        pytest.skip(f"Node {version.strip()} is too old: the client needs {NODE_MIN}")
    return [program, "--experimental-websocket"]


def run_in_node(stack: RecordedStack, seconds: int) -> dict[str, Any]:
    """Run the script in Node; return its figures."""
    acts = acts_on(stack.relay)
    words = [*node(), str(CLIENTS / "neuroone.relay.test.mjs"), stack.url, str(seconds)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as client:
        assert client.stdin
        assert client.stdout
        assert client.stderr
        try:
            line = ""
            for line in client.stdout:
                if not line.startswith("relay "):
                    break
                acts[line.split()[1]]()
                client.stdin.write("\n")
                client.stdin.flush()
            assert line.startswith("{"), client.stderr.read()
            return json.loads(line)  # type: ignore[no-any-return]
        finally:
            client.kill()


def wait_until_shown(page: Page) -> None:
    """Wait until the test page has loaded everything: it does not go on without its words."""
    expect(page.locator("#connect")).not_to_be_empty()


def run_in_browser(stack: RecordedStack, browser: Browser, seconds: int) -> dict[str, Any]:
    """Run the script in a page of the gateway; return its figures."""
    acts = acts_on(stack.relay)
    with opened(browser, stack.url.replace("ws", "http", 1) + "/student?test") as page:
        wait_until_shown(page)
        script = (CLIENTS / "bad_network.mjs").read_text(encoding="utf-8")
        page.route("**/page/bad_network.mjs", lambda route: route.fulfill(body=script, content_type="text/javascript"))
        page.expose_function("relay", lambda what: acts[what]())
        return page.evaluate(IN_PAGE, [stack.url, seconds])  # type: ignore[no-any-return]

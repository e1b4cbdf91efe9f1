"""The lines for makers of apps in docs/how-to/phones.md do what the document says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from neuroone.contract.messages import Reading
from neuroone.up import brokers
from serial_bridge.captures.files import EXAMPLE
from tests.support.bad_network import CLIENTS, node
from tests.support.brokers import Broker
from tests.support.fake_headsets import KEYS, readings_of
from tests.support.gateways import GatewayProgram, Peer
from tests.support.waiting import wait_for

DOCUMENTS = [CLIENTS.parent / "docs/how-to" / name for name in ("phones.md", "phones.pt-BR.md")]
APP = """
import { readFileSync } from "node:fs";
import { record } from "./record.js";
const [address, capture] = process.argv.slice(2);
const bytes = readFileSync(capture);
const headset = record(address, { name: "Ana", code: "7B", token: "come-in" });
for (let run = 0; run < 2; run += 1) {
  for (let at = 0; at < bytes.length; at += 7) headset.onBytes(bytes.subarray(at, at + 7));
  if (run === 0) headset.onLost();
}
process.stdin.on("end", () => headset.stop());
process.stdin.resume();
"""


def lines_of(document: Path) -> str:
    found = re.findall(r"```js\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.mark.broker
@pytest.mark.parametrize("broker", [brokers.KINDS[0]], indirect=True)
def test_the_lines_for_makers_of_apps_send_every_reading_of_a_headset(broker: Broker, peer: Peer, tmp_path: Path):
    """Bytes in pieces of 7, a lost link: each reading once, equal to the bridge's, in two sessions."""
    english, portuguese = map(lines_of, DOCUMENTS)
    assert english == portuguese
    for file in CLIENTS.glob("*.js"):
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (tmp_path / "record.js").write_text(english, encoding="utf-8")
    (tmp_path / "app.js").write_text(APP, encoding="utf-8")
    (tmp_path / "codes.json").write_text('{"7B": "come-in"}', encoding="utf-8")
    expected = readings_of(EXAMPLE.read_bytes())
    words = ["--reading-rate", "1000", "--join-codes", str(tmp_path / "codes.json"), "--no-open-here"]
    gateway = GatewayProgram(broker, *words)
    gateway.start(peer)
    try:
        command = [*node(), str(tmp_path / "app.js"), gateway.url, str(EXAMPLE)]
        app = subprocess.Popen(command, stdin=subprocess.PIPE)
        try:
            wait_for(lambda: len(peer.readings()) >= 2 * len(expected), "readings")
        finally:
            app.communicate(timeout=20)
        assert app.returncode == 0
        sessions: dict[str, list[Reading]] = {}
        for each in peer.readings():
            sessions.setdefault(each.session, []).append(each)
        assert len(sessions) == 2
        for readings in sessions.values():
            readings.sort(key=lambda each: each.seq)
            assert [{key: getattr(each, key) for key in KEYS} for each in readings] == expected
        assert {each.name for each in peer.readings()} == {"Ana"}
    finally:
        gateway.finish()

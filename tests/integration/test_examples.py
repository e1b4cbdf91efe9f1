"""The examples of docs/how-to/examples.md on a real broker and gateway, in Chromium, Node-RED and Prometheus."""

import contextlib
import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

import pytest
import yaml
from paho.mqtt.subscribe import simple
from playwright.sync_api import Page, expect

from neuroone.contract import topics
from neuroone.contract.doubt import Doubt
from neuroone.contract.json import encode
from tests.support import doubts
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.browser import chromium, needed, opened
from tests.support.bus_listener import client_on
from tests.support.classroom import SimulatedClass, SimulatedStudent
from tests.support.gateways import running_gateway
from tests.support.messages import reading
from tests.support.scrapes import get
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DOCUMENT = ROOT / "docs/how-to/examples.md"
FLOW: list[dict[str, Any]] = json.loads((EXAMPLES / "node-red/flow.json").read_text(encoding="utf-8"))
ANA = SimulatedStudent("Ana", code="7B", attention=61, meditation=43)
BIA = SimulatedStudent("<b>Bia</b>", code="7B", poor_signal=26)
CAIO = SimulatedStudent("Caio", code="7B", attention=80, band=0, is_old=True)


@contextlib.contextmanager
def ended(command: list[str], out: IO[str] | None = None) -> Iterator[None]:
    """Start a program, and end it after the test."""
    with subprocess.Popen(command, stdout=out, stderr=out, cwd=EXAMPLES) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def gateway_url(one_broker: Broker) -> Iterator[str]:
    """Run a gateway with three students of one class."""
    with running_gateway(one_broker) as (gateway, _), SimulatedClass(gateway.url, [ANA, BIA, CAIO]):
        yield gateway.url


@pytest.fixture(scope="module")
def page(gateway_url: str) -> Iterator[Page]:
    with (
        chromium() as browser,
        opened(browser, f"{(EXAMPLES / 'dashboard.html').as_uri()}?server={gateway_url}/") as page,
    ):
        yield page


def test_the_page_shows_what_means_something_and_dashes_for_doubt_and_silence(page: Page) -> None:
    """Poor contact and an app without bands are doubtful; Ana falls silent, comes back, and leaves."""
    expect(page.locator("#link")).to_have_text("connected")

    def row(name: str, attention: str, meditation: str) -> None:
        cells = page.locator("tr", has_text=name).locator("td")
        expect(cells).to_have_text([name, "7B", attention, meditation])

    row("Ana", "61", "43")
    row("<b>Bia</b>", "--", "--")
    row("Caio", "--", "--")
    ANA.is_silent = True
    row("Ana", "--", "--")
    ANA.is_silent, ANA.attention = False, 0  # the headset computes none yet
    row("Ana", "--", "43")
    ANA.is_gone = True
    expect(page.locator("tr", has_text="Ana")).to_have_count(0)
    ANA.is_gone, ANA.attention = False, 61


def test_page_and_flow_doubt_what_the_golden_list_doubts(page: Page) -> None:
    windows = doubts.windows()
    doubtful = [[each is not None and Doubt(each).touches_esense for each in window.as_it_came] for window in windows]
    readings = [[json.loads(encode(each)) for each in window.readings] for window in windows]
    in_page = """(streams) => streams.map((readings) => {
      const stream = { same: 0 };
      return readings.map((each) => isDoubtful(stream, each));
    })"""
    assert page.evaluate(in_page, readings) == doubtful
    (code,) = (node["func"] for node in FLOW if node["type"] == "function")
    in_flow = """([code, streams]) => streams.map((readings) => {
      const kept = new Map();
      const context = { get: (key) => kept.get(key), set: (key, value) => kept.set(key, value) };
      const node = new Function("msg", "context", code);
      return readings.map((payload) => node({ topic: "one", payload }, context).payload);
    })"""
    expected = [
        [None if bad else each.attention or None for bad, each in zip(of, window.readings, strict=True)]
        for of, window in zip(doubtful, windows, strict=True)
    ]
    assert page.evaluate(in_flow, [code, readings]) == expected


def test_the_flow_subscribes_to_what_the_contract_has() -> None:
    (incoming,) = (node for node in FLOW if node["type"] == "mqtt in")
    everything = topics.every(topics.READING, "local")
    assert incoming["topic"] == everything.replace("/local/", "/+/")
    assert int(incoming["qos"]) == topics.READING.qos


@pytest.mark.skipif(not shutil.which("node-red"), reason="npm install -g node-red brings it; it needs Node 22.9")
def test_node_red_runs_the_flow(one_broker: Broker, tmp_path: Path) -> None:
    flow = json.dumps(FLOW).replace('"1883"', f'"{one_broker.port}"')
    (tmp_path / "flow.json").write_text(flow, encoding="utf-8")
    log = tmp_path / "log"
    command = ["node-red", "--userDir", str(tmp_path), "--port", str(free_port()), str(tmp_path / "flow.json")]
    with log.open("w") as out, ended(command, out), client_on(one_broker.url, "serial_bridge") as bus:
        wait_for(lambda: "Connected to broker" in log.read_text("utf-8"), "connection of Node-RED", 60.0)
        for seq, poor_signal in enumerate((0, 200, 0)):
            message = reading(seq=seq, poor_signal=poor_signal, attention=71 + seq)
            bus.publish(topics.reading("local", "flow", "Ana"), message)
        wait_for(lambda: "] 73\n" in log.read_text("utf-8"), "the third attention")
    said = log.read_text("utf-8")
    assert "] 71\n" in said
    assert "\nnull\n" in said
    assert not re.search(r"\] (72|80)\n", said), "of poor contact, and Caio's without bands"


def test_prometheus_answers_the_questions_of_the_dashboards(
    gateway_url: str, one_broker: Broker, tmp_path: Path
) -> None:
    """It scrapes a gateway and the classes as in compose; no student's name gets into it."""
    entrypoint = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["class_metrics"]["entrypoint"]
    program = EXAMPLES / "grafana" / Path(entrypoint[1]).name
    port, means = free_port(), free_port()
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    config["rule_files"] = [str(ROOT / "deploy/prometheus" / name) for name in config["rule_files"]]
    ports = urlsplit(gateway_url).port, free_port(), free_port(), means  # gateway, recorder, forwarder, classes
    config["scrape_configs"] = [
        {"job_name": job["job_name"], "scrape_interval": "1s", "static_configs": [{"targets": [f"{LOOPBACK}:{at}"]}]}
        for job, at in zip(config["scrape_configs"], ports, strict=True)
    ]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    prometheus = [
        needed("prometheus"),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/db",
    ]
    prometheus += [f"--web.listen-address={LOOPBACK}:{port}", "--log.level=warn"]

    def ask(path: str, **query: str) -> Any:
        with contextlib.suppress(OSError):
            status, text = get(port, f"/api/v1/{path}?{urlencode(query)}")
            assert status in {200, 503}, text  # 503: it begins
            return json.loads(text)["data"] if status == 200 else None
        return None

    def answers(expression: str) -> bool:
        """Return True if there is data. No recorder runs: Prometheus only accepts what is asked about it."""
        return bool(ask("query", query=expression)["result"]) or "recorder" in expression

    with ended(prometheus), ended([sys.executable, str(program), one_broker.url, f"{LOOPBACK}:{means}"]):
        ANA.is_gone, ANA.is_silent, ANA.attention = False, False, 61
        mean = "neuroone_class_attention"
        found = wait_for(
            lambda: [each["value"][1] for each in (ask("query", query=mean) or {}).get("result", [])], mean
        )
        assert found == ["61"]
        dashboards = (EXAMPLES / "grafana/dashboards").glob("*.json")
        panels = [panel for each in dashboards for panel in json.loads(each.read_text("utf-8"))["panels"]]
        for expression in (target["expr"].replace("$group", "7B") for panel in panels for target in panel["targets"]):
            wait_for(functools.partial(answers, expression), expression)
        stored = json.dumps(ask("series", **{"match[]": '{__name__=~".+"}'}))
        assert "neuroone_class_students" in stored
        assert not re.search("ana|bia|caio", stored, re.IGNORECASE)


def test_home_assistant_is_told_of_a_class_and_of_no_name(gateway_url: str, one_broker: Broker) -> None:
    """Started as the document says, but for the addresses; what announces the class stays on the broker."""
    (command,) = re.findall(r"python (examples/home_assistant.py) \S+ \S+ (\S+)", DOCUMENT.read_text("utf-8"))
    with ended([sys.executable, str(ROOT / command[0]), one_broker.url, one_broker.url, command[1]]):
        hear = functools.partial(simple, hostname=LOOPBACK, port=one_broker.port, qos=1)
        state = hear("neuroone-home/+/state")
        announced = hear("homeassistant/#", msg_count=3)
    assert state.topic == "neuroone-home/7B/state"
    values = json.loads(state.payload)
    assert (values["students"], values["counted"]) == (3, 1)
    for each in announced:
        assert each.retain
        assert re.fullmatch(r"homeassistant/sensor/[\w-]+/[\w-]+/config", each.topic)
        sensor = json.loads(each.payload)
        assert sensor["state_topic"] == state.topic
        assert sensor["value_template"] in {f"{{{{ value_json.{key} }}}}" for key in values}
    assert len({json.loads(each.payload)["unique_id"] for each in announced}) == 3
    assert not re.search(
        b"ana|bia|caio", b"".join([state.payload, *(each.payload for each in announced)]), re.IGNORECASE
    )

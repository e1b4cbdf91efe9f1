"""What a running gateway shows to Prometheus, and how ready it says it is."""

import contextlib
import json
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from neuroone.contract import topics
from neuroone.contract.messages import ServiceState, ServiceStatus
from neuroone.up import brokers
from tests.support.brokers import Broker
from tests.support.gateways import GatewayProgram, Peer, happens
from tests.support.scrapes import get, scrape
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.broker]
GATEWAY = "neuroone_gateway_"
READING = {"Nome": "Ana", "Codigo": "A", "Att": 1}


@pytest.fixture
def broker(start_broker) -> Broker:
    """The pages do not depend on the kind of broker: one is enough."""
    started: Broker = start_broker(brokers.NATS)
    return started


@pytest.fixture
def gateway(broker: Broker, peer: Peer) -> Iterator[GatewayProgram]:
    program = GatewayProgram(broker, "--origin", "https://school.example", "--clients-per-address", "3")
    program.start(peer)
    yield program
    program.finish()


async def test_readings_show_up_with_their_latency(gateway):
    await happens(lambda: scrape(gateway.port)[GATEWAY + "event_loop_lag_seconds_count"])
    before = scrape(gateway.port)
    assert before["neuroone_broker_connected"] == 1
    assert before[GATEWAY + "ack_latency_seconds_count"] == 0
    async with connect(gateway.url) as student:
        for _ in range(3):
            await student.send(json.dumps(READING))
        after = await happens(lambda: _with(gateway, GATEWAY + "ack_latency_seconds_count", 3))
    assert after[GATEWAY + "readings_total"] == 3
    assert after[GATEWAY + 'ack_latency_seconds_bucket{le="60.0"}'] == 3
    assert 0 < after[GATEWAY + "ack_latency_seconds_sum"] < 60
    assert after[GATEWAY + "event_loop_lag_seconds_count"] > before[GATEWAY + "event_loop_lag_seconds_count"] > 0
    assert after["process_cpu_seconds_total"] > 0


async def test_refusals_are_counted_by_their_reason(gateway):
    for origin in ("https://elsewhere.example", "https://other.example"):
        with pytest.raises(InvalidStatus):
            await connect(gateway.url, origin=Origin(origin))
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(gateway.url)) for _ in range(3)]
        with pytest.raises(InvalidStatus):
            await connect(gateway.url)
        await clients[0].send("no JSON")
        await clients[0].send(json.dumps({**READING, "Att": 101}))
        await clients[0].send(json.dumps({**READING, "Med": -1}))
        for _ in range(3):
            await clients[0].recv()
    async with connect(gateway.url, subprotocols=[Subprotocol("neuroone.v1")]) as modern:
        await modern.send('{"type": "marker", "id": "1"}')
        with contextlib.suppress(ConnectionClosed):
            await modern.recv()
    samples = scrape(gateway.port)
    reasons = {name.split('"')[1]: value for name, value in samples.items() if name.startswith(GATEWAY + "refusals")}
    assert {reason: value for reason, value in reasons.items() if value} == {
        "wrong_origin": 2,
        "too_many_connections": 1,
        "bad_json": 1,
        "bad_value": 2,
        "no_hello": 1,
    }


def test_it_says_in_words_that_it_is_degraded(gateway, peer):
    """It works without a recorder, and with one whose disk is full; both times somebody should look."""
    status, text = get(gateway.port, "/readyz")
    assert (status, text.startswith("degraded: no recorder")) == (200, True)
    _publish_recorder(peer, ServiceStatus.ONLINE, "cannot record: No space left on device")
    words = "degraded: the recorder main: cannot record: No space left on device\n"
    wait_for(lambda: get(gateway.port, "/readyz") == (200, words), words)
    _publish_recorder(peer, ServiceStatus.ONLINE, None)
    wait_for(lambda: get(gateway.port, "/readyz") == (200, "ready\n"), "ready")
    _publish_recorder(peer, ServiceStatus.OFFLINE, None)
    wait_for(lambda: "no recorder" in get(gateway.port, "/readyz")[1], "words about the recorder")


def test_without_its_broker_it_is_not_ready_and_says_so_in_its_metrics(gateway, broker):
    broker.stop()
    wait_for(lambda: get(gateway.port, "/readyz") == (503, "The broker is not there.\n"), "the words")
    assert scrape(gateway.port)["neuroone_broker_connected"] == 0
    broker.start()
    wait_for(lambda: get(gateway.port, "/readyz")[0] == 200, "the broker")


def _with(gateway: GatewayProgram, name: str, value: float) -> dict[str, float] | None:
    samples = scrape(gateway.port)
    return samples if samples[name] == value else None


def _publish_recorder(peer: Peer, status: ServiceStatus, fault: str | None) -> None:
    state = ServiceState(status=status, version="0.1.0", epoch=1, connection=1, fault=fault)
    peer.bus.publish(topics.service_state("local", "csv_recorder", "main"), state)

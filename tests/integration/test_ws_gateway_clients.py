"""clients/neuroone.js against a simulated network, and through a bad one to a real gateway, broker and recorder."""

import subprocess
from collections.abc import Iterator

import pytest

from neuroone.up import brokers
from tests.support.bad_network import CLIENTS, node, recorded_stack, run_in_node
from tests.support.brokers import Broker
from tests.support.gateways import GatewayProgram, running_gateway

SIMULATED_S = 6 * 60
"""Each fault once, at one a minute. `python -m bench.client_network` runs three hours."""


@pytest.fixture
def gateway(broker: Broker) -> Iterator[GatewayProgram]:
    with running_gateway(broker) as (program, _):
        yield program


@pytest.mark.broker
def test_the_javascript_client(gateway):
    """It connects, sends, reconnects with its session, and loses nothing."""
    words = [*node(), str(CLIENTS / "neuroone.test.mjs"), gateway.url]
    ended = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", timeout=40, check=False)
    assert (ended.returncode, ended.stdout) == (0, "ok\n"), ended.stderr


@pytest.mark.timeout(120)
def test_the_javascript_client_in_a_simulated_network():
    """Three hours of a bad network, shared tablets, several tabs, and all close codes, with a simulated clock."""
    words = [*node(), "--test", "--test-reporter=spec", str(CLIENTS / "neuroone.simulated.test.mjs")]
    ended = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", timeout=110, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.broker
@pytest.mark.timeout(120)
@pytest.mark.parametrize("broker", [brokers.KINDS[0]], indirect=True)
def test_the_javascript_client_loses_and_doubles_nothing_in_a_bad_network(broker, tmp_path):
    """Through a relay that goes silent, drops, delays and half-opens; every reading is recorded under its own name."""
    with recorded_stack(broker, tmp_path / "recordings") as stack:
        run_in_node(stack, SIMULATED_S)
        stack.check_rows(SIMULATED_S)

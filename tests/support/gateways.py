"""``ws-gateway`` as a program, another program on its broker, and the frames that its clients receive."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from neuroone.contract import topics
from neuroone.contract.messages import Message, Reading, ServiceState, ServiceStatus, StreamState, StreamStatus
from neuroone.contract.topics import Topic
from neuroone.mqtt.address import BrokerAddresses
from neuroone.mqtt.delivery import Delivery
from neuroone.mqtt.identity import Identity
from neuroone.mqtt.threaded import ThreadedClient
from tests.support.brokers import LOOPBACK, Broker, free_port
from tests.support.waiting import POLL_S, wait_for

HEARD_WITHIN_S = 20.0
FRAME_PERIOD_S = 0.2
"""How often the phones of a test send, faster than real ones."""


class Peer:
    """Another program on the broker: it receives everything, and may publish."""

    def __init__(self, broker: Broker) -> None:
        self.heard: list[tuple[Topic, Message]] = []
        self.forgotten: list[str] = []
        self.bus = ThreadedClient(
            BrokerAddresses.parse(broker.url),
            Identity("local", "peer", "test", "0.1.0", epoch=1, run="peer"),
            subscriptions={"neuroone/v1/#": 1},
            on_delivery=self._take,
        )
        self.bus.start()

    def _take(self, delivery: Delivery) -> None:
        if delivery.payload:
            self.heard.append(delivery.open())
        else:
            self.forgotten.append(delivery.topic)

    def readings(self) -> list[Reading]:
        return [message for _, message in self.heard if isinstance(message, Reading)]

    def statuses(self, source: str) -> list[StreamStatus]:
        return [m.status for t, m in self.heard if isinstance(m, StreamState) and t["source"] == source]

    def services(self, service: str) -> list[ServiceState]:
        """Return the states in which a service was online."""
        states = [m for t, m in self.heard if t.rule is topics.SERVICE_STATE and t["service"] == service]
        return [each for each in states if isinstance(each, ServiceState) and each.status is ServiceStatus.ONLINE]


class GatewayProgram:
    """``ws-gateway`` in a process of its own."""

    def __init__(self, broker: Broker, *words: str, instance: str = "test") -> None:
        self.port = free_port()
        self.url = f"ws://{LOOPBACK}:{self.port}"
        self.command = [sys.executable, "-m", "ws_gateway", "--host", LOOPBACK, "--ws-port", str(self.port)]
        self.command += ["--broker", broker.url, "--instance", instance, *words]
        self._birth = topics.service_state("local", "ws_gateway", instance)
        self.process: subprocess.Popen[str] | None = None

    def start(self, peer: Peer) -> None:
        already = len(self._births(peer))
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
        try:
            wait_for(lambda: len(self._births(peer)) > already, "birth of the gateway")
        except AssertionError:
            print(self.end(signal.SIGKILL))
            raise

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """End it; return its exit code and its log."""
        assert self.process is not None
        self.process.send_signal(how)
        _, log = self.process.communicate(timeout=20)
        code, self.process = self.process.returncode, None
        return code, log

    def finish(self) -> None:
        """End it in good order, if it runs; assert that its log has no traceback."""
        if self.process is not None:
            _, log = self.end(signal.SIGTERM)
            print(log)
            assert "Traceback" not in log

    def _births(self, peer: Peer) -> set[str]:
        """Return the runs that have said that they are online; they say it twice."""
        states = [state for topic, state in peer.heard if topic == self._birth and isinstance(state, ServiceState)]
        return {str(state.run) for state in states if state.status is ServiceStatus.ONLINE}


@contextlib.contextmanager
def running_gateway(broker: Broker) -> Iterator[tuple[GatewayProgram, Peer]]:
    """Run a gateway and a peer on a broker; assert at the end that the gateway's log has no traceback."""
    peer, gateway = Peer(broker), GatewayProgram(broker)
    try:
        wait_for(lambda: peer.bus.is_connected, "connection")
        gateway.start(peer)
        yield gateway, peer
        gateway.finish()
    finally:
        if gateway.process is not None:  # after a failure
            gateway.end(signal.SIGKILL)
        peer.bus.close()


async def hear(connection: ClientConnection) -> Any:
    """Receive the next frame; assert that it is a JSON object."""
    frame = json.loads(await asyncio.wait_for(connection.recv(), HEARD_WITHIN_S))
    assert isinstance(frame, dict)
    return frame


async def close_code(connection: ClientConnection) -> int | None:
    """Receive everything until the gateway closes; return its close code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await hear(connection)
    return connection.close_code


async def happens(condition: Callable[[], Any], within_s: float = HEARD_WITHIN_S) -> Any:
    """Wait as `wait_for` does, while the clients of the test go on."""
    async with asyncio.timeout(within_s):
        while not (value := condition()):  # noqa: ASYNC110 (the condition sets no event)
            await asyncio.sleep(POLL_S)
    return value


async def speak_until(condition: Callable[[], Any], *phones: tuple[ClientConnection, str]) -> None:
    """Let each phone go on sending its frame until a condition holds."""
    async with asyncio.timeout(HEARD_WITHIN_S):
        while not condition():
            for phone, frame in phones:
                await phone.send(frame)
            await asyncio.sleep(FRAME_PERIOD_S)

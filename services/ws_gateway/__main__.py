"""``ws-gateway``: serves students' phones, dashboards and games over WebSocket."""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from neuroone.contract import topics
from neuroone.contract.errors import ContractError, NeuroOneError
from neuroone.contract.messages import Reading, Recorded, ServiceState, StreamState
from neuroone.runtime import lifecycle
from neuroone.runtime.bus import Delivery, Vitals
from neuroone.runtime.lifecycle import FAILED, Command, Stop
from neuroone.runtime.settings import BusSettings, decimal, port_number, setting, text
from ws_gateway.audience import Audience
from ws_gateway.bus import AsyncBus
from ws_gateway.ledger import Ledger
from ws_gateway.server import Gateway
from ws_gateway.students import Students

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with contextlib.suppress(ImportError):  # Windows, PyPy: the loop of the standard library does the same, slower
    from uvloop import new_event_loop

SERVICE: Final = "ws_gateway"
SEND_WAITING_PERIOD_S: Final = 0.05
LOOK_PERIOD_S: Final = 0.5
LISTENERS_PERIOD_S: Final = 1.0
"""The local headset's frame goes out once a second."""
FLUSH_TIMEOUT_S: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BusSettings):
    """What the gateway can be told."""

    host: str = setting("0.0.0.0", text, "Address that the WebSocket server listens on.")  # noqa: S104 (phones)
    ws_port: int = setting(8080, port_number, "Port of the WebSocket server.")
    reading_rate: float = setting(
        5.0, decimal(0.1, 1000), "Readings a second that one student may send; faster ones are coalesced to this rate."
    )


def run(given: Settings, stop: Stop) -> int:
    """Serve until ``stop``; the exit code."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(given, stop))


async def _serve(given: Settings, stop: Stop) -> int:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    stop.call(lambda: loop.call_soon_threadsafe(stopped.set))
    audience = Audience(time.monotonic)
    ledger = Ledger(time.monotonic)

    def take(delivery: Delivery) -> None:
        try:
            topic, message = delivery.open()
        except ContractError:
            gateway.counters["deliveries_bad"] += 1
            return
        match message:
            case Reading():
                audience.take_reading(topic, message)
            case StreamState():
                students.take_state(topic, message)
            case ServiceState():
                ledger.take_state(topic, message)
                bus.pump()
            case Recorded():
                ledger.take_mark(message)

    def die(error: NeuroOneError) -> None:
        log.error("%s", error)
        stop.set(FAILED)

    bus = AsyncBus(
        given.broker,
        given.identity(SERVICE, time.time()),
        subscriptions={
            topics.every(topics.READING, given.site): 0,  # a dashboard that misses one has the next
            topics.every(topics.STREAM_STATE, given.site): 1,
            topics.every(topics.SERVICE_STATE, given.site): 1,
            topics.every(topics.RECORDED, given.site): 0,
        },
        on_delivery=take,
        on_link=ledger.linked,
        on_fatal=die,
        vitals=lambda: Vitals(
            {**gateway.counters, **students.counters, "kept_overflowed": ledger.overflowed},
            {
                "clients": gateway.clients,
                "students": len(students),
                "dashboards": len(audience.dashboards),
                "kept": len(ledger),
                "kept_bytes": ledger.size_bytes,
            },
        ),
        replay=ledger.replay,
        wait_for=ledger.waits_for_recorder,
        ca_file=given.broker_ca,
        health_file=given.health_file,
    )
    students = Students(bus, ledger, rate_hz=given.reading_rate, now=lambda: datetime.now(UTC), clock=time.monotonic)
    gateway = Gateway(students, audience)
    await gateway.listen(given.host, given.ws_port)  # before the bus: its birth says that the gateway is ready
    log.info("listening on port %d of %s", given.ws_port, given.host)
    bus.start()
    clockwork = [
        asyncio.create_task(_every(period_s, call))
        for period_s, call in (
            (SEND_WAITING_PERIOD_S, students.send_waiting),
            (LOOK_PERIOD_S, students.look),
            (LOOK_PERIOD_S, ledger.look),
            (LISTENERS_PERIOD_S, audience.tick),
        )
    ]
    await stopped.wait()
    gateway.stop_listening()
    for task in clockwork:
        task.cancel()
    students.leave_all()
    if not await bus.close(FLUSH_TIMEOUT_S):
        log.warning("the broker did not take the last %d messages", bus.waiting)
    await gateway.close()
    await asyncio.gather(*clockwork, return_exceptions=True)
    return stop.exit_code


async def _every(period_s: float, call: Callable[[], None]) -> None:
    """Call at a steady rate; calls that the loop was too busy for are left out."""
    clock = asyncio.get_running_loop().time
    due_s = clock() + period_s
    while True:
        await asyncio.sleep(due_s - clock())
        call()
        due_s = max(due_s + period_s, clock())


def main() -> int:
    """The program ``ws-gateway``."""
    return lifecycle.main(
        "ws-gateway",
        {"run": Command(Settings, run, "serve students, dashboards and games over WebSocket, until stopped")},
    )


if __name__ == "__main__":
    sys.exit(main())

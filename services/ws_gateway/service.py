"""The gateway as a program: connect the broker, the students, the dashboards and the WebSocket server."""

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.service.lifecycle import FAILED, Stop
from neuroone.service.local_address import ANY_ADDRESS
from neuroone.service.open_files import allow_many_files
from neuroone.service.systemd import Report
from neuroone.service.watchdog import Watchdog
from ws_gateway import district
from ws_gateway.http.pages import Pages
from ws_gateway.settings import Settings
from ws_gateway.site import CHECK_PERIOD_S, Shared, SiteGateway, token_files
from ws_gateway.websocket.admission import Admission as Connections
from ws_gateway.websocket.certificate import of_settings
from ws_gateway.websocket.server import Server

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with contextlib.suppress(ImportError):  # Windows, PyPy: the standard library's loop does the same, slower
    from uvloop import new_event_loop

CERTIFICATE_PERIOD_S: Final = 2.0
"""`neuroone up` notices a new address of this machine within 10 s; phones should not wait much longer."""
GC_THRESHOLDS: Final = (1_000_000, 10, 10)
"""New objects (100 MB) before the garbage collector runs by itself; while it runs, everybody waits.
Neither readings nor connections create reference cycles (docs/decisions/0008)."""
GC_PERIOD_S: Final = 60.0
"""Whatever else creates cycles, it is freed after this time (docs/decisions/0018)."""

log = logging.getLogger(__name__)


class Service:
    """Wire the gateway of one site, or of several, and run it until the program must stop. Raises SettingsError."""

    def __init__(self, given: Settings, stop: Stop) -> None:
        self._given = given
        self._stop = stop
        https = of_settings(given.tls_port, given.tls_cert, given.tls_key, given.tls_ca)
        connections = Connections(given.clients_per_address, time.monotonic, has_sites=given.sites is not None)
        self.sites: Sequence[SiteGateway]
        self._server: Server
        if given.sites is None:
            shared = Shared(https, connections, Pages(), self._on_fatal)
            self.sites = [SiteGateway(given, [token_files(given)], shared)]
            self._server = self.sites[0].server
        else:
            self.sites, self._server = district.wire(given, https, connections)

    def run(self) -> int:
        """Serve until the program must stop; return the exit code. Raises SettingsError."""
        watchdog = Watchdog(self._given.watchdog_s, on_alive=Report(self._is_connected).on_alive)
        with watchdog, asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._serve(watchdog))
        return self._stop.exit_code

    async def _serve(self, watchdog: Watchdog) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        self._stop.call(lambda: loop.call_soon_threadsafe(stopped.set))
        files_max = allow_many_files()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        # Listen before the broker is told that the gateway is online.
        await self._server.listen(self._given.host, self._given.ws_port, files_max)
        hosts = ("all addresses" if host in ANY_ADDRESS else host for host in self._given.host)
        log.info("listening on port %d of %s", self._given.ws_port, ", ".join(hosts))
        if self._given.public_url is not None:
            log.info("others reach this gateway at %s", self._given.public_url)
        for site in self.sites:
            site.client.start()
        own = [
            (CHECK_PERIOD_S, watchdog.watch("event loop")),
            (GC_PERIOD_S, collect_young),
            (CERTIFICATE_PERIOD_S, self._server.https.refresh),
        ]
        due: dict[float, list[Callable[[], None]]] = {}
        for period_s, call in (*own, *self.of_sites()):
            due.setdefault(period_s, []).append(call)
        timers = [asyncio.create_task(self._every(period_s, calls)) for period_s, calls in due.items()]
        await stopped.wait()
        self._server.stop_accepting()
        for timer in timers:
            timer.cancel()
        # At the same time, for what students send from now on is lost: NATS takes 5 ms for each of their states.
        await asyncio.gather(*(site.end() for site in self.sites), self._server.close())
        await asyncio.gather(*timers, return_exceptions=True)

    def of_sites(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """Yield what the sites call again and again. Among several, a fault of ours in one leaves the others alone."""
        for site in self.sites:
            for period_s, call in site.timers():
                yield period_s, call if len(self.sites) == 1 else partial(site.attempt, call)

    async def _every(self, period_s: float, calls: Sequence[Callable[[], None]]) -> None:
        """Call at a steady rate, leaving out calls that the loop was too busy for; end the service on a fault."""
        clock = asyncio.get_running_loop().time
        due_s = clock() + period_s
        while True:
            await asyncio.sleep(due_s - clock())
            late_s = max(0.0, clock() - due_s)
            for site in self.sites:
                site.latencies.loop.observe(late_s)
            try:
                for call in calls:
                    call()
            except Exception:  # a gateway that no longer does this must not look healthy
                log.exception("a fault in a periodic task: the gateway ends")
                self._stop.set(FAILED)
                return
            due_s = max(due_s + period_s, clock())

    def _is_connected(self) -> bool:
        return any(site.client.is_connected for site in self.sites)

    def _on_fatal(self, site: SiteGateway, error: NeuroOneError) -> None:
        log.error("%s", error)
        self._stop.set(FAILED)


def collect_young() -> None:
    """Free the reference cycles among the objects of the last minute."""
    gc.collect(0)

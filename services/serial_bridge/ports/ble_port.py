"""The connection to one headset over Bluetooth LE, through bleak, in a thread with an event loop of its own."""

import asyncio
import atexit
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from neuroone.contract import hints
from neuroone.contract.messages import Link
from neuroone.contract.topics import id_from_text
from serial_bridge.headsets.mindwave_mobile2 import Translator
from serial_bridge.headsets.thinkgear import RAW_BAUD
from serial_bridge.ports.ble import (
    ADDRESS,
    HANG_S,
    PROFILES,
    SEEN_MAX,
    InReach,
    describe,
    fault_of,
    lost,
    printable,
)
from serial_bridge.ports.port import READ_MAX_BYTES, PortFault

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.device import BLEDevice

SCAN_S: Final = 10.0
"""A headset says several times a second that it is there; ten seconds find one at the edge of reach."""
SETTLE_S: Final = 2.0
"""Time for further headsets to show themselves, so that the nearest one is chosen and names are complete."""
LOOK_S: Final = 0.1
"""Time between two looks at what a scan has found."""
OPEN_S: Final = 40.0
"""Time to find, connect and subscribe: systems give a connection up after 20 to 30 s."""
DISCONNECT_S: Final = 5.0
EXIT_S: Final = 3.0
"""Time for headsets to be disconnected when the program ends: one that stays connected is not found again."""
BUFFER_MAX_BYTES: Final = 65536
"""A quarter of a minute of a headset; what comes beyond it is dropped and counted."""
COMMANDS_MAX: Final = 8
"""Commands that wait to be sent: one is sent every 5 s at most."""

log = logging.getLogger(__name__)


class Radio:
    """What all connections of this program share: which headsets are taken, and which connections are there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, BlePort] = {}
        self._ports: set[BlePort] = set()

    def claim(self, address: str, port: "BlePort") -> bool:
        """Take a headset for one connection; return False if another one has it."""
        with self._lock:
            return self._taken.setdefault(address, port) is port

    def add(self, port: "BlePort") -> None:
        """Note a connection that begins."""
        with self._lock:
            if not self._ports:
                atexit.register(self.close)
            self._ports.add(port)

    def remove(self, port: "BlePort") -> None:
        """Give back what a connection has taken."""
        with self._lock:
            self._ports.discard(port)
            self._taken = {address: taker for address, taker in self._taken.items() if taker is not port}

    def close(self) -> None:
        """Disconnect all headsets, for EXIT_S at most."""
        atexit.unregister(self.close)
        deadline_s = time.monotonic() + EXIT_S
        for port in list(self._ports):
            port.close()
        for port in list(self._ports):
            port.join(max(0.0, deadline_s - time.monotonic()))


RADIO: Final = Radio()


class BleSource:
    """A headset over Bluetooth LE: ``ble`` is any one in reach, ``ble:NAME`` and ``ble:ADDRESS`` are certain ones.

    ``ble:MindWave*`` is one whose name begins so. Once frames have come, only this very headset is connected again:
    readings of another one would be taken for its wearer's. Devices that brought no frames come last.
    """

    can_reopen = True
    can_wait = False
    is_simulated = False
    speeds = (RAW_BAUD,)

    def __init__(self, port: str, radio: Radio = RADIO) -> None:
        self.device = port
        text = port.partition(":")[2].strip()
        wanted = text.removesuffix("*")
        is_address = ADDRESS.fullmatch(wanted) is not None
        self.source_id = id_from_text("ble-" + wanted.replace(":", "-") if is_address else wanted or "ble")
        self.address = wanted if is_address else ""
        """The only headset that is connected to; empty if any one of the name is."""
        self._name = "" if is_address else wanted.casefold()
        self._is_beginning = text != wanted
        self.counters = {"ble_bytes_dropped": 0}
        self._radio = radio
        self._fruitless: Counter[str] = Counter()
        self._port: BlePort | None = None

    def open(self, baud: int) -> "BlePort":
        """Find, connect and subscribe; takes up to OPEN_S. Raises PortFault."""
        if self._port is not None and not self._port.has_ended(DISCONNECT_S + HANG_S):
            raise PortFault(Link.NO_PORT, hints.BLE_STUCK.text())
        self._port = BlePort(self, self._radio)
        try:
            self._port.wait_open()
        except PortFault:
            self.on_close(has_frames=False)
            raise
        self.device = self._port.device
        return self._port

    def on_close(self, *, has_frames: bool) -> None:
        """Keep to the headset if it brought frames; else look at others first."""
        if self._port is None or not self._port.address:
            return
        if has_frames:
            self.address = self._port.address
        elif len(self._fruitless) < SEEN_MAX:
            self._fruitless[self._port.address] += 1

    @property
    def is_certain(self) -> bool:
        """Whether a certain headset is meant, not just any one in reach."""
        return bool(self.address or self._name)

    def matches(self, found: InReach) -> bool:
        """Return True if this device may be meant."""
        if self.address:
            return found.address.casefold() == self.address.casefold()
        name = found.name.casefold()
        if self._is_beginning and self._name:
            return name.startswith(self._name)
        return name == self._name if self._name else found.rank > 0

    def order(self, found: InReach) -> tuple[int, int, int]:
        """Return the key by which the best of several devices sorts first."""
        return self._fruitless[found.address], -found.rank, -found.rssi_dbm


class BlePort(threading.Thread):
    """The connection to one headset; whatever its system's Bluetooth does stays in this thread.

    Read and write as of any other port. `close` does not wait; `has_ended` does.
    """

    def __init__(self, source: BleSource, radio: Radio) -> None:
        super().__init__(name="ble", daemon=True)
        self.device = source.device
        self.address = ""
        self._source = source
        self._radio = radio
        self._lock = threading.Lock()
        self._arrived = bytearray()
        self._fault: PortFault | None = None
        self._is_closed = False
        self._opened: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._commands: asyncio.Queue[bytes] = asyncio.Queue(COMMANDS_MAX)
        self._translate: Callable[[bytes], bytes] = bytes

    def wait_open(self) -> None:
        """Start, and wait until the headset is connected. Raises PortFault."""
        self._radio.add(self)
        self.start()
        try:
            self._opened.result(OPEN_S + DISCONNECT_S + HANG_S)
        except TimeoutError:
            self.close()
            raise PortFault(Link.NO_PORT, hints.BLE_STUCK.text()) from None

    def read(self) -> bytes:
        """Return the bytes that have arrived, at most READ_MAX_BYTES, without waiting. Raises PortFault."""
        with self._lock:
            arrived = bytes(self._arrived[:READ_MAX_BYTES])
            del self._arrived[:READ_MAX_BYTES]
        if not arrived and self._fault is not None:
            raise self._fault
        return arrived

    def write(self, command: bytes) -> None:
        """Send bytes to the headset, soon."""
        self._call(self._queue, command)

    def close(self) -> None:
        """Begin to disconnect; what still arrives is dropped."""
        is_closed, self._is_closed = self._is_closed, True
        if self._task is not None and not is_closed:
            self._call(self._task.cancel)

    def has_ended(self, timeout_s: float) -> bool:
        """Wait until the headset is disconnected; return False if it is not after this time."""
        self.join(timeout_s)
        return not self.is_alive()

    def run(self) -> None:
        """Talk to the headset until the port is closed or the headset is gone."""
        fault = lost(self.device)
        try:
            asyncio.run(self._talk())
        except PortFault as error:
            fault = error
        except (Exception, asyncio.CancelledError) as error:
            fault = fault_of(error, self.device if self._opened.done() else self._source.device)
            if not self._is_closed:
                log.debug("%s", self.device, exc_info=True)
        finally:
            self._radio.remove(self)
            if self._opened.done():
                self._fault = self._fault or fault
            else:
                self._opened.set_exception(fault)

    async def _talk(self) -> None:
        from bleak import BleakClient

        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._loop.set_exception_handler(lambda _, context: log.debug("%s: %s", self.device, context))
        if self._is_closed:
            return
        client: BleakClient | None = None
        try:
            async with asyncio.timeout(OPEN_S):
                device = await self._find()
                client = BleakClient(device, lambda _: self._on_lost())
                await client.connect()
                write_to = await self._subscribe(client)
            self._opened.set_result(None)
            while self._fault is None and not self._is_closed:  # what ignores a cancellation ends here
                command = await self._commands.get()
                if command and write_to is not None:
                    async with asyncio.timeout(DISCONNECT_S):
                        await client.write_gatt_char(write_to, command)
        finally:
            self._is_closed = True
            if client is not None:
                with suppress(Exception, asyncio.CancelledError):
                    async with asyncio.timeout(DISCONNECT_S):
                        await client.disconnect()

    async def _find(self) -> "BLEDevice":
        """Return the device to connect to, taken for this port alone. Raises PortFault if there is none."""
        from bleak import BleakScanner

        scanner = BleakScanner()
        await scanner.start()
        try:
            began_s = time.monotonic()
            while time.monotonic() - began_s < SCAN_S:
                await asyncio.sleep(LOOK_S)
                is_complete = self._source.address or time.monotonic() - began_s >= SETTLE_S
                seen = islice(list(scanner.discovered_devices_and_advertisement_data.values()), SEEN_MAX)
                if is_complete and (device := self._choose([(each, describe(each, said)) for each, said in seen])):
                    return device
        finally:
            with suppress(Exception):
                async with asyncio.timeout(DISCONNECT_S):
                    await scanner.stop()
        if self._source.is_certain and (device := self._choose(await _connected())):
            return device
        raise PortFault(Link.NO_PORT, hints.BLE_NOT_IN_REACH.text(self._source.device))

    def _choose(self, seen: "list[tuple[BLEDevice, InReach]]") -> "BLEDevice | None":
        """Return the best of the devices that may be meant and are not taken."""
        meant = [(device, found) for device, found in seen if self._source.matches(found)]
        for device, found in sorted(meant, key=lambda pair: self._source.order(pair[1])):
            if self._radio.claim(found.address, self):
                self.address = found.address
                self.device = f"ble:{found.address}" + (f" ({found.name})" if found.name else "")
                return device
        return None

    async def _subscribe(self, client: "BleakClient") -> "BleakGATTCharacteristic | None":
        """Let the headset send; return where to write to. Raises PortFault if it is none that we know."""
        services = {service.uuid.lower(): service for service in client.services}
        for profile in PROFILES:
            if (offered := services.get(profile.service)) is None:
                continue
            notify = [each for each in map(offered.get_characteristic, profile.notify) if each is not None]
            if not notify:
                continue
            if profile.is_experimental:
                log.warning("%s: %s: its numbers may be wrong; please record a capture", self.device, profile.name)
                self.device += ", experimental"
                self._translate = Translator().feed
            for characteristic in notify:
                await client.start_notify(characteristic, self._on_bytes)
            write_to = offered.get_characteristic(profile.write)
            if write_to is not None:
                for command in profile.start:
                    await client.write_gatt_char(write_to, command)
            return write_to
        raise PortFault(Link.NO_FRAMES, hints.BLE_NO_HEADSET.text(self._source.device))

    def _on_bytes(self, sender: object, data: bytearray) -> None:
        if self._is_closed:
            return
        arrived = self._translate(bytes(data))
        with self._lock:
            if len(self._arrived) + len(arrived) <= BUFFER_MAX_BYTES:
                self._arrived += arrived
            else:
                self._source.counters["ble_bytes_dropped"] += len(arrived)

    def _on_lost(self) -> None:
        self._fault = self._fault or lost(self.device)
        self._call(self._queue, b"")

    def _queue(self, command: bytes) -> None:
        with suppress(asyncio.QueueFull):
            self._commands.put_nowait(command)

    def _call(self, function: Callable[..., object], *given: object) -> None:
        """Call a function in the event loop, if that still runs."""
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *given)


async def _connected() -> "list[tuple[BLEDevice, InReach]]":
    """Return the headsets that are connected already: one that a killed program left so shows up in no scan."""
    from bleak import BleakAdapter

    with suppress(Exception):
        adapter = await BleakAdapter.get()
        devices = await adapter.get_connected_devices([profile.service for profile in PROFILES])
        return [(each, InReach(each.address, printable(each.name or ""), 1, "", 0)) for each in devices]
    return []

"""Bluetooth LE without a radio: headsets in the air, and backends for bleak that find and connect them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import bleak
import pytest
from bleak.backends.adapter import BaseBleakAdapter
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection

from serial_bridge.ports.ble import PROFILES

HM_10, NORDIC, MINDWAVE = PROFILES
NOTIFICATION_BYTES = 20
Fault = Callable[[], Awaitable[None]]


@dataclass(eq=False)
class AirHeadset:
    """A headset that shows itself, and what it does when it is connected.

    ``faults`` are for the steps start, stop, connect, start_notify, write and disconnect. ``packets`` are sent as
    soon as somebody listens, after them nothing.
    """

    address: str
    name: str | None = None
    profile: Any = HM_10
    rssi: int = -60
    packets: list[bytes] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)
    is_off: bool = False
    is_left_connected: bool = False
    """By a program that was killed: no search finds it, only the computer's adapter knows it."""
    client: "AirClient | None" = None
    written: list[bytes] = field(default_factory=list)
    connected: int = 0

    def send(self, stream: bytes) -> None:
        """Send bytes from now on, in notifications, to who is connected."""
        client = self.client
        assert client is not None
        packets = [stream[n : n + NOTIFICATION_BYTES] for n in range(0, len(stream), NOTIFICATION_BYTES)]
        for packet in packets:
            client.loop.call_soon_threadsafe(client.notify, packet)

    def vanish(self) -> None:
        """Break the connection, as a headset that is switched off."""
        client, self.is_off = self.client, True
        assert client is not None
        client.loop.call_soon_threadsafe(client.on_vanished)


class Air:
    """All headsets, and what the computer's own Bluetooth does wrong."""

    def __init__(self) -> None:
        self.headsets: list[AirHeadset] = []
        self.faults: dict[str, Fault] = {}

    def add(self, *given: Any, **options: Any) -> AirHeadset:
        self.headsets.append(AirHeadset(*given, **options))
        return self.headsets[-1]


class AirScanner(BaseBleakScanner):
    air: Air

    def __init__(self, callback: Any, services: Any, mode: Any, **_: Any) -> None:
        super().__init__(callback, services)

    async def start(self) -> None:
        await step(self.air.faults, "start")
        for each in self.air.headsets:
            if not each.is_off and not each.is_left_connected and each.client is None:
                said = AdvertisementData(each.name, {}, {}, [each.profile.service], None, each.rssi, ())
                self.create_or_update_device(each.address, each.address, each.name, each, said)

    async def stop(self) -> None:
        await step(self.air.faults, "stop")


class AirAdapter(BaseBleakAdapter):
    air: Air

    @classmethod
    async def get(cls, **_: Any) -> "AirAdapter":
        await step(cls.air.faults, "adapter")
        return cls()

    async def get_connected_devices(self, service_uuids: frozenset[str]) -> list[BLEDevice]:
        left = [each for each in self.air.headsets if each.is_left_connected and each.profile.service in service_uuids]
        return [BLEDevice(each.address, each.name, each) for each in left]


class AirClient(BaseBleakClient):
    air: Air

    def __init__(self, device: BLEDevice, **options: Any) -> None:
        super().__init__(device, disconnected_callback=options["disconnected_callback"], timeout=options["timeout"])
        self.headset: AirHeadset = device.details
        self.callbacks: list[tuple[str, Callable[[bytearray], None]]] = []
        self.loop = asyncio.get_running_loop()

    @property
    def mtu_size(self) -> int:
        return 23

    @property
    def is_connected(self) -> bool:
        return self.headset.client is self

    async def connect(self, pair: bool, **_: Any) -> None:
        await step(self.headset.faults, "connect")
        self.headset.client = self
        self.headset.connected += 1
        self.services = BleakGATTServiceCollection()
        profile = self.headset.profile
        service = BleakGATTService(None, 1, profile.service)
        self.services.add_service(service)
        for handle, uuid in enumerate(dict.fromkeys([*profile.notify, profile.write]), 2):
            properties: Any = ["notify", "write-without-response"]
            self.services.add_characteristic(
                BleakGATTCharacteristic(None, handle, uuid, properties, lambda: 20, service)
            )

    async def disconnect(self) -> None:
        await step(self.headset.faults, "disconnect")
        self.headset.client = None

    async def start_notify(self, characteristic: BleakGATTCharacteristic, callback: Any, **_: Any) -> None:
        await step(self.headset.faults, "start_notify")
        self.callbacks.append((characteristic.uuid, callback))
        if len(self.callbacks) == len(self.headset.profile.notify):
            for packet in self.headset.packets:
                self.loop.call_soon(self.notify, packet)

    def notify(self, packet: bytes) -> None:
        self.callbacks[0][1](bytearray(packet))

    def on_vanished(self) -> None:
        self.headset.client = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
        await step(self.headset.faults, "write")
        self.headset.written.append(bytes(data))

    async def pair(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def unpair(self) -> None:
        raise NotImplementedError

    async def read_gatt_char(self, *_: Any, **__: Any) -> bytearray:
        raise NotImplementedError

    async def read_gatt_descriptor(self, *_: Any, **__: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def stop_notify(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError


async def step(faults: dict[str, Fault], name: str) -> None:
    if name in faults:
        await faults[name]()


def raising(error: BaseException) -> Fault:
    async def fault() -> None:
        raise error

    return fault


def open_the_air(monkeypatch: pytest.MonkeyPatch) -> Air:
    """Let bleak find the headsets of an air instead of those of a radio."""
    air = Air()
    scanner: type[AirScanner] = type("Scanner", (AirScanner,), {"air": air})
    client: type[AirClient] = type("Client", (AirClient,), {"air": air})
    monkeypatch.setattr(bleak, "get_platform_scanner_backend_type", lambda: (scanner, "air"))
    monkeypatch.setattr(bleak, "get_platform_client_backend_type", lambda: (client, "air"))
    adapter: type[AirAdapter] = type("Adapter", (AirAdapter,), {"air": air})
    monkeypatch.setattr(bleak, "get_platform_adapter_backend_type", lambda: (adapter, "air"))
    return air

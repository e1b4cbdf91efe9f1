"""Bluetooth LE: which headsets there are, what is in reach, and what the faults of bleak mean."""

import asyncio
import importlib.util
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from neuroone.contract import hints
from neuroone.contract.errors import SettingsError
from neuroone.contract.messages import Link
from neuroone.service import extras
from serial_bridge.ports import detect
from serial_bridge.ports.port import PortFault

if TYPE_CHECKING:
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

LIST_S: Final = 4.0
"""Time of the scan for a list: a headset says several times a second that it is there."""
ANSWER_S: Final = 10.0
"""What a scan may take beyond its time: macOS asks the user for permission."""
HANG_S: Final = 2.0
"""What is not over so long after its time does not answer at all."""
SEEN_MAX: Final = 1000
"""Devices of one scan that are looked at: more than a full school has."""
NAME_MAX_CHARS: Final = 40
ADDRESS: Final = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}|[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", re.IGNORECASE)
"""A Bluetooth address, or the id that macOS gives out instead."""
NOT_INSTALLED: Final = extras.sentence("Bluetooth LE", "bleak", "ble")


@dataclass(frozen=True, slots=True)
class Profile:
    """How a kind of headset sends its bytes: characteristics that notify, one to write to, and commands to start."""

    name: str
    service: str
    notify: tuple[str, ...]
    write: str
    start: tuple[bytes, ...] = ()
    is_experimental: bool = False


PROFILES: Final = (
    Profile(
        "HM-10 module",
        "0000ffe0-0000-1000-8000-00805f9b34fb",
        ("0000ffe1-0000-1000-8000-00805f9b34fb",),
        "0000ffe1-0000-1000-8000-00805f9b34fb",
    ),
    Profile(
        "Nordic UART",
        "6e400001-b5a3-f393-e0a9-e50e24dcca9e",
        ("6e400003-b5a3-f393-e0a9-e50e24dcca9e",),
        "6e400002-b5a3-f393-e0a9-e50e24dcca9e",
    ),
    Profile(
        "MindWave Mobile 2, experimental",
        "039afff0-2c94-11e3-9e06-0002a5d5c51b",
        ("039afff8-2c94-11e3-9e06-0002a5d5c51b", "039afff4-2c94-11e3-9e06-0002a5d5c51b"),
        "039affa0-2c94-11e3-9e06-0002a5d5c51b",
        start=(b"\x17", b"\x15"),  # eSense on, raw on
        is_experimental=True,
    ),
)


@dataclass(frozen=True, slots=True)
class InReach:
    """A device in reach: ``rank`` is how likely it is a headset, from 0, not at all, to 4."""

    address: str
    name: str
    rank: int
    looks_like: str
    rssi_dbm: int


def is_ble(port: str) -> bool:
    """Return True if ``--port`` names a headset over Bluetooth LE."""
    return port == "ble" or port.startswith("ble:")


def describe(device: "BLEDevice", advertised: "AdvertisementData") -> InReach:
    """Describe a device by what it says about itself; all of it is untrusted."""
    name = printable(advertised.local_name or device.name or "")
    services = {str(each).lower() for each in advertised.service_uuids}
    profile = next((each for each in PROFILES if each.service in services), None)
    rank, looks_like = (0, "something else") if profile is None else (3, profile.name)
    if detect.NAMES.search(name):
        rank, looks_like = 4, "NeuroSky-type headset" if profile is None else f"NeuroSky-type headset, {profile.name}"
    return InReach(device.address, name, rank, looks_like, advertised.rssi)


def printable(name: str) -> str:
    """Return a device's name without control characters, cut to a length that fits into a line."""
    return "".join(filter(str.isprintable, name))[:NAME_MAX_CHARS].strip()


def lost(device: str) -> PortFault:
    """Return the fault of a headset that was connected and is gone."""
    return PortFault(Link.UNPLUGGED, hints.BLE_LOST.text(device))


def fault_of(error: BaseException, device: str | None) -> PortFault:
    """Return the fault for whatever bleak or the system raised; without ``device`` no headset was asked for."""
    from bleak.exc import BleakBluetoothNotAvailableError

    if isinstance(error, BleakBluetoothNotAvailableError):
        is_denied = error.reason.name.startswith("DENIED")
        link, hint = (Link.NO_PERMISSION, hints.BLE_DENIED) if is_denied else (Link.NO_PORT, hints.BLE_OFF)
        return PortFault(link, hint.text())
    if has_no_bluetooth(error):
        return PortFault(Link.NO_PORT, hints.BLE_OFF.text())
    hint = hints.BLE_STUCK if device is None else hints.BLE_NO_ANSWER
    return PortFault(Link.NO_PORT, hint.text(device))


def has_no_bluetooth(error: BaseException) -> bool:
    """Return True if an error shows that this computer has no Bluetooth LE at all, or nothing that serves it."""
    from bleak.exc import BleakBluetoothNotAvailableError, BleakDBusError
    from bleak.exc import BleakBluetoothNotAvailableReason as Reason

    if isinstance(error, BleakBluetoothNotAvailableError):
        return error.reason in (Reason.NO_BLUETOOTH, Reason.NO_BLE_CENTRAL_ROLE)
    if isinstance(error, BleakDBusError):
        return error.dbus_error.endswith(("ServiceUnknown", "NameHasNoOwner"))
    return isinstance(error, FileNotFoundError | ConnectionRefusedError)


def check(ports: tuple[str, ...]) -> None:
    """Make sure that Bluetooth LE can be used if a port asks for it. Raises SettingsError."""
    asked = [port for port in ports if is_ble(port)]
    if not asked:
        return
    if not is_installed():
        raise SettingsError([f"--port {asked[0]}: {NOT_INSTALLED}"])
    try:
        in_reach(0.0)
    except PortFault as fault:
        if fault.__cause__ is not None and has_no_bluetooth(fault.__cause__):
            raise SettingsError([f"--port {asked[0]}: {fault}"]) from None


def is_installed() -> bool:
    """Return True if the extra ``ble`` is installed."""
    return importlib.util.find_spec("bleak") is not None


def in_reach(seconds: float = LIST_S) -> list[InReach]:
    """Scan for so long and return what is in reach, the likeliest headset first. Raises PortFault."""
    done: Future[list[InReach]] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(_scan(seconds)))
        except BaseException as error:  # noqa: BLE001 - raised again below
            done.set_exception(error)

    threading.Thread(target=run, name="ble", daemon=True).start()
    try:
        return done.result(seconds + ANSWER_S + HANG_S)
    except (Exception, asyncio.CancelledError) as error:
        raise fault_of(error, None) from error


async def _scan(seconds: float) -> list[InReach]:
    from bleak import BleakScanner

    async with asyncio.timeout(seconds + ANSWER_S):
        seen = await BleakScanner.discover(seconds, return_adv=True)
    found = [describe(device, said) for device, said in islice(seen.values(), SEEN_MAX)]
    return sorted(found, key=lambda each: (-each.rank, -each.rssi_dbm))

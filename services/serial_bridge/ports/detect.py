"""The computer's serial ports, and which of them a headset may be connected to."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from serial.tools.list_ports_common import ListPortInfo

from neuroone.contract.topics import id_from_text

CHIPS: Final[Mapping[tuple[int | None, int | None], str]] = {
    # The RF dongle of the MindWave is a CH340 without a serial number (CH341SER_MW.INF; Linux drivers ch341, cp210x).
    (0x1A86, 0x7523): "CH340: MindWave RF dongle, or a USB-serial adapter",
    (0x1A86, 0x7522): "CH340K USB-serial adapter",
    (0x1A86, 0x5523): "CH341A USB-serial adapter",
    (0x4348, 0x5523): "CH341A USB-serial adapter",
    (0x1A86, 0xE523): "CH330 USB-serial adapter",
    (0x2184, 0x0057): "CH340 USB-serial adapter",
    (0x9986, 0x7523): "CH340 USB-serial adapter",
    (0x1A86, 0x55D4): "CH9102 USB-serial adapter",
    (0x1A86, 0x55D3): "CH343 USB-serial adapter",
    (0x1A86, 0x55D2): "CH342 USB-serial adapter",
    (0x1A86, 0x5722): "WCH receiver: MindWave Mobile or MyndBand",
    (0x10C4, 0xEA60): "CP210x USB-serial adapter",
    (0x0403, 0x6001): "FTDI USB-serial adapter",
    (0x0403, 0x6015): "FTDI USB-serial adapter",
}
NAMES: Final = re.compile(
    r"mindwave|mindset|mindlink|mindflex|myndband|myndplay|neurosky|thinkgear|sichiray|brainlink|usbmodem2017",
    re.IGNORECASE,
)
"""Of headsets; usbmodem2017... is what macOS calls WCH's receiver."""
ADAPTERS: Final = re.compile(r"ch34\d|ch910\d|cp210|ftdi|ft232|usb.?serial", re.IGNORECASE)
BLUETOOTH: Final = re.compile(r"bluetooth|bthenum|rfcomm", re.IGNORECASE)


def source_id(port: ListPortInfo) -> str:
    """Return an id that survives a change of the port's name: its place on the USB, else its name."""
    if port.location:
        return id_from_text("usb-" + re.sub(r"[^A-Za-z0-9]+", "-", port.location).strip("-"))
    return id_from_text(port.device.rpartition("/")[2])


def classify(port: ListPortInfo) -> tuple[int, str]:
    """Return how likely a headset is on the port, from 0, not at all, to 4, and what the port looks like."""
    text = f"{port.device} {port.description} {port.hwid} {port.product} {port.manufacturer}"
    if NAMES.search(text):
        return 4, "NeuroSky-type headset"
    if chip := CHIPS.get((port.vid, port.pid)):
        return 3, chip
    if ADAPTERS.search(text):
        return 2, "USB-serial adapter"
    return (1, "Bluetooth port: maybe a headset") if BLUETOOTH.search(text) else (0, "something else")


def candidates(ports: Iterable[ListPortInfo]) -> list[ListPortInfo]:
    """Return the ports that a headset may be on, the likeliest first."""
    likely = [port for port in ports if classify(port)[0]]
    return sorted(likely, key=lambda port: classify(port)[0], reverse=True)


def again(known: ListPortInfo, ports: Iterable[ListPortInfo]) -> ListPortInfo | None:
    """Find a known port by its name, its place on the USB, its serial number, or as the only one with its chip."""
    same_chip = [port for port in ports if (port.vid, port.pid) == (known.vid, known.pid)]
    is_usb = known.vid is not None
    for mark in ("device", "location", "serial_number") if is_usb else ("device",):
        for port in same_chip:
            if getattr(known, mark) and getattr(port, mark) == getattr(known, mark):
                return port
    return same_chip[0] if is_usb and len(same_chip) == 1 else None

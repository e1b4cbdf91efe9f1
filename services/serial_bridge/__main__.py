"""serial-bridge: the commands."""

import csv
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing

from neuroone.contract.errors import SettingsError
from neuroone.contract.json import encode
from neuroone.service import extras, lifecycle, wearers
from neuroone.service.lifecycle import Command, Stop
from neuroone.service.pseudonyms import NotListed, Pseudonyms
from neuroone.service.wearers import AUTO

with extras.needed("serial-bridge"):
    from serial.tools.list_ports import comports

    from serial_bridge.captures import decode
    from serial_bridge.headsets import HEADSETS
    from serial_bridge.ports import ble, detect, sources
    from serial_bridge.ports.port import PortFault
    from serial_bridge.ports.serve_simulated import Line, open_line, serve
    from serial_bridge.ports.simulated import SimulatedHeadset
    from serial_bridge.record_command import record
    from serial_bridge.service import Service
    from serial_bridge.settings import (
        DecodeSettings,
        PortsSettings,
        RecordSettings,
        ReplaySettings,
        RunSettings,
        SimulateSettings,
        StreamSettings,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return lifecycle.main(
        "serial-bridge",
        {
            "run": Command(
                RunSettings, run, "read headsets and publish their data, until stopped", record="serial_bridge"
            ),
            "ports": Command(
                PortsSettings,
                list_ports,
                "list the serial ports and Bluetooth LE devices, and what they probably are",
            ),
            "decode": Command(DecodeSettings, print_capture, "print the contents of a capture"),
            "record": Command(RecordSettings, record, "write headsets' bytes and their times into captures"),
            "replay": Command(ReplaySettings, replay, "publish a capture as if a headset sent it, then exit"),
            "simulate": Command(SimulateSettings, simulate, "simulate headsets, on pseudo-terminals or TCP ports"),
        },
        argv,
    )


def run(settings: RunSettings, stop: Stop) -> int:
    """Read every port until the program is stopped."""
    named = [port for port in settings.port if port != AUTO]
    _check_wearers(settings, settings.port)
    ble.check(settings.port)
    found = [
        sources.open_source(port, settings.baud, settings.seed + n, settings.scenario) for n, port in enumerate(named)
    ]
    names = _names(settings, settings.name)
    _hide_captures(settings, found)
    owners, searched = wearers.owners(settings.port, names, settings.code, settings.sim_name)
    return Service(settings, found, owners, stop, searched if AUTO in settings.port else None).run()


def replay(settings: ReplaySettings, stop: Stop) -> int:
    """Replay a capture; returns 0 once the broker has all of it."""
    ports = [str(settings.file.absolute())]  # a capture named "auto" is no search
    _check_wearers(settings, ports)
    source = sources.capture_source(settings.file, settings.speed, settings.loop)
    names = _names(settings, settings.name or (settings.file.stem,))
    _hide_captures(settings, [source])
    owners, _ = wearers.owners(ports, names, settings.code)
    return Service(settings, [source], owners, stop).run(ends=True)


def _names(settings: StreamSettings, names: Sequence[str]) -> Sequence[str]:
    """Return what those who wear headsets are called: by --pseudonyms if it is given. Raises SettingsError."""
    if settings.pseudonyms is None:
        return names
    pseudonyms = Pseudonyms(settings.pseudonyms)
    pseudonyms.open()
    found, faults = [], []
    for number, name in enumerate(names, 1):
        try:
            found.append(str(pseudonyms.of(name)))
        except NotListed:
            faults.append(f"--name: name {number} is not in the file of --pseudonyms")
    if faults:
        raise SettingsError(faults)
    return found


def _hide_captures(settings: StreamSettings, found: Sequence[sources.PortSource]) -> None:
    """Keep the names of captures out of topics and states if there are pseudonyms: people name them after a student."""
    for number, source in enumerate(found, 1):
        if settings.pseudonyms is not None and source.can_wait:
            source.device, source.source_id = "capture", f"capture-{number}"


def _check_wearers(settings: StreamSettings, ports: Sequence[str]) -> None:
    """Raise SettingsError where it is not clear whose headset is on which port."""
    faults = wearers.faults(ports, settings.name, settings.code)
    if len(settings.source) > len(ports) and AUTO not in ports:
        faults.append(f"--source: is given {len(settings.source)} times for {len(ports)} --port")
    if faults:
        raise SettingsError(faults)


def list_ports(settings: PortsSettings, stop: Stop) -> int:
    """Print the serial ports and what is in reach over Bluetooth LE, the likeliest first."""
    rows = [
        {
            "port": port.device,
            "vid_pid": "-" if port.vid is None else f"{port.vid:04x}:{port.pid or 0:04x}",
            "description": port.description or "",
            "location": port.location or "-",
            "looks_like": detect.classify(port)[1],
        }
        for port in sorted(comports(), key=lambda port: detect.classify(port)[0], reverse=True)
    ]
    rows += _ble_rows()
    if settings.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    elif rows:
        table = [list(rows[0]), *(list(row.values()) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    else:
        print("There is no serial port: plug the headset's adapter in, or pair the headset.")
    return lifecycle.OK


def _ble_rows() -> list[dict[str, str]]:
    """Return the rows of devices in reach that have a name or look like a headset; say what is missing."""
    found: list[ble.InReach] = []
    try:
        if ble.is_installed():
            found = ble.in_reach()
        else:
            print(ble.NOT_INSTALLED, file=sys.stderr)
    except PortFault as fault:
        print(fault, file=sys.stderr)
    return [
        {
            "port": f"ble:{each.address}",
            "vid_pid": "-",
            "description": each.name,
            "location": f"{each.rssi_dbm} dBm",
            "looks_like": each.looks_like,
        }
        for each in found
        if each.name or each.rank
    ]


def print_capture(settings: DecodeSettings, stop: Stop) -> int:
    """Print a capture's rows, its messages or its sums."""
    decoder = HEADSETS[settings.headset]()
    if settings.messages:
        sys.stdout.writelines(f"{encode(each).decode()}\n" for each in decode.messages(decoder, settings.file))
        return lifecycle.OK
    found = decode.events(decoder, settings.file)
    if settings.summary:
        print(json.dumps(decode.summary(found, decoder)))
    elif settings.csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows(decode.csv_rows(found))
    else:
        sys.stdout.writelines(json.dumps(row) + "\n" for row in decode.json_rows(found))
    return lifecycle.OK


def simulate(settings: SimulateSettings, stop: Stop) -> int:
    """Simulate headsets until stopped; prints the port of each, one a line."""
    headsets: list[tuple[SimulatedHeadset, Line]] = []
    with ExitStack() as lines:
        for n in range(settings.headsets):
            try:
                line = lines.enter_context(closing(open_line(settings, n)))
            except OSError as error:
                raise SettingsError([f"headset {n + 1} has no port: {error.strerror or error}"]) from None
            headsets.append(
                (SimulatedHeadset(settings.seed + n, settings.mode, settings.damage, settings.scenario), line)
            )
        for _, line in headsets:
            print(line.device, flush=True)
        serve(headsets, stop)
    return lifecycle.OK


if __name__ == "__main__":
    sys.exit(main())

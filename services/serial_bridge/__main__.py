"""serial-bridge: from headsets to the broker. This module only wires."""

import csv
import json
import sys
import time
from collections.abc import Sequence

from neuroone.contract.errors import SettingsError
from neuroone.service import lifecycle
from neuroone.service.lifecycle import Command, Stop
from serial_bridge.captures import files
from serial_bridge.captures import print as printing
from serial_bridge.captures import record as recording
from serial_bridge.headset import Environment
from serial_bridge.headsets import HEADSETS
from serial_bridge.ports import detect, serve_simulated, sources
from serial_bridge.ports.simulated import SimulatedHeadset
from serial_bridge.service import AUTO, Service
from serial_bridge.settings import (
    DecodeSettings,
    PortsSettings,
    RecordSettings,
    ReplaySettings,
    RunSettings,
    SimulateSettings,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return lifecycle.main(
        "serial-bridge",
        {
            "run": Command(RunSettings, run, "read headsets and publish what they say, until stopped"),
            "ports": Command(PortsSettings, list_ports, "list the serial ports and what they look like"),
            "decode": Command(DecodeSettings, print_capture, "print what a capture holds"),
            "record": Command(RecordSettings, record, "write a headset's bytes and their times into a capture"),
            "replay": Command(ReplaySettings, replay, "play a capture as if a headset sent it, then exit"),
            "simulate": Command(SimulateSettings, serve_simulation, "be headsets, on pseudo-terminals or TCP ports"),
        },
        argv,
    )


def run(settings: RunSettings, stop: Stop) -> int:
    """Read every port until the program is stopped."""
    named = [port for port in settings.port if port != AUTO]
    found = [sources.open_source(port, settings.baud, settings.seed + n) for n, port in enumerate(named)]
    service = Service(
        settings, found, settings.name, stop, headset_id=settings.headset_id, asks_raw=settings.raw, baud=settings.baud
    )
    return service.run(searches=AUTO in settings.port)


def replay(settings: ReplaySettings, stop: Stop) -> int:
    """Play a capture; 0 when all of it is with the broker."""
    source = sources.capture(settings.file, settings.speed, settings.loop)
    return Service(settings, [source], settings.name or (settings.file.stem,), stop).run(ends=True)


def list_ports(settings: PortsSettings, stop: Stop) -> int:
    """Print the serial ports, the likeliest first."""
    ports = sorted(detect.present(), key=detect.rank, reverse=True)
    rows = [
        {
            "port": port.device,
            "vid_pid": port.chip_id,
            "description": port.description,
            "location": port.location or "-",
            "looks_like": detect.looks_like(port),
        }
        for port in ports
    ]
    if settings.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    elif rows:
        widths = {
            column: max(len(row[column]) for row in [*rows, dict.fromkeys(row, column)])
            for row in rows
            for column in row
        }
        for row in [{column: column for column in rows[0]}, *rows]:
            print("  ".join(row[column].ljust(widths[column]) for column in row).rstrip())
    else:
        print("There is no serial port: plug the headset's adapter in, or pair the headset.")
    return lifecycle.OK


def print_capture(settings: DecodeSettings, stop: Stop) -> int:
    """Print a capture's rows or its sums."""
    new_decoder, stream = HEADSETS[settings.headset], files.content(settings.file)
    if settings.summary:
        print(json.dumps(printing.summary(new_decoder, stream)))
        return lifecycle.OK
    found = printing.events(new_decoder(), stream)
    if settings.csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows(printing.csv_rows(found))
    else:
        sys.stdout.writelines(json.dumps(row) + "\n" for row in printing.json_rows(found))
    return lifecycle.OK


def record(settings: RecordSettings, stop: Stop) -> int:
    """Write a capture until stopped."""
    try:
        file = settings.file.open("x", encoding="ascii", newline="\n")
    except OSError as error:
        raise SettingsError([f"FILE: {settings.file} cannot be written: {error.strerror}"]) from None
    source = sources.open_source(settings.port, settings.baud, seed=1)
    with file:
        recording.record(
            source,
            files.CaptureWriter(file, settings.headset),
            HEADSETS[settings.headset],
            Environment(time.monotonic),
            sleep=time.sleep,
            is_stopped=stop.is_set,
            seconds=settings.seconds,
        )
    return lifecycle.OK


def serve_simulation(settings: SimulateSettings, stop: Stop) -> int:
    """Be headsets until stopped; prints where they are, one a line."""
    plugged: list[tuple[SimulatedHeadset, serve_simulated.Line]] = []
    try:
        for n in range(settings.headsets):
            headset = SimulatedHeadset(settings.seed + n, settings.mode, settings.damage)
            plugged.append((headset, serve_simulated.line(n, settings.headsets, settings.tcp, settings.link)))
    except OSError as error:
        raise SettingsError([f"no place for headset {len(plugged) + 1}: {error.strerror or error}"]) from None
    for _, each in plugged:
        print(each.device, flush=True)
    try:
        serve_simulated.serve(plugged, stop.is_set, time.monotonic, time.sleep)
    finally:
        for _, each in plugged:
            each.close()
    return lifecycle.OK


if __name__ == "__main__":
    sys.exit(main())

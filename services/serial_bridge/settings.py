"""The settings of each command of serial-bridge."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from neuroone.service.logs import LEVELS
from neuroone.service.settings import (
    BusSettings,
    decimal,
    metrics_port_of,
    one_of,
    port_number,
    setting,
    switch,
    topic_id,
    whole,
)
from neuroone.service.wearers import typed
from serial_bridge.captures.files import EXAMPLE, SUFFIX, is_file
from serial_bridge.headsets import HEADSETS
from serial_bridge.ports.scenarios import EVERYDAY, SCENARIOS
from serial_bridge.ports.simulated import Damage, SimulatedHeadset

PORT_HELP = (
    "Where a headset is: {}sim, a serial port, ble, ble:NAME or ble:ADDRESS (Bluetooth LE), socket://host:port, "
    "rfc2217://host:port, a capture file or a named pipe"
)
RAW_HELP = "Switch TGAM modules that start at 9600 baud without raw samples to 57600 baud with them."
RAW_VARIABLE: Final = "BRIDGE_RAW"
"""Not NEUROONE_RAW: that is the recorder's, which may share the variables of all services."""
HEADSET_ID_HELP = "Id of the only headset that a dongle may connect to, four hexadecimal digits. Default: any."
HEADSET_HELP = f"Type of the headsets: {', '.join(HEADSETS)}."


def capture_file(value: str) -> Path:
    """Parse the name of a capture to read; ``example`` is the one that is shipped."""
    path = EXAMPLE if value == "example" else Path(value)
    if not is_file(path):
        raise ValueError("must be a capture file that exists, or: example")
    return path


def directory(value: str) -> Path:
    """Parse the name of a directory to write into."""
    with suppress(OSError):
        if Path(value).is_dir() and os.access(value, os.W_OK):
            return Path(value)
    raise ValueError("must be a directory that exists and can be written")


def dongle_id(value: str) -> bytes:
    """Parse a headset's id."""
    with suppress(ValueError):
        if len(parsed := bytes.fromhex(value)) == 2:
            return parsed
    raise ValueError("must be four hexadecimal digits, as printed in the headset's battery bay")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings(BusSettings):
    """The settings of all commands that publish."""

    source: tuple[str, ...] = setting(
        (), topic_id, "Id of the headset in topics; once for each --port. Default: made from the port.", many=True
    )
    name: tuple[str, ...] = setting(
        (),
        typed,
        "Name of the person who wears the headset; once for each --port. With a name it is recorded like a student.",
        many=True,
    )
    code: tuple[str, ...] = setting(
        (), typed, "Class or session code: one for all headsets, or one for each --port.", many=True
    )
    pseudonyms: Path | None = setting(
        None,
        Path,
        "CSV file of name;pseudonym: every --name is called so everywhere, and has to be in it. Default: none.",
        metavar="FILE",
    )
    headset: str = setting("thinkgear", one_of(*HEADSETS), HEADSET_HELP)
    tgc: int | None = setting(
        None, port_number, "Port for programs made for ThinkGear Connector, usually 13854. Default: off."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings(StreamSettings):
    """The settings of serial-bridge run."""

    metrics_port: int = metrics_port_of("BRIDGE_METRICS_PORT")
    metrics_host: str = setting("127.0.0.1", str, "Address that the port of /metrics listens on.")
    lsl: bool = setting(
        False, switch, "Also send the headsets' samples and readings into the Lab Streaming Layer, straight from here."
    )
    port: tuple[str, ...] = setting(
        ("auto",), str, f"{PORT_HELP.format('auto, ')}; may be given several times.", many=True
    )
    baud: int | None = setting(
        None, whole(1200, 921600), "Speed of the serial ports, in baud. Default: 57600, 115200 and 9600 are tried."
    )
    raw: bool = setting(False, switch, RAW_HELP, variable=RAW_VARIABLE)
    headset_id: bytes = setting(b"", dongle_id, HEADSET_ID_HELP)
    seed: int = setting(1, whole(0, 2**32), "Seed of the simulated headset (--port sim).")
    scenario: str = setting(EVERYDAY, one_of(*SCENARIOS), f"What the simulated headset shows: {', '.join(SCENARIOS)}.")
    sim_name: str | None = setting(
        None, typed, "Name of simulated headsets where no --name is given; further ones have it with a number."
    )
    record: Path | None = setting(
        None, directory, f"Directory to record what arrives into, too: a capture (*{SUFFIX}) for each headset."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings(StreamSettings):
    """The settings of serial-bridge replay."""

    baud, raw, headset_id, record, metrics_port, lsl = None, False, b"", None, 0, False  # a capture has no such options
    file: Path = setting(..., capture_file, "The capture to replay, or: example.", positional=True, metavar="FILE")
    speed: float = setting(1.0, decimal(0.001, 1e6), "How many times faster than it was recorded.")
    loop: bool = setting(False, switch, "Begin again when it ends.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSettings:
    """The settings of serial-bridge decode."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    file: Path = setting(..., capture_file, "The capture to decode, or: example.", positional=True, metavar="FILE")
    summary: bool = setting(False, switch, "Print one JSON object with counts and sums.")
    json: bool = setting(False, switch, "Print the rows, one JSON object a line. This is the default.")
    csv: bool = setting(False, switch, "Print the rows as a table of frame, quantity and value.")
    messages: bool = setting(
        False,
        switch,
        "Print the messages that a bridge publishes of it, one JSON object a line; times count from 1970-01-01.",
    )
    headset: str = setting("thinkgear", one_of(*HEADSETS), HEADSET_HELP, variable="HEADSET")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """The settings of serial-bridge record."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    file: Path = setting(
        ..., Path, f"The capture to write, usually *{SUFFIX}; must not exist.", positional=True, metavar="FILE"
    )
    port: tuple[str, ...] = setting(
        ("auto",),
        str,
        f"{PORT_HELP.format('auto, ')}; may be given several times: further captures have a number, FILE-2.",
        many=True,
        variable="PORT",
    )
    baud: int | None = setting(
        None,
        whole(1200, 921600),
        "Speed of the serial port, in baud. Default: 57600, 115200 and 9600 are tried.",
        variable="BAUD",
    )
    raw: bool = setting(False, switch, RAW_HELP, variable=RAW_VARIABLE)
    headset_id: bytes = setting(b"", dongle_id, HEADSET_ID_HELP, variable="HEADSET_ID")
    seconds: float | None = setting(None, decimal(0.1, 1e7), "How long to record, in s. Default: until stopped.")
    headset: str = setting("thinkgear", one_of(*HEADSETS), HEADSET_HELP, variable="HEADSET")
    log_level: str = setting("info", one_of(*LEVELS), f"One of {', '.join(LEVELS)}.", variable="LOG_LEVEL")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateSettings:
    """The settings of serial-bridge simulate."""

    headsets: int = setting(1, whole(1, 500), "How many headsets.")
    mode: str = setting(
        "headset",
        one_of(*SimulatedHeadset.MODES),
        "headset: 57600 baud with raw samples. normal: a TGAM module at 9600 baud, without them. dongle: 115200 baud.",
    )
    tcp: int | None = setting(
        None, port_number, "TCP port of the first headset, the next ones follow. Default: pseudo-terminals."
    )
    link: Path | None = setting(
        None, Path, "Name for the pseudo-terminal, a symbolic link; with several headsets a number is appended."
    )
    damage: Damage = setting(
        Damage(), Damage.parse, "Damage on the line, like drop=0.01,flip=0.01 (shares of the bytes)."
    )
    seed: int = setting(1, whole(0, 2**32), "Seed of the first headset, the next ones follow.")
    scenario: str = setting(EVERYDAY, one_of(*SCENARIOS), f"What the headsets show: {', '.join(SCENARIOS)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortsSettings:
    """The settings of serial-bridge ports."""

    json: bool = setting(False, switch, "Print one JSON object a line.")

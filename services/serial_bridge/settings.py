"""The settings of each command of serial-bridge."""

from dataclasses import dataclass
from pathlib import Path

from neuroone.contract.messages import NAME_MAX_CHARS
from neuroone.runtime.settings import BusSettings, decimal, one_of, setting, switch, text, topic_id, whole
from serial_bridge.captures import EXAMPLE
from serial_bridge.headsets import HEADSETS


def typed(value: str) -> str:
    """The parser of names and codes: what a person types."""
    if not 1 <= len(value.strip()) <= NAME_MAX_CHARS:
        raise ValueError(f"must have 1 to {NAME_MAX_CHARS} characters")
    return value.strip()


def capture_file(value: str) -> Path:
    """The parser of captures to read; ``example`` is the one that is shipped."""
    path = EXAMPLE if value == "example" else Path(value)
    if not path.is_file():
        raise ValueError("must be a capture file that exists, or: example")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings(BusSettings):
    """What the commands that publish have in common."""

    source: tuple[str, ...] = setting(
        (), topic_id, "Id of the headset in topics; once for each --port. Default: made from the port.", many=True
    )
    name: tuple[str, ...] = setting(
        (),
        typed,
        "Name of who wears the headset; once for each --port. With a name it is recorded and shown like a student.",
        many=True,
    )
    code: str | None = setting(None, typed, "Class or session code of the headsets.")
    headset: str = setting("thinkgear", one_of(*HEADSETS), f"Type of the headsets: {', '.join(HEADSETS)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings(StreamSettings):
    """serial-bridge run."""

    port: tuple[str, ...] = setting(
        ("auto",),
        text,
        "Where a headset is: auto, sim, a serial port, socket://host:port, rfc2217://host:port, a capture file or a "
        "named pipe; may be given several times.",
        many=True,
    )
    baud: int | None = setting(
        None, whole(1200, 921600), "Speed of the serial ports, in baud. Default: 57600, 115200 and 9600 are tried."
    )
    seed: int = setting(1, whole(0, 2**32), "Seed of the simulated headset (--port sim).")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings(StreamSettings):
    """serial-bridge replay."""

    file: Path = setting(..., capture_file, "The capture to play, or: example.", positional=True, metavar="FILE")
    speed: float = setting(1.0, decimal(0.001, 1e6), "How many times faster than it was.")
    loop: bool = setting(False, switch, "Begin again when it ends.")

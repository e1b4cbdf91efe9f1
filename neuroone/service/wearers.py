"""Who wears which headset: the names and codes that are given beside the ports of headsets, in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from neuroone.contract.messages import NAME_MAX_CHARS

AUTO: Final = "auto"
"""The port, and the source id, of a search for headsets."""
SIMULATED: Final = "sim"
"""The port of a simulated headset."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The person who wears the headset, as typed."""

    name: str | None = None
    code: str | None = None


def typed(value: str) -> str:
    """Parse a name or code that a person types."""
    if value.encode(errors="ignore").decode() != value:  # typed in a terminal of another encoding
        raise ValueError("must be Unicode text")
    if not 1 <= len(value.strip()) <= NAME_MAX_CHARS:
        raise ValueError(f"must have 1 to {NAME_MAX_CHARS} characters")
    return value.strip()


def faults(ports: Sequence[str], names: Sequence[str], codes: Sequence[str]) -> list[str]:
    """Tell why it is not clear whose headset is on which port; nothing if it is.

    Names are given for no port or for each, ``auto`` takes any more of them. One code is for all headsets.
    """
    found = []
    if names and (len(names) < len(ports) or (len(names) > len(ports) and AUTO not in ports)):
        found.append(
            f"--name: is given {len(names)} times for {len(ports)} --port: give one for each, in the same order"
        )
    if len(codes) not in (0, 1, len(ports)):
        found.append(
            f"--code: is given {len(codes)} times for {len(ports)} --port: give one for all, or one for each, "
            "in the same order"
        )
    return found


def owners(
    ports: Sequence[str], names: Sequence[str], codes: Sequence[str], sim_name: str | None = None
) -> tuple[list[Owner], list[Owner]]:
    """Return the owners of the ports that are named, and those of headsets that a search finds, in order.

    The last one of a search is without a name, for all further headsets. Where no names are given, simulated headsets
    have ``sim_name``, from the second one on with a number.
    """
    named_so_far = [ports[: n + 1].count(SIMULATED) for n in range(len(ports))]
    demo = [f"{sim_name} {n}" if n > 1 else sim_name for n in named_so_far]
    unnamed = [name if port == SIMULATED else None for port, name in zip(ports, demo, strict=True)]
    given: Sequence[str | None] = names or unnamed
    codes = list(codes) * len(ports) if len(codes) == 1 else list(codes)
    pairs = [(port, Owner(given[n], codes[n] if codes else None)) for n, port in enumerate(ports)]
    named = [owner for port, owner in pairs if port != AUTO]
    searched = [owner for port, owner in pairs if port == AUTO and owner.name is not None]
    code = next((owner.code for port, owner in pairs if port == AUTO), None)
    searched += [Owner(name, code) for name in names[len(ports) :]]
    return named, [*searched, Owner(None, code)]

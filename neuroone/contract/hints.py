"""What to do about a link: hints.en.json and hints.pt-BR.json are the only places where these sentences are written.

The bridge publishes the English text as ``hint`` of a stream's state. The monitor shows it in the language of its
window. The teacher's page has the general texts in its JSON files; a test holds them equal to these.
"""

from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Final

from msgspec.json import decode

from neuroone.contract.messages import Link, StreamState


class Hint(StrEnum):
    """What the bridge publishes where it knows more than the link, which stands before the dot."""

    NO_PORT_FOUND = "no_port.none_found"
    NO_ANSWER = "no_port.no_answer"
    NO_SERVER = "no_port.no_server"
    NO_SUCH_PORT = "no_port.no_such_port"
    NO_SUCH_PORT_USB = "no_port.no_such_port_usb"
    PORT_LOST = "unplugged.port_lost"
    PORT_LOST_USB = "unplugged.port_lost_usb"


TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    language: decode(files(__package__).joinpath(f"hints.{language}.json").read_bytes()) for language in ("en", "pt-BR")
}
"""By language: a text for each `Hint`, and a general one for each `Link`. A link that ended in order needs none."""


def text(hint: Link | Hint, device: str | None = None, language: str = "en") -> str:
    """Return the sentence about a port, file or address; Portuguese if the language's code begins with ``pt``."""
    return TEXTS["pt-BR" if language.startswith("pt") else "en"][hint].format(device=device or "")


def of_state(state: StreamState, language: str) -> str | None:
    """Return a state's hint in a language; None if it has none.

    A specific hint is recognized by its English text. A text of another version is replaced by the general one of its
    link, or shown as it is where the link has none.
    """
    if state.hint is None:
        return None
    for hint in Hint:
        if hint.startswith(f"{state.link}.") and state.hint == text(hint, state.device):
            return text(hint, state.device, language)
    return text(state.link, state.device, language) if state.link in TEXTS["en"] else state.hint

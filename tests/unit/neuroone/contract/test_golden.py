"""The contract as bytes: what third parties parse does not change by accident."""

from pathlib import Path

import pytest

from neuroone.contract import topics
from neuroone.contract.json import decode, encode
from tests.support.messages import GOLDEN

FOLDER = Path(__file__).parents[3] / "golden"


@pytest.mark.parametrize("name", GOLDEN)
def test_a_message_is_spelled_as_its_golden_file(name: str) -> None:
    """Encoding gives the file's bytes, and the file decodes to the message."""
    payload = (FOLDER / f"{name}.json").read_bytes().removesuffix(b"\n")
    assert encode(GOLDEN[name]) == payload
    assert decode(type(GOLDEN[name]), payload) == GOLDEN[name]


def test_every_message_has_a_golden_file() -> None:
    """A new message needs one."""
    assert {type(message) for message in GOLDEN.values()} == {rule.message for rule in topics.TOPICS}

"""The example of settings for docker compose agrees with compose.yaml."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_variable_of_compose_is_in_the_example_with_its_default() -> None:
    """What an operator can set is listed, and the listed value is what holds without it."""
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    asked = dict(re.findall(r"\$\{(NEUROONE_\w+):-([^}]*)\}", compose))
    assert asked == dict(re.findall(r"^(NEUROONE_\w+)=(.*)$", example, re.MULTILINE))

"""What teachers and technicians read exists in English and Portuguese, section by section."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORTUGUESE = ".pt-BR.md"
PAIRS = {str(path.relative_to(ROOT)).removesuffix(PORTUGUESE) for path in ROOT.glob(f"docs/**/*{PORTUGUESE}")}
REQUIRED = {"README", "docs/doubts", "docs/monitor", "docs/page", "docs/recordings", "docs/reports"} | {
    str(path.relative_to(ROOT)).removesuffix(".md")
    for path in ROOT.glob("docs/how-to/*.md")
    if not path.name.endswith(PORTUGUESE)
}


@dataclass
class Section:
    """A heading with its level, and the commands in the code blocks below it."""

    level: int
    title: str
    commands: list[str] = field(default_factory=list)


def sections(text: str) -> Iterator[Section]:
    """Yield the sections of a document in Markdown."""
    section, language = Section(0, "(before the first heading)"), None
    for line in text.splitlines():
        fence = re.match(r"\s*```(\w*)", line)
        if fence:
            language = fence[1] if language is None else None
            if language is not None:
                section.commands.append(f"block: {language}")
        elif language in {"sh", "python", "csv", "json"}:
            section.commands.append(line)
        elif language == "console" and line.startswith("$ "):
            section.commands.append(line)
        elif language is None and (heading := re.match(r"(#+) (.*)", line)):
            yield section
            section = Section(len(heading[1]), heading[2])
    yield section


def difference(english: str, portuguese: str) -> str | None:
    """Name the first section that differs; None if there is none."""
    for one, other in zip_longest(sections(english), sections(portuguese)):
        if one is None or other is None:
            side, section = ("English", other) if one is None else ("Portuguese", one)
            return f"the {side} side lacks {section.title!r}"
        if one.level != other.level:
            return f"{one.title!r} has level {one.level}, {other.title!r} has level {other.level}"
        if one.commands != other.commands:
            return f"{one.title!r} and {other.title!r} have other code blocks: {one.commands} and {other.commands}"
    return None


@pytest.mark.parametrize("name", sorted(PAIRS | REQUIRED))
def test_both_languages_have_the_same_sections_and_commands(name: str) -> None:
    english, portuguese = ROOT / f"{name}.md", ROOT / f"{name}{PORTUGUESE}"
    assert english.exists()
    assert portuguese.exists()
    assert difference(english.read_text(encoding="utf-8"), portuguese.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize(
    ("portuguese", "named"),
    [
        ("# Um\n## Dois\n```sh\nls\n```\n", None),
        ("# Um\n", "'Two'"),
        ("# Um\n### Dois\n```sh\nls\n```\n", "'Dois' has level 3"),
        ("# Um\n## Dois\n```sh\nls -l\n```\n", "'Dois'"),
        ("# Um\n## Dois\n```sh\nls\n```\n## Três\n", "the English side lacks 'Três'"),
    ],
)
def test_a_difference_is_named(portuguese: str, named: str | None) -> None:
    found = difference("# One\n## Two\n```sh\nls\n```\n", portuguese)
    assert found is None if named is None else named in (found or "")

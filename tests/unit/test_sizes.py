"""Tests of the check that measures the product's Python."""

import ast
from pathlib import Path

import pytest

import sizes
from sizes import Size, attributes, measure, measure_product, offences

LONG_FUNCTION = "def walk():\n" + "    pass\n" * 60
CLASS_OF_16 = "class Door:\n" + "".join(f"    part_{n}: int\n" for n in range(16))


def figures(source: str) -> dict[str, int]:
    return {size.place: size.figure for size in measure("a.py", source)}


def test_a_module_is_measured_in_lines() -> None:
    assert figures("import os\n\nX = 1\n") == {"a.py": 3}


def test_a_function_is_measured_from_its_def_to_its_end() -> None:
    source = "@cached\ndef first():\n    pass\n\n\nasync def second(\n    of: int,\n) -> None:\n    return of\n"
    assert figures(source) == {"a.py": 9, "a.py::first": 2, "a.py::second": 4}


def test_inner_functions_and_methods_are_measured_under_their_full_name() -> None:
    source = "class Door:\n    def open(self):\n        def turn():\n            pass\n        turn()\n"
    assert set(figures(source)) == {"a.py", "a.py::Door", "a.py::Door.open", "a.py::Door.open.turn"}


def test_definitions_in_conditions_are_measured() -> None:
    assert "a.py::walk" in figures("if True:\n    def walk():\n        pass\n")


def test_attributes_are_declared_fields_and_what_methods_assign_to_self() -> None:
    source = """
class Door:
    LIMIT: Final = 3
    shared: ClassVar[int] = 0
    width: int
    height: int = 2
    color = "green"

    def __init__(self, other):
        self.width = 1
        self.lock, self.key = 1, 2
        self.count: int = 0
        other.name = "not ours"

    def open(self):
        self.count += 1
        self.hinge.angle = 90
        for self.step in range(3):
            print(self.seen)
"""
    module = ast.parse(source)
    assert isinstance(module.body[0], ast.ClassDef)
    assert attributes(module.body[0]) == {"width", "height", "lock", "key", "count", "step"}


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("X = 1\n" * 451, "a.py:1: 451 lines, at most 450"),
        ("\n" + LONG_FUNCTION, "a.py:2 walk: 61 lines, at most 60"),
        (CLASS_OF_16, "a.py:1 Door: 16 attributes, at most 15"),
    ],
)
def test_too_large_is_shown_with_place_and_figure(source: str, shown: str) -> None:
    assert offences(measure("a.py", source), {}) == [shown]


def test_a_size_at_its_limit_is_allowed() -> None:
    assert offences([Size("a.py", 1, 450, 450, "lines")], {}) == []


def test_an_exception_with_a_reason_allows_a_size() -> None:
    assert offences(measure("a.py", LONG_FUNCTION), {"a.py::walk": "a table that reads top to bottom"}) == []


def test_an_exception_without_a_reason_is_an_offence() -> None:
    assert offences(measure("a.py", LONG_FUNCTION), {"a.py::walk": ""}) == [
        "pyproject.toml: the exception 'a.py::walk' has no reason"
    ]


@pytest.mark.parametrize("place", ["a.py", "gone.py::walk"])
def test_an_exception_that_is_not_needed_is_an_offence(place: str) -> None:
    assert offences(measure("a.py", "X = 1\n"), {place: "was long once"}) == [
        f"pyproject.toml: the exception {place!r} is not needed"
    ]


def test_the_product_is_measured_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sizes, "TOTAL_LINES", 1_000)
    for file, lines in (("run.py", 100), ("neuroone/a.py", 500), ("services/one/b.py", 600), ("tests/c.py", 7)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("X = 1\n" * lines, encoding="utf-8")
    places = 'neuroone/a.py" = "a"\n"services/one/b.py" = "b"\n'
    (tmp_path / "pyproject.toml").write_text(f'[tool.neuroone.sizes]\n"{places}', encoding="utf-8")
    assert measure_product(tmp_path)[-1] == Size("total", 0, 1_200, 1_000, "lines")
    assert sizes.main(tmp_path) == 1
    assert capsys.readouterr().out == "total: 1200 lines, at most 1000\n"


def test_a_project_within_its_limits_passes_silently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.py").write_text("X = 1\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    assert sizes.main(tmp_path) == 0
    assert capsys.readouterr().out == ""

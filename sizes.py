"""Measure the product's Python against the size limits of this project.

``python3 run.py check`` runs it. It prints each module, function and class above its limit, with its place and its
size. An exception is a line under ``[tool.neuroone.sizes]`` in pyproject.toml: the place, and the reason. An exception
that is no longer needed is an offence too.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PRODUCT: Final = ("neuroone/**/*.py", "services/**/*.py", "run.py")
MODULE_LINES: Final = 450
"""Lines of a file: what a reader scrolls through without losing the beginning."""
FUNCTION_LINES: Final = 60
"""Lines from ``def`` to the end of the body: one screen."""
CLASS_ATTRIBUTES: Final = 15
"""Attributes of an object: more states than a reader holds in mind at once."""
TOTAL_LINES: Final = 49_400
"""Lines of the whole product: 18,000 as rebuilt in November 2026, and what its new commands, lessons and services need;
5,000 of them are the window that shows spectra, plays recordings and starts a system, and Bluetooth LE; 2,000 are
https, invitations and raw samples of students; 3,500 the doctor, backups and updates of an installation; 4,500 the
reader of recordings, the ways out to other programs, LSL among them, and what the law asks of a school; 2,400 are
districts: clusters, recorders that share the work, and schools behind one gateway, fair to each other."""
TOTAL: Final = "total"
"""The place of the whole product among the exceptions."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of one module, function or class, and its limit."""

    place: str
    line: int
    figure: int
    limit: int
    unit: str

    @property
    def is_too_large(self) -> bool:
        """Return True if the size is above its limit."""
        return self.figure > self.limit

    def __str__(self) -> str:
        path, _, name = self.place.partition("::")
        position = f"{path}:{self.line}" if self.line else path
        return f"{position}{' ' + name if name else ''}: {self.figure} {self.unit}, at most {self.limit}"


def main(root: Path) -> int:
    """Print what is wrong with the sizes of the project at ``root``; return the exit code."""
    with (root / "pyproject.toml").open("rb") as file:
        exceptions = tomllib.load(file).get("tool", {}).get("neuroone", {}).get("sizes", {})
    found = offences(measure_product(root), exceptions)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


def offences(sizes: list[Size], exceptions: Mapping[str, str]) -> list[str]:
    """List the sizes above their limit that have no exception, then the faults of the exceptions."""
    too_large = {size.place: size for size in sizes if size.is_too_large}
    return [
        *(str(size) for place, size in too_large.items() if place not in exceptions),
        *(f"pyproject.toml: the exception {place!r} has no reason" for place, why in exceptions.items() if not why),
        *(f"pyproject.toml: the exception {place!r} is not needed" for place in exceptions if place not in too_large),
    ]


def measure_product(root: Path) -> list[Size]:
    """Measure every file of the product, and the whole."""
    files = [file for pattern in PRODUCT for file in sorted(root.glob(pattern))]
    sizes = [
        size for file in files for size in measure(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8"))
    ]
    lines = sum(size.figure for size in sizes if "::" not in size.place)
    return [*sizes, Size(TOTAL, 0, lines, TOTAL_LINES, "lines")]


def measure(path: str, source: str) -> list[Size]:
    """Measure one module, its functions and its classes."""
    return [
        Size(path, 1, len(source.splitlines()), MODULE_LINES, "lines"),
        *_measure_body(path, "", ast.parse(source)),
    ]


def _measure_body(path: str, prefix: str, parent: ast.AST) -> Iterator[Size]:
    for node in ast.iter_child_nodes(parent):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _measure_body(path, prefix, node)
            continue
        name = prefix + node.name
        place = f"{path}::{name}"
        if isinstance(node, ast.ClassDef):
            yield Size(place, node.lineno, len(attributes(node)), CLASS_ATTRIBUTES, "attributes")
        else:
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Size(place, node.lineno, lines, FUNCTION_LINES, "lines")
        yield from _measure_body(path, name + ".", node)


def attributes(of: ast.ClassDef) -> set[str]:
    """Return the names of the fields that a class declares and of those that its methods assign to ``self``."""
    declared = {
        each.target.id
        for each in of.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not ast.unparse(each.annotation).startswith(("Final", "ClassVar"))
    }
    assigned = {
        each.attr
        for each in ast.walk(of)
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
    }
    return declared | assigned


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))

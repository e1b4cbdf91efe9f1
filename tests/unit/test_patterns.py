"""Tests of the regular expressions in the product's code."""

import ast
import importlib
from collections.abc import Iterator

import pytest

from tests.support.documents import ROOT

BROKEN = ("ATOMIC_GROUP", "POSSESSIVE_REPEAT")
"""What Python 3.11.0 to 3.11.4 matches wrongly (python/cpython issue 106052); Debian 12 has 3.11.2."""


def patterns(source: str) -> Iterator[str]:
    """Yield the pattern of each `re.compile`, with an x for what is put in when it runs."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "re.compile":
            yield pattern_of(call.args[0])


def pattern_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value.decode("latin-1") if isinstance(node.value, bytes) else str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(pattern_of, node.values))
    return pattern_of(node.left) if isinstance(node, ast.BinOp) else "x"


def is_broken(pattern: str) -> bool:
    parsed = repr(importlib.import_module("re._parser").parse(pattern))
    return any(name in parsed for name in BROKEN)


@pytest.mark.parametrize("pattern", ['"a++"', '"(?:ab)*+c"', 'b"(?>a|%b)" % other', 'f"(x(?:{y}?+))"'])
def test_a_broken_form_is_seen(pattern: str) -> None:
    assert is_broken(*patterns(f"re.compile({pattern})"))


def test_no_pattern_uses_what_some_pythons_match_wrongly() -> None:
    files = [each for room in ("neuroone", "services") for each in (ROOT / room).rglob("*.py")]
    found = [(file, pattern) for file in files for pattern in patterns(file.read_text("utf-8"))]
    assert len(found) > 20
    assert not [(str(file), pattern) for file, pattern in found if is_broken(pattern)]

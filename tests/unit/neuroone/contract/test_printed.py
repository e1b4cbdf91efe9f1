"""The printed contract agrees with the code."""

import ast
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from docs import print_contract
from neuroone.contract import errors

ROOT = Path(__file__).parents[4]
WHAT_TO_DO = "print it again: python3 run.py exec python -m docs.print_contract"


def test_contract_md_is_what_the_code_says() -> None:
    """Every topic, field, unit, range, QoS, retain and owner."""
    assert (ROOT / "docs" / "contract.md").read_text(encoding="utf-8") == print_contract.markdown(), WHAT_TO_DO


def test_asyncapi_is_what_the_code_says() -> None:
    """The document for programs too."""
    assert (ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8") == print_contract.asyncapi_text(), WHAT_TO_DO


DOCUMENT = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_golden_messages_meet_their_schema(name: str) -> None:
    """A third party that checks our messages by the schema finds them valid, and a broken one not."""
    schema = DOCUMENT["components"]["messages"][name]["payload"]
    golden = json.loads((ROOT / "tests" / "golden" / f"{name}.json").read_bytes())
    jsonschema.validate(golden, schema, jsonschema.Draft202012Validator)
    del golden[schema["required"][0]]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(golden, schema, jsonschema.Draft202012Validator)


def test_every_reference_leads_somewhere() -> None:
    """Channels, operations, parameters and messages refer to what is there."""

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [ref for value in node.values() for ref in references(value)]
        return [ref for value in node for ref in references(value)] if isinstance(node, list) else []

    for reference in references(DOCUMENT):
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_the_tree_of_errors_is_complete() -> None:
    """Every error that NeuroOne raises on purpose stands at the top of errors.py, below its base."""
    printed_tree = re.findall(r"[├└]── (\w+)", str(errors.__doc__))
    found = {"NeuroOneError"}
    sources = [path for room in ("neuroone", "services") for path in (ROOT / room).rglob("*.py")]
    classes = [
        (node.name, {base.id for base in node.bases if isinstance(base, ast.Name)})
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    while more := {name for name, bases in classes if bases & found} - found:
        found |= more
    assert sorted(printed_tree) == sorted(found - {"NeuroOneError"})

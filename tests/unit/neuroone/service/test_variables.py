"""Variables that look like a setting and are none."""

import dataclasses
import importlib
import inspect

import pytest

from neuroone.compose_settings import READ_BY_COMPOSE
from neuroone.service import settings
from neuroone.service.variables import ENV_PREFIX, KNOWN, sentences, unknown

MODULES = (
    "neuroone.forward.settings",
    *("serial_bridge.settings", "ws_gateway.settings", "csv_recorder.settings", "monitor_gui.settings"),
    "lsl_outlet.settings",
    *("neuroone.up.command", "neuroone.doctor.command", "neuroone.tokens", "neuroone.logins"),
    *("neuroone.compose_settings", "neuroone.service.settings"),
)
NO_SETTINGS = {"STOP_ON_EOF", "HTTPS_SUFFIX", "STREAM_BUFFER"}
OF_TESTS = {"CAPTURES", "CLOCK", "SHIM_GRAVES", "SHIM_LOG", "SHIM_ROOT", "SHIM_RULES", "TEST_DEBIAN", "TEST_PACKAGING"}


def test_every_setting_of_every_program_is_known() -> None:
    """A new setting is one more word in KNOWN."""
    found = set(READ_BY_COMPOSE)
    for module in map(importlib.import_module, MODULES):
        for each in vars(module).values():
            if inspect.isclass(each) and dataclasses.is_dataclass(each):
                declared = dataclasses.fields(each)
                if declared and all("setting" in field.metadata for field in declared):
                    found.update(settings.variables(each))
    assert {name.removeprefix(ENV_PREFIX) for name in found} == KNOWN - NO_SETTINGS - OF_TESTS


def test_no_variable_means_two_things() -> None:
    """NEUROONE_CSV=false is a switch, and made `report` write a file of that name; NEUROONE_RAW was two switches."""
    kinds: dict[str, set[bool]] = {}
    raw = set()
    for module in map(importlib.import_module, MODULES):
        for of in vars(module).values():
            if inspect.isclass(of) and dataclasses.is_dataclass(of):
                for field in dataclasses.fields(of):
                    keys = field.metadata.get("setting")
                    if keys is None or not (name := settings.variable_of(of, field)):
                        continue
                    kinds.setdefault(name, set()).add(keys["parse"] is settings.switch)
                    if name == "NEUROONE_RAW":
                        raw.add(keys["help"])
    assert not [name for name, of in kinds.items() if len(of) > 1]
    assert len(raw) == 1


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("NEUROONE_SIET", "NEUROONE_SITE"),
        ("NEUROONE_WSPORT", "NEUROONE_WS_PORT"),
        ("NEUROONE_ws_port", "NEUROONE_WS_PORT"),
        ("NEUROONE_TOKENFILE", "NEUROONE_TOKEN_FILE"),
        ("NEURONE_SITE", "NEUROONE_SITE"),
        ("NEURO_ONE_WS_PORT", "NEUROONE_WS_PORT"),
        ("neuroone_site", "NEUROONE_SITE"),
        ("NEUROONE_", ""),
        ("NEUROONE_QQQQQQ", ""),
    ],
)
def test_a_mistyped_name_is_found_with_the_nearest_setting(given: str, near: str) -> None:
    found = unknown({given: "x", "NEUROONE_SITE": "lab", "PATH": "/bin"})
    assert found == {given: near}
    [sentence] = sentences(found, "NeuroOne")
    assert sentence == f"{given} is no setting of NeuroOne and changes nothing" + (f": {near}?" if near else ".")


@pytest.mark.parametrize("given", ["NEURONHOME", "NEURON_HOME", "NODE_PORT", "NUMBER_OF_PROCESSORS", "N", "HOST", "_"])
def test_other_programs_variables_are_not_ours(given: str) -> None:
    assert unknown({given: "x"}) == {}

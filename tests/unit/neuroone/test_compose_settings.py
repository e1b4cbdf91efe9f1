"""`neuroone check-settings`, and that it knows the settings of compose.yaml."""

import logging
import os
import re
from pathlib import Path

import pytest
import yaml

from neuroone.__main__ import COMMANDS
from neuroone.compose_settings import READ_BY_COMPOSE, ComposeSettings, unknown
from neuroone.service import lifecycle
from neuroone.service.settings import variables

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def keep_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command configure a log of its own."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


def check(monkeypatch: pytest.MonkeyPatch, **given: str) -> int:
    for name in [name for name in os.environ if name.startswith("NEUROONE_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(f"NEUROONE_{name}", value)
    return lifecycle.main("neuroone", COMMANDS, ["check-settings"])


def test_the_example_is_in_order_and_complete(monkeypatch, capsys):
    example = dict(re.findall(r"^NEUROONE_(\w+)=(.*)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert check(monkeypatch, **example) == 0
    assert capsys.readouterr().err == ""
    assert {f"NEUROONE_{name}" for name in example} == {*variables(ComposeSettings), *READ_BY_COMPOSE}


def test_compose_gives_the_check_what_it_knows():
    service = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["check_settings"]
    assert sorted(service["environment"]) == sorted([*variables(ComposeSettings), "NEUROONE_STATUS_DIR=/status"])


def test_all_wrong_values_are_named_at_once_without_secrets(monkeypatch, capsys):
    wrong = {
        "SITE": "the school",
        "WS_PORT": "80800",
        "SITE_KEY": "secret!",
        "PUBLIC_URL": "school.example",
        "MQTT_ADDRESS": "everywhere",
        "DOMAIN": "https://school.example",
        "PORT": "ttyUSB0",
        "SERIAL_GROUP": "dialout",
        "LOG_LEVEL": "loud",
    }
    assert check(monkeypatch, **wrong) == 2
    said = capsys.readouterr().err.splitlines()
    assert sorted(re.findall(r"NEUROONE_\w+", "\n".join(said))) == sorted(f"NEUROONE_{name}" for name in wrong)
    assert "secret!" not in "".join(said)


@pytest.mark.parametrize("value", ["escola.local:8080", "a b", "http://a", "a/b", "user@a", "[", "a#b"])
def test_a_domain_is_a_name_or_an_address_alone(monkeypatch, value):
    assert check(monkeypatch, DOMAIN=value) == 2


@pytest.mark.parametrize(
    "value", ["escola.local", "192.168.1.10", "[fd00::10]", "localhost", "Escola", "xn--so-paulo-k0a.example"]
)
def test_a_name_or_an_address_is_a_domain(monkeypatch, value):
    assert check(monkeypatch, DOMAIN=value) == 0


def test_ports_that_are_the_same_are_named(monkeypatch, capsys):
    assert check(monkeypatch, HTTP_PORT="8080", MQTT_PORT="443") == 2
    said = capsys.readouterr().err
    assert "NEUROONE_WS_PORT, NEUROONE_HTTP_PORT: are all 8080" in said
    assert "NEUROONE_MQTT_PORT, NEUROONE_HTTPS_PORT: are all 443" in said


def test_the_district_is_given_with_this_schools_login_and_a_file_that_its_container_sees(monkeypatch, capsys):
    district = "mqtts://site-school-a:secret@district.example:8883"
    assert check(monkeypatch, SITE="school-a", DISTRICT=district, DISTRICT_CA="/deploy/ca.crt") == 0
    assert check(monkeypatch, SITE="school-b", DISTRICT=district) == 2
    assert check(monkeypatch, SITE="school-a", DISTRICT=district, DISTRICT_CA="/etc/ca.crt") == 2
    said = capsys.readouterr().err
    assert "is the login of school-a, and --site is school-b" in said
    assert "NEUROONE_DISTRICT_CA: must be /deploy/FILE" in said
    assert "secret" not in said


def test_unknown_names_are_warned_of_with_the_nearest_one(monkeypatch, capsys):
    """A mistake, and a setting of a service that compose.yaml does not pass on."""
    assert check(monkeypatch, SIET="lab", READING_RATE="9") == 0
    warnings = [line.partition("neuroone: ")[2] for line in capsys.readouterr().err.splitlines()]
    assert warnings == [
        "NEUROONE_READING_RATE is no setting of compose.yaml and changes nothing.",
        "NEUROONE_SIET is no setting of compose.yaml and changes nothing: NEUROONE_SITE?",
    ]
    assert unknown({"PATH": "/bin", "NEUROONE_SITE": "lab", "NEUROONE_TAG": "1"}) == {}

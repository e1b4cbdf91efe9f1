"""Settings from flags and environment."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from neuroone import __version__
from neuroone.contract.errors import SettingsError
from neuroone.service import settings
from neuroone.service.settings import BusSettings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(BusSettings):
    ws_port: int = setting(8080, settings.port_number, "Port.")
    rate_hz: float = setting(5.0, settings.decimal(0.1, 100), "Readings a second.")
    port: tuple[str, ...] = setting((), str, "Serial port.", many=True)
    gui: bool = setting(False, settings.switch, "Window.")
    file: Path | None = setting(None, Path, "A file.", positional=True)


def read(*argv: str, **environ: str) -> Example:
    return settings.read(Example, argv, environ, program="example")


def test_defaults_environment_and_flags_in_their_order() -> None:
    """A flag wins over the environment, which wins over the default; an empty variable counts as unset."""
    assert read().ws_port == 8080
    assert read(NEUROONE_WS_PORT="81").ws_port == 81
    assert read("--ws-port", "82", NEUROONE_WS_PORT="81").ws_port == 82
    assert read(NEUROONE_WS_PORT="").ws_port == 8080


def test_many_switches_and_positionals() -> None:
    """A repeated flag, a list in the environment, a switch both ways, a file without a flag."""
    assert read("--port", "a", "--port", "b").port == ("a", "b")
    assert read(NEUROONE_PORT="a,b").port == ("a", "b")
    assert read("--gui").gui
    assert not read("--no-gui", NEUROONE_GUI="true").gui
    assert read("x.bin").file == Path("x.bin")


def test_every_fault_is_reported_at_once_and_secrets_are_not() -> None:
    with pytest.raises(SettingsError) as caught:
        read("--ws-port", "x", "--broker", "http://me:secret@h", "--bogus", NEUROONE_RATE_HZ="nan", NEUROONE_SITE="a/b")
    assert sorted(caught.value.faults) == [
        "--bogus: no such option of example",
        "--broker: must be like mqtt://host:1883 or mqtts://user:password@host:8883",
        "--ws-port: must be a whole number from 1 to 65535, got 'x'",
        "NEUROONE_RATE_HZ: must be a number from 0.1 to 100, got 'nan'",
        "NEUROONE_SITE: must be an id: an id is 1 to 64 of the characters A-Z a-z 0-9 _ -, got 'a/b'",
    ]


def test_a_flag_without_its_value_is_a_fault_among_the_others() -> None:
    with pytest.raises(SettingsError) as caught:
        read("--ws-port", NEUROONE_RATE_HZ="x")
    assert caught.value.faults[0] == "--ws-port: needs a value"
    assert len(caught.value.faults) == 2


def test_a_mistyped_option_is_named_with_the_nearest_one_and_without_its_value() -> None:
    with pytest.raises(SettingsError) as caught:
        read("--prot", "--brokr=mqtt://me:secret@h", "--qqq")
    assert caught.value.faults == (
        "--prot: no such option of example; did you mean --port?",
        "--brokr: no such option of example; did you mean --broker?",
        "--qqq: no such option of example",
    )


def test_a_variable_may_have_a_name_of_its_own() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own:
        metrics_port: int = setting(0, settings.port_number, "Port.", variable="BRIDGE_METRICS_PORT")

    environ = {"NEUROONE_METRICS_PORT": "81", "NEUROONE_BRIDGE_METRICS_PORT": "82"}
    assert settings.read(Own, [], environ, program="own").metrics_port == 82
    assert settings.read(Own, ["--metrics-port", "83"], environ, program="own").metrics_port == 83
    assert settings.variables(Own) == ("NEUROONE_BRIDGE_METRICS_PORT",)


def test_brokers_are_tried_in_their_order_or_shuffled_on_request() -> None:
    urls = [f"mqtt://h{number}:1883" for number in range(9)]
    given = read("--broker", ",".join(urls))
    assert list(map(str, given.brokers(random.Random(1)))) == urls
    shuffled = read("--broker-shuffle", NEUROONE_BROKER=",".join(urls)).brokers(random.Random(1))
    assert shuffled == given.broker.shuffled(random.Random(1))
    assert str(read().brokers(random.Random(1))) == "mqtt://127.0.0.1:1883"


def test_the_variables_of_a_program() -> None:
    assert "NEUROONE_WS_PORT" in settings.variables(Example)


def test_help_has_units_defaults_and_variables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        read("--help")
    out = capsys.readouterr().out
    assert left.value.code == 0
    assert "Default: 8080." in out
    assert "[NEUROONE_WS_PORT]" in out


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    from_: str = setting("", str, "A word that Python has for itself.")
    paths: tuple[Path, ...] = setting((), Path, "Files.", positional=True, many=True)


def test_a_keyword_of_python_is_a_flag_and_positionals_may_be_many() -> None:
    """``from_`` is --from and NEUROONE_FROM; files are given without a flag, or in the environment."""
    given = settings.read(Span, ["a", "b", "--from", "x"], {"NEUROONE_PATHS": "c"}, program="example")
    assert given == Span(from_="x", paths=(Path("a"), Path("b")))
    environ = {"NEUROONE_FROM": "y", "NEUROONE_PATHS": "c,d"}
    assert settings.read(Span, [], environ, program="example") == Span(from_="y", paths=(Path("c"), Path("d")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroying:
    READS_ENVIRONMENT: ClassVar[bool] = False
    yes: bool = setting(False, settings.switch, "Do not ask.")


def test_what_destroys_data_is_set_by_flags_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help names no variables either."""
    assert not settings.read(Destroying, [], {"NEUROONE_YES": "1"}, program="example").yes
    assert settings.read(Destroying, ["--yes"], {}, program="example").yes
    assert settings.variables(Destroying) == ()
    with pytest.raises(SystemExit):
        settings.read(Destroying, ["--help"], {}, program="example")
    assert "NEUROONE_" not in capsys.readouterr().out


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    READS_ENVIRONMENT: ClassVar[bool] = False
    out: str = setting("", str, "Where to.")
    dir: str = setting("", str, "Of what.", variable="DIR")


def test_a_command_that_reads_no_environment_may_name_a_variable_that_means_the_same_everywhere() -> None:
    environ = {"NEUROONE_OUT": "a", "NEUROONE_DIR": "b"}
    assert settings.read(Reporting, [], environ, program="example") == Reporting(dir="b")


def test_every_command_says_the_version_of_its_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings.read(settings.SiteSettings, ["--site", "x", "--version"], {}, program="serial-bridge run")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"serial-bridge {__version__}\n"

"""Typed settings from flags and ``NEUROONE_`` environment variables. All faults are reported at once.

A program declares its settings as a frozen dataclass whose fields are made by :func:`setting`::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Settings(BusSettings):
        ws_port: int = setting(8080, port_number, "Port of the WebSocket server.")

``--ws-port 8081`` sets it, then ``NEUROONE_WS_PORT``, then the default. A class with ``READS_ENVIRONMENT = False`` is
set by its flags alone, but for a setting that names its ``variable``: what removes, replaces or reads data must not be
steered by what somebody exported long ago for another command. With the switch ``CHANGES_WITH`` of its class a command
that reads becomes one that changes data: no variable counts then.
"""

import argparse
import contextlib
import difflib
import platform
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from neuroone import __version__
from neuroone.contract.errors import BadTopic, SettingsError
from neuroone.contract.topics import check_id, id_from_text
from neuroone.mqtt.address import BrokerAddress, BrokerAddresses
from neuroone.mqtt.identity import Identity
from neuroone.service.logs import LEVELS
from neuroone.service.variables import ENV_PREFIX

KEEP_MAX_DAYS: Final = 36_500
"""The longest that recordings are kept: a hundred years."""

S = TypeVar("S")
N = TypeVar("N", int, float)


def setting(
    default: Any,
    parse: Callable[[str], Any],
    help: str,
    *,
    positional: bool = False,
    many: bool = False,
    secret: bool = False,
    metavar: str | None = None,
    variable: str | None = None,
) -> Any:
    """Declare a setting.

    Args:
        default: The value without flag and variable; ``...`` makes a positional setting required.
        parse: The parser of its text. Raises ValueError with a message for the user.
        help: The help text, with the unit.
        positional: Whether it is given without a flag.
        many: Whether it may be given any number of times; its value is a tuple. The variable separates by commas.
        secret: Whether its value is kept out of messages.
        metavar: The placeholder of its value in the help.
        variable: The name of its variable after ``NEUROONE_``. Default: made from that of the field, if the class
            reads the environment.
            An empty name: no variable sets it, since what changes a machine is asked for each time.
    """
    keys = {"parse": parse, "help": help, "positional": positional, "many": many}
    keys |= {"secret": secret, "metavar": metavar, "variable": variable}
    return field(default=default, metadata={"setting": keys})


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``low`` to ``high``."""
    return _number(int, low, high, f"must be a whole number from {low} to {high}")


def decimal(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of numbers from ``low`` to ``high``."""
    return _number(float, low, high, f"must be a number from {low:g} to {high:g}")


def _number(of: Callable[[str], N], low: N, high: N, fault: str) -> Callable[[str], N]:
    def parse(text: str) -> N:
        with contextlib.suppress(ValueError):
            if low <= (number := of(text)) <= high:
                return number
        raise ValueError(fault)

    return parse


port_number: Final = whole(1, 65535)


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that accepts one of ``choices``."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return parse


def switch(text: str) -> bool:
    """Parse a switch: ``--flag`` and ``--no-flag``, or true / false in the environment."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be true or false")


def topic_id(text: str) -> str:
    """Parse an id."""
    try:
        return check_id(text)
    except BadTopic as error:
        raise ValueError(f"must be an id: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """The settings of every program: its site, its instance, its log and its health file."""

    broker_ca: Path | None = setting(
        None, Path, "File with the certificate authorities to trust for mqtts://. Default: the system's."
    )
    site: str = setting("local", topic_id, "Id of the school or laboratory, second part of every topic.")
    instance: str = setting(
        "", topic_id, "Id of this copy of the service, unique on the broker. Default: made from the host's name."
    )
    log_level: str = setting("info", one_of(*LEVELS), f"One of {', '.join(LEVELS)}.")
    health_file: Path | None = setting(
        None, Path, "File to touch every 2 s while the service works and is connected to its broker; for health checks."
    )

    def identity(self, service: str, now_s: float, instance: str | None = None) -> Identity:
        """Name this run of the service, which starts at ``now_s`` (seconds since 1970)."""
        name = self.instance or instance or host_id()
        return Identity(self.site, service, name, __version__, int(now_s * 1000), uuid.uuid4().hex)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings(SiteSettings):
    """The settings of every program that is connected to a broker."""

    broker: BrokerAddresses = setting(
        BrokerAddresses([BrokerAddress("127.0.0.1", 1883)]),
        BrokerAddresses.parse,
        "The MQTT broker, mqtt://[user:password@]host[:port], or mqtts:// for TLS. Commas separate several "
        "brokers; the next one is tried when one is away. file:PATH reads this text from a file.",
        secret=True,
        metavar="URL",
    )
    broker_shuffle: bool = setting(
        False, switch, "Try several brokers in random order, so that many programs do not all begin with the first."
    )

    def brokers(self, rng: random.Random) -> BrokerAddresses:
        """Return the brokers in the order in which to try them."""
        return self.broker.shuffled(rng) if self.broker_shuffle else self.broker


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings(BrokerSettings):
    """The settings of every service that is connected to a broker."""

    watchdog_s: int = setting(
        60, whole(0, 3600), "Seconds after which a service that hangs ends itself, to be started again. 0: never."
    )


def metrics_port_of(variable: str) -> Any:
    """Declare the port of a service's metrics: services may share a file of variables, so each has one of its own."""
    return setting(0, whole(0, 65535), "Port of /metrics for Prometheus, and of /healthz. 0: off.", variable=variable)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings(BusSettings):
    """The settings of services that have no web server and show their metrics on a port of their own."""

    metrics_port: int = metrics_port_of("METRICS_PORT")
    metrics_host: str = setting("127.0.0.1", str, "Address that the port of /metrics listens on.")


def host_id() -> str:
    """Make an id from this computer's name: the default instance of a service."""
    return id_from_text(platform.node() or "host")


def read(of: type[S], argv: Sequence[str], environ: Mapping[str, str], *, program: str, about: str = "") -> S:
    """Read the settings from ``argv`` and ``environ``.

    Raises SettingsError with all faults. ``--help`` prints the help and raises SystemExit(0).
    """
    parser = argparse.ArgumentParser(prog=program, description=about, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(
        "--version",
        action="version",
        version=f"{program.split()[0]} {__version__}",
        help="Print the version and exit.",
    )
    declared = _declared(of)
    for name, keys in declared.items():
        _add(parser, name, keys)
    found = argparse.Namespace()
    try:
        _, unknown = parser.parse_known_args(argv, found)
        faults = [_unknown(word, [_flag(name)[2:] for name in declared], program) for word in unknown]
    except argparse.ArgumentError as error:
        faults = [f"{error.argument_name}: {error.message.replace('expected one argument', 'needs a value')}"]
    if getattr(found, getattr(of, "CHANGES_WITH", ""), None) == "true":
        environ = {}
    values = {}
    for name, keys in declared.items():
        given: Any = getattr(found, name, None)
        label = name if keys["positional"] else _flag(name)
        given = None if given == [] else given  # argparse gives [] for no positionals
        if given is None and environ.get(keys["variable"]):
            label, given = keys["variable"], environ[keys["variable"]]
            given = given.split(",") if keys["many"] else given
        if given is None:
            if keys["default"] is ...:
                faults.append(f"{label}: is missing")
            continue
        try:
            parse = keys["parse"]
            values[name] = tuple(map(parse, given)) if keys["many"] else parse(given)
        except ValueError as error:
            got = "" if keys["secret"] else f", got {given!r}"
            faults.append(f"{label}: {error}{got}")
    if faults:
        raise SettingsError(faults)
    return of(**values)


def _unknown(word: str, names: Sequence[str], program: str) -> str:
    """Say what is wrong with a word of the command line, but for a value that may be secret."""
    if not word.startswith("-"):
        return f"{word}: is not expected here"
    flag = word.partition("=")[0]
    near = difflib.get_close_matches(flag.lstrip("-"), names, 1)
    return f"{flag}: no such option of {program}" + (f"; did you mean --{near[0]}?" if near else "")


def variables(of: type[Any]) -> tuple[str, ...]:
    """List the environment variables that the settings class reads."""
    return tuple(keys["variable"] for keys in _declared(of).values() if keys["variable"])


def _declared(of: type[Any]) -> dict[str, dict[str, Any]]:
    """Return what each setting declares; its variable is an empty text if none sets it."""
    return {
        each.name: {**each.metadata["setting"], "default": each.default, "variable": variable_of(of, each)}
        for each in fields(of)
    }


def variable_of(of: type[Any], field: Field[Any]) -> str:
    """Return the environment variable that sets a field of a settings class; an empty text if none does."""
    default = field.name.rstrip("_").upper() if getattr(of, "READS_ENVIRONMENT", True) else ""
    given = field.metadata["setting"]["variable"]
    name = default if given is None else given
    return ENV_PREFIX + name if name else ""


def _flag(name: str) -> str:
    return "--" + name.rstrip("_").replace("_", "-")  # from_ is --from: `from` is a keyword of Python


def _add(parser: argparse.ArgumentParser, name: str, keys: dict[str, Any]) -> None:
    default, variable = keys["default"], keys["variable"]
    text = str(default).lower() if isinstance(default, bool) else default
    shown = "" if default in (None, ..., "", ()) else f" Default: {text}."
    help = f"{keys['help']}{shown}{f' [{variable}]' if variable else ''}".replace("%", "%%")
    if keys["positional"]:
        nargs = "*" if keys["many"] else "?"
        parser.add_argument(name, nargs=nargs, default=None, help=help, metavar=keys["metavar"])
    elif keys["parse"] is switch:
        both = parser.add_mutually_exclusive_group()
        both.add_argument(_flag(name), dest=name, action="store_const", const="true", help=help)
        both.add_argument(
            "--no-" + _flag(name)[2:], dest=name, action="store_const", const="false", help=argparse.SUPPRESS
        )
    else:
        action = "append" if keys["many"] else "store"
        parser.add_argument(_flag(name), dest=name, action=action, help=help, metavar=keys["metavar"])

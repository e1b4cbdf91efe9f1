"""Where each program of the system is, and what is wrong that neither its process nor the broker tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from neuroone.mqtt.threaded import ThreadedClient
from neuroone.service import qt_libraries
from neuroone.service.local_address import ANY_ADDRESS, LOOPBACK, host_in_url
from neuroone.up.banner import host_elsewhere
from neuroone.up.broker_check import BrokerCheck
from neuroone.up.observed import GATEWAY, WINDOW

BROKER: Final = "broker"


@dataclass(frozen=True, slots=True)
class View:
    """Where each program is, by its name, and what is wrong, in sentences.

    A sentence about a program has its name as key.
    """

    addresses: Mapping[str, str]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Look at the system of this moment.

    Args:
        host: What the gateway listens on, at ``ws_port``.
        addresses: Where the other programs are.
        lasting: Problems that stay.
        client: Our own client of the broker.
        check: The check of a broker that we started.
        say: The texts.
    """

    host: str
    ws_port: int
    addresses: Mapping[str, str]
    lasting: Mapping[str, str]
    client: ThreadedClient
    check: BrokerCheck | None
    say: Mapping[str, str]

    def look(self) -> View:
        """Return the view of this moment: a router may give this computer another address at any time."""
        shown, problems = host_elsewhere(self.host), dict(self.lasting)
        if self.host in ANY_ADDRESS and shown == LOOPBACK:
            problems["network"] = self.say["network"]
        if self.check is not None:
            if self.check.problem is not None:
                problems[BROKER] = self.say[self.check.problem]
        elif not self.client.is_connected:
            problems[BROKER] = self.say["broker_away"].format(address=self.addresses[BROKER])
        return View({**self.addresses, GATEWAY: f"ws://{host_in_url(shown)}:{self.ws_port}"}, problems)


def window_problems(environ: Mapping[str, str], say: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps a window from opening in this environment, until the program is started anew."""
    if lacks := qt_libraries.missing(environ):
        install = qt_libraries.install_command(lacks)
        return {WINDOW: say["window_libraries"].format(libraries=", ".join(lacks), install=install)}
    has_screen = "QT_QPA_PLATFORM" in environ or qt_libraries.has_screen(environ)
    return {} if has_screen else {WINDOW: say["window_screen"]}

"""A district's broker: real, with the logins of its services and of two schools."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroone import logins
from neuroone.mqtt.address import BrokerAddress
from neuroone.up import brokers
from neuroone.up.broker_access import Access
from tests.support.brokers import LOOPBACK, free_port
from tests.support.waiting import wait_for

OURS, THEIRS = "school-a", "school-b"


@contextlib.contextmanager
def site_broker(kind: str, folder: Path) -> Iterator[Access]:
    """Run it in a folder, in which ``logins`` are."""
    program = brokers.find(kind)
    if program is None:
        pytest.skip("Mosquitto is not installed on this machine")
    address = BrokerAddress(LOOPBACK, free_port())
    logins.make(folder / "logins", address, {}, [OURS, THEIRS])
    made = {name: logins.login_in(folder / "logins", name) for name in logins.identities_in(folder / "logins")}
    access = Access(LOOPBACK, address.port, free_port(), folder / "logins", made)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(program.command(folder, LOOPBACK, address.port, access), stderr=log)
    try:
        wait_for(lambda: brokers.answers(access.of("reader")), "answer of the broker")
        yield access
    finally:
        process.terminate()
        process.wait(10)

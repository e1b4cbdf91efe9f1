"""The certificate of `neuroone up --tls` while it runs."""

import logging
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from neuroone.certificates import machine, making
from neuroone.certificates.making import Names
from neuroone.contract.errors import SettingsError
from neuroone.up.https import CHECK_PERIOD_S, Https


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Names]:
    """What this machine is called now: the last of these."""
    names = [Names(("lab.local",), (ip_address("192.168.0.10"),))]
    monkeypatch.setattr(machine, "names", lambda: names[-1])
    return names


def test_another_address_gets_another_certificate_within_seconds(here, tmp_path: Path):
    https = Https(tmp_path, 8443)
    https.prepare()
    https.step(0.0)
    here.append(Names(("lab.local",), (ip_address("192.168.0.77"),)))
    server = Path(https.flags[3])
    before = server.read_bytes()
    https.step(CHECK_PERIOD_S - 1)
    assert server.read_bytes() == before
    https.step(CHECK_PERIOD_S)
    assert making.names_in(making.parse(server.read_bytes()).certificate) == here[-1]


def test_a_renewal_that_fails_is_logged_and_ends_nothing(here, tmp_path: Path, monkeypatch, caplog):
    https = Https(tmp_path, 8443)
    https.prepare()

    def full() -> Names:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine, "names", full)
    https.step(0.0)
    assert [each.levelno for each in caplog.records if "not renewed" in each.message] == [logging.WARNING]


def test_without_the_extra_there_are_words(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for name in [name for name in sys.modules if name.startswith("neuroone.certificates.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SettingsError, match=r"--tls needs the package cryptography, .* extra up"):
        Https(tmp_path, 8443)

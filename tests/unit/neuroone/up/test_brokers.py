"""Tests of finding and configuring broker programs."""

import socket
import sys
from pathlib import Path

import pytest

from neuroone.mqtt.address import BrokerAddress
from neuroone.up import brokers


def test_nats_is_installed_with_the_tests() -> None:
    program = brokers.find(brokers.NATS)
    assert program is not None
    assert program.path.exists()


def test_mosquitto_is_preferred_and_nats_is_used_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mosquitto = tmp_path / "mosquitto"
    mosquitto.touch(mode=0o755)
    monkeypatch.setattr(brokers, "_SBIN", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert brokers.find() == brokers.BrokerProgram(brokers.MOSQUITTO, mosquitto)
    mosquitto.unlink()
    found = brokers.find()
    assert found is not None
    assert found.kind == brokers.NATS
    assert brokers.find(brokers.MOSQUITTO) is None


@pytest.mark.parametrize("kind", brokers.KINDS)
def test_a_configuration_is_written_into_the_folder(kind: str, tmp_path: Path) -> None:
    command = brokers.BrokerProgram(kind, Path("/usr/sbin/broker")).command(tmp_path / "new", "127.0.0.1", 1884)
    text = Path(command[-1]).read_text(encoding="utf-8")
    assert command[:2] == [str(Path("/usr/sbin/broker")), "-c"]
    assert "127.0.0.1" in text
    assert "1884" in text
    assert (tmp_path / "new").as_posix() in text


def test_only_a_broker_answers() -> None:
    """A port without a listener does not, and a listener that is not a broker does not either."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        assert not brokers.answers(BrokerAddress("127.0.0.1", port))
    assert not brokers.answers(BrokerAddress("127.0.0.1", port))


def test_the_folder_without_python_comes_with_its_own_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where a Mosquitto is installed: the folder is the same on every computer."""
    for name in ("mosquitto", "nats-server"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert brokers.find() == brokers.BrokerProgram(brokers.NATS, tmp_path / "nats-server")
    assert brokers.find(brokers.MOSQUITTO) == brokers.BrokerProgram(brokers.MOSQUITTO, tmp_path / "mosquitto")

"""Tests of finding and configuring broker programs."""

import socket
from pathlib import Path

import pytest

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
        assert not brokers.answers("127.0.0.1", port)
    assert not brokers.answers("127.0.0.1", port)

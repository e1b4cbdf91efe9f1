"""Finding and starting broker programs."""

import socket
from pathlib import Path

import pytest

from neuroone.up import brokers


def test_nats_is_always_there() -> None:
    """The environment of the tests brings it."""
    program = brokers.find(brokers.NATS)
    assert program is not None
    assert program.path.exists()


def test_mosquitto_comes_first_where_both_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And NATS is taken where it is not."""
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
    """Address, port and the folder for what the broker keeps."""
    command = brokers.BrokerProgram(kind, Path("/usr/sbin/broker")).command(tmp_path / "new", "127.0.0.1", 1884)
    text = Path(command[-1]).read_text(encoding="utf-8")
    assert command[:2] == [str(Path("/usr/sbin/broker")), "-c"]
    assert "127.0.0.1" in text
    assert "1884" in text
    assert (tmp_path / "new").as_posix() in text


def test_what_answers_and_what_does_not() -> None:
    """A port without a listener, and a listener that is no broker."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        assert not brokers.answers("127.0.0.1", port)
    assert not brokers.answers("127.0.0.1", port)

"""Who may use the broker of `neuroone up`."""

from pathlib import Path

import pytest

from neuroone.mqtt.address import BrokerAddress
from neuroone.up import broker_access, brokers


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.0.0.2"])
def test_only_a_broker_of_this_machine_alone_is_open(host: str, tmp_path: Path) -> None:
    access = broker_access.make(host, 1883, None, tmp_path)
    assert access.of("reader") == BrokerAddress(host, 1883)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", brokers.KINDS)
@pytest.mark.parametrize(
    ("host", "ws_port", "here"),
    [("0.0.0.0", None, "127.0.0.1"), ("::", None, "::1"), ("10.0.0.2", 9001, "10.0.0.2"), ("::1", 9001, "::1")],
)
def test_a_broker_that_others_or_browsers_reach_is_never_open(
    kind: str, host: str, ws_port: int | None, here: str, tmp_path: Path
) -> None:
    """Each program has its own login, which stays the same at the next start."""
    access = broker_access.make(host, 1883, ws_port, tmp_path)
    command = brokers.BrokerProgram(kind, Path("broker")).command(tmp_path, host, 1883, access)
    text = Path(command[-1]).read_text(encoding="utf-8")
    assert "allow_anonymous true" not in text
    assert ("allow_anonymous false" in text) is (kind == brokers.MOSQUITTO)
    assert (str(ws_port) in text) is (ws_port is not None)
    login = access.of("csv_recorder")
    assert (login.host, login.port, login.user) == (here, 1883, "csv_recorder")
    assert broker_access.make(host, 1883, ws_port, tmp_path).of("csv_recorder") == login


def test_a_reader_of_nats_publishes_nothing_and_a_service_what_it_owns(tmp_path: Path) -> None:
    text = broker_access.make("0.0.0.0", 1883, None, tmp_path).nats()["access"]
    assert '"reader"' in text
    assert '"publish": {"deny": [">"]}' in text.partition('"reader"')[2].partition('"user"')[0]
    recorder = text.partition('"csv_recorder"')[2].partition('"user"')[0]
    assert "neuroone.v1.*.services.csv_recorder.*.recorded" in recorder
    assert "streams.*.*.reading" not in recorder

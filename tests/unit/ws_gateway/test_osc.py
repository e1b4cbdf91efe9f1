"""Where readings go as OSC."""

import socket

import pytest

from neuroone.contract import topics
from neuroone.contract.errors import SettingsError
from tests.support.messages import reading
from ws_gateway import osc
from ws_gateway.osc import OscSender, Target


def test_a_target_is_a_host_and_a_port():
    assert [osc.target(text) for text in ("127.0.0.1:9000", "[::1]:1", "mixer.local:9000")] == [
        Target("127.0.0.1", 9000),
        Target("::1", 1),
        Target("mixer.local", 9000),
    ]
    for text in ("", "9000", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:osc"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            osc.target(text)


def test_a_program_that_is_not_there_costs_only_its_datagrams():
    """It may come later: what is sent then arrives."""
    topic = topics.reading("local", "A", "Ana")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind(("127.0.0.1", 0))
        port = program.getsockname()[1]
    (sender,) = osc.connected([Target("127.0.0.1", port)])
    sending = OscSender([sender])
    sending.on_reading(topic, reading())
    sending.on_reading(topic, reading())
    assert sending.lost
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind(("127.0.0.1", port))
        program.settimeout(20)
        sending.on_reading(topic, reading())
        assert program.recv(4096).startswith(b"/neuroone/A/Ana/")
    sending.close()


def test_a_host_without_an_address_is_named():
    with pytest.raises(SettingsError, match=r"--osc: nobody.invalid:9000 cannot be used"):
        osc.connected([Target("nobody.invalid", 9000)])

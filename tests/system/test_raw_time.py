"""Raw samples keep their rate and their time from the headset's bytes to raw.csv and EDF, whatever is lost."""

import sys

import pytest

from tests.support.sine_headsets import SineHeadset, record_and_check

pytestmark = [
    pytest.mark.broker,
    pytest.mark.pty,
    pytest.mark.timeout(150),
    pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of POSIX systems"),
]

SECONDS = 20


def test_every_rate_and_dropout_from_the_port_to_edf(start_broker, tmp_path):
    """`python -m bench.raw_time` runs ten minutes with random dropouts and an outage of the broker."""
    headsets = {
        "r250": SineHeadset(250, [(9.1, 0.4), (13.7, 1.3)]),
        "r256": SineHeadset(256),
        "r512": SineHeadset(512, [(8.3, 2.9), (12.2, 0.3), (15.0, 0.7)]),
    }
    record_and_check(start_broker("mosquitto"), tmp_path, headsets, SECONDS)

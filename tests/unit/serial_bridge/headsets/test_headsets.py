"""Every registered type of headset."""

import pytest

from serial_bridge.headsets import HEADSETS
from serial_bridge.ports.simulated import SimulatedHeadset


@pytest.mark.parametrize("name", HEADSETS)
def test_every_headset_type_survives_any_chunking(name):
    """Every registered decoder gives the same from one piece, from bytes, and after rubbish."""
    stream = SimulatedHeadset(1).advance(3)
    whole, bytewise = HEADSETS[name](), HEADSETS[name]()
    whole.feed(stream)
    for at in range(len(stream)):
        bytewise.feed(stream[at : at + 1])
    assert whole.counters == bytewise.counters
    assert whole.counters["frames"] > 0
    assert whole.flush() == bytewise.flush() == []

"""What a service takes for a sign of life of another run of itself."""

import pytest

from neuroone.mqtt.identity import Identity
from neuroone.mqtt.presence import Presence, Probe


@pytest.mark.parametrize(("service", "is_recorder"), [("csv_recorder", True), ("forwarder", False)])
def test_receipts_are_signs_of_a_recorder_only(service: str, is_recorder: bool) -> None:
    """A forwarder named main starts beside a recorder named main."""
    identity = Identity("local", service, "main", "0", 1, "run")
    filters = Probe(identity, Presence(identity, lambda: 0.0)).filters
    assert ("neuroone/v1/local/services/csv_recorder/main/recorded" in filters) == is_recorder
    assert f"neuroone/v1/local/services/{service}/main/state" in filters

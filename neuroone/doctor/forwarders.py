"""Judge the forwarder to the district, as the school's broker knows it."""

from collections.abc import Sequence
from typing import Final

from neuroone.contract.messages import ServiceStatus
from neuroone.doctor.checks import Finding, Instance

SERVICE: Final = "forwarder"
LATE_S: Final = 300.0
"""What has waited for so long, although the district is reached, waits behind a backlog."""


def forwarders(instances: Sequence[Instance]) -> list[Finding]:
    """Check whether what happens here reaches the district; a school without a forwarder has none."""
    return [_judge(each) for each in instances if each.service == SERVICE]


def _judge(forwarder: Instance) -> Finding:
    gauges = forwarder.gauges
    facts = {
        "service": forwarder.name,
        "topic": f"services/{forwarder.name}/state",
        "detail": forwarder.fault,
        "count": f"{gauges.get('spool', 0):.0f}",
        "minutes": f"{gauges.get('oldest_waiting_age_seconds', 0) / 60:.0f}",
    }
    if forwarder.status is not ServiceStatus.ONLINE:
        return Finding("forwarder_offline", facts)
    if "district_connected" not in gauges:  # its health has not come yet, or is that of an earlier version
        return Finding("forwarder_unknown", facts)
    code = "forwarder_ok"
    if not gauges["disk_works"]:
        code = "forwarder_disk"
    elif gauges["district_login_refused"]:
        code = "forwarder_login"
    elif gauges["district_refuses"]:
        code = "forwarder_refused"
    elif gauges["spool_full"]:
        code = "forwarder_full"
    elif not gauges["district_connected"]:
        code = "forwarder_away"
    elif gauges["oldest_waiting_age_seconds"] > LATE_S:
        code = "forwarder_late"
    return Finding(code, facts)

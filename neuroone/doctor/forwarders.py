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
    problems = {
        "forwarder_disk": not gauges["disk_works"],
        "forwarder_login": gauges["district_login_refused"],
        "forwarder_refused": gauges["district_refuses"],
        "forwarder_full": gauges["spool_full"],
        "forwarder_away": not gauges["district_connected"],
        "forwarder_unrecorded": not gauges["district_records"],
        "forwarder_late": gauges["oldest_waiting_age_seconds"] > LATE_S,
    }
    return Finding(next((code for code, is_so in problems.items() if is_so), "forwarder_ok"), facts)

"""Judge the recorders, as the broker knows them."""

from collections.abc import Sequence

from neuroone.contract import shards
from neuroone.contract.messages import ServiceStatus
from neuroone.doctor.checks import Finding, Instance


def recorder_shards(instances: Sequence[Instance]) -> list[Finding]:
    """Check whether each shard of the streams has its recorder, and whether recorders agree on the shards."""
    online = [each for each in instances if each.service == "csv_recorder" and each.status is ServiceStatus.ONLINE]
    present = {each.shard for each in online}
    if present <= {None}:
        return []
    facts = {
        "service": "csv_recorder",
        "instances": ", ".join(f"{each.instance}: {each.shard or '1/1'}" for each in online),
        "missing": ", ".join(map(str, shards.missing(present))),
    }
    if len({each and each.of for each in present}) > 1:
        return [Finding("shards_differ", facts)]
    return [Finding("shards_missing" if facts["missing"] else "shards_ok", facts)]


def recorder_disk(instances: Sequence[Instance]) -> list[Finding]:
    """Check whether each recorder reports that its disk works."""
    return [
        Finding("recorder_ok" if each.disk_works else "recorder_disk", {"service": each.name})
        for each in instances
        if each.service == "csv_recorder" and each.disk_works is not None
    ]

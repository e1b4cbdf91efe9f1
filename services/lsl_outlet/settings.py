"""Settings of lsl-outlet."""

from dataclasses import dataclass

from neuroone.contract.topics import ALL
from neuroone.service.settings import BusSettings, setting, switch, topic_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BusSettings):
    """Options of ``lsl-outlet``."""

    markers: bool = setting(
        True, switch, "Bring the markers of other LSL programs in as events; --no-markers leaves them out."
    )
    markers_to: str = setting(ALL, topic_id, "Group whose events they become; _all: everybody.", metavar="GROUP")

"""Settings of the recorder."""

from dataclasses import dataclass
from pathlib import Path

from neuroone.service.settings import BusSettings, setting, switch, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BusSettings):
    """Settings of `csv-recorder run`."""

    dir: Path = setting(Path("recordings"), Path, "Directory of the recordings.", metavar="DIR")
    csv: bool = setting(True, switch, "Write {Nome}.csv too, as the server that went before did.")
    raw: bool = setting(
        False, switch, "Record the raw samples of serial headsets too (512 Hz, about 9 MB an hour each)."
    )
    rotate_mb: int = setting(64, whole(1, 4096), "Size in MB at which a file of a session goes on in a new one.")
    rotate_h: int = setting(24, whole(1, 24 * 365), "Age in hours at which it does.")

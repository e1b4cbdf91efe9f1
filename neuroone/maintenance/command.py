"""The commands `neuroone update` and `neuroone rollback`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from neuroone.contract.errors import SettingsError
from neuroone.maintenance import versions
from neuroone.maintenance.checkouts import Checkout, clone_of
from neuroone.maintenance.clones import Clone
from neuroone.maintenance.places import is_server
from neuroone.maintenance.server import Server, installed_from
from neuroone.maintenance.versions import Installation
from neuroone.service.lifecycle import FAILED, OK, Stop
from neuroone.service.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackSettings:
    """Settings of `neuroone rollback`."""

    READS_ENVIRONMENT: ClassVar[bool] = False

    data: Path = setting(
        Path("recordings"),
        Path,
        "Directory of the recordings of the `neuroone up` that is to go over to the other version.",
        metavar="DIR",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSettings(RollbackSettings):
    """Settings of `neuroone update`."""

    from_: str | None = setting(
        None, str, "Where the new version is: an address of git, or a clone on a USB stick. Default: origin.",
        metavar="REPOSITORY",
    )  # fmt: skip
    to: str | None = setting(None, str, "Its branch or tag. Default: that of the repository.", metavar="REF")


def update(given: UpdateSettings, stop: Stop) -> int:
    """Bring this installation to another version. Raises SettingsError and NeuroOneError."""
    return OK if versions.update(_installation(given), given.from_, given.to) else FAILED


def rollback(given: RollbackSettings, stop: Stop) -> int:
    """Go back to the version before. Raises SettingsError and NeuroOneError."""
    return OK if versions.roll_back(_installation(given)) else FAILED


def _installation(given: RollbackSettings) -> Installation:
    """Find out how this program was installed. Raises SettingsError and NeuroOneError."""
    if is_server():
        return Server(Checkout(installed_from()))
    root = clone_of(Path(__file__).absolute().parents[2])
    if not (root / "run.py").exists() or not (root / ".git").exists():
        raise SettingsError(
            ["this was installed from a wheel or a folder, not from a clone: install the new one beside"]
        )
    return Clone(Checkout(root), given.data.resolve())

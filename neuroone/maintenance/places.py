"""Where an installation keeps what a backup holds, and how its services are stopped and started."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from neuroone.maintenance.manifest import BROKER
from neuroone.service import programs
from neuroone.service.settings import setting

PROGRAMS: Final = Path("/opt/neuroone")
"""Where deploy/install.sh installs."""
SERVICES: Final = ("broker", "recorder", "gateway")
BRIDGE: Final = "bridge"
"""The service that a server may have or not."""
_SUPERVISED: Final = Path("/etc/supervisor/conf.d/neuroone.conf")
_SYSTEMD: Final = Path("/run/systemd/system")


@dataclass(frozen=True, slots=True)
class Places:
    """The directory of the recordings, and by their names the directories of all other parts of a backup."""

    recordings: Path
    parts: Mapping[str, Path]
    services: bool = False
    """True if `control` reaches the services."""


SERVER: Final = Places(
    Path("/var/lib/neuroone/recordings"),
    {BROKER: Path("/var/lib/neuroone/broker"), "settings": Path("/etc/neuroone")},
    services=True,
)


def is_server() -> bool:
    """Return True if deploy/install.sh installed this program."""
    return Path(sys.prefix).resolve().is_relative_to(PROGRAMS)


def part(text: str) -> tuple[str, Path]:
    """Parse ``--also``. Raises ValueError."""
    name, _, folder = text.partition("=")
    if not re.fullmatch("[a-z]{1,64}", name) or not folder:
        raise ValueError("must be NAME=DIR, with a NAME of small letters")
    return name, Path(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesSettings:
    """Where things are: the same for backup and restore."""

    data: Path | None = setting(
        None,
        Path,
        "Directory of the recordings, with the broker's state of `neuroone up`. Default: that of the server that "
        "deploy/install.sh installed, with its logins, settings and broker; else recordings.",
        metavar="DIR",
    )
    also: tuple[tuple[str, Path], ...] = setting(
        (), part, "NAME=DIR: a further directory, with a name for it in the backup.", many=True
    )

    def places(self) -> Places:
        """Return where everything is."""
        if self.data is None and not self.also and is_server():
            return SERVER
        return Places((self.data or Path("recordings")).resolve(), {name: each.resolve() for name, each in self.also})


def csv_recorder(
    words: Sequence[str], recordings: Path, *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> int:
    """Run a command of csv-recorder as the owner of the recordings: what root makes there no recorder can change.

    Return its exit code; it has said what is wrong.
    """
    user: int | None = None
    group: int | None = None
    if os.name == "posix" and os.geteuid() == 0:
        user, group = recordings.stat().st_uid, recordings.stat().st_gid
    return subprocess.run(
        programs.command("csv_recorder", *words, "--dir", str(recordings)),
        check=False,
        stdin=stdin,
        stdout=stdout,
        cwd=sys.prefix,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    ).returncode


def control(action: str, *services: str) -> None:
    """Stop or restart services of a server, if anything runs them. Raises CalledProcessError if they do not start."""
    names = [f"neuroone-{each}" for each in services]
    must_work = action != "stop"  # supervisorctl takes it for a fault that a service is stopped already
    if _SUPERVISED.exists():
        subprocess.run(["supervisorctl", action, *names], check=must_work, stdout=subprocess.DEVNULL)
    elif _SYSTEMD.exists():
        subprocess.run(["systemctl", action, *names], check=must_work)


def is_running(service: str) -> bool:
    """Return True if a service of a server runs."""
    ask = ["supervisorctl", "status"] if _SUPERVISED.exists() else ["systemctl", "is-active"]
    try:
        return subprocess.run([*ask, f"neuroone-{service}"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False

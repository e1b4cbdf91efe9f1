"""Update a server that deploy/install.sh installed: that of the new version installs it beside the old one."""

import re
import subprocess
from pathlib import Path
from typing import Final

from neuroone.contract.errors import NeuroOneError
from neuroone.maintenance.checkouts import Checkout
from neuroone.maintenance.places import PROGRAMS
from neuroone.maintenance.versions import Installation, wait_ready
from neuroone.service.local_address import host_here

SETTINGS: Final = Path("/etc/neuroone/neuroone.env")
_CURRENT: Final = PROGRAMS / "current"


def installed_from() -> Path:
    """Return the clone that deploy/install.sh was called in. Raises NeuroOneError."""
    try:
        return Path((_CURRENT / "source").read_text(encoding="utf-8").strip())
    except OSError:
        raise NeuroOneError("an earlier deploy/install.sh installed this: call that of the new version") from None


class Server(Installation):
    """What is in /opt/neuroone."""

    def __init__(self, clone: Checkout) -> None:
        super().__init__(clone)
        self._is_started = True

    def commit(self) -> str:
        """Return the commit in use; it is unknown if this was installed from a folder without git."""
        try:
            return (_CURRENT / "commit").read_text(encoding="ascii").strip()
        except OSError:
            return "unknown"

    def install(self, folder: Path, commit: str) -> None:
        """Let deploy/install.sh of the version make it, run its self-test, and restart the services."""
        before = _CURRENT.resolve()
        done = subprocess.run(["sh", str(folder / "deploy" / "install.sh")], check=False, stdout=subprocess.DEVNULL)
        self._is_started = done.returncode == 0
        self.clone.remove(folder)
        if _CURRENT.resolve() == before:
            raise NeuroOneError(f"{folder.name} cannot be installed; nothing was changed")

    def fault(self) -> str | None:
        """Wait for the gateway."""
        if not self._is_started:
            return "its services do not start"
        lines = re.findall(r"^NEUROONE_(HOST|WS_PORT)=[\"']?([^\"'\s,]+)", SETTINGS.read_text("utf-8"), re.MULTILINE)
        given = {"HOST": "", "WS_PORT": "8080"} | dict(lines)
        return wait_ready(f"http://{host_here(given['HOST'])}:{given['WS_PORT']}/readyz")

    def go_back(self) -> None:
        """Let deploy/install.sh go back."""
        done = subprocess.run(["sh", str(_CURRENT / "install.sh"), "rollback"], check=False)
        self._is_started = done.returncode == 0
        if not self._is_started:
            raise NeuroOneError("deploy/install.sh cannot go back; the reason is above")

    def forget_previous(self) -> None:
        """Remove the link to the version that does not work; the next installation removes its files."""
        (PROGRAMS / "previous").unlink(missing_ok=True)

"""Https for `neuroone up`: the flags of the gateway, and the renewal of its certificate."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.contract.files import CERTIFICATES
from neuroone.service import extras

if TYPE_CHECKING:
    from neuroone.certificates.files import CertificateFiles

CHECK_PERIOD_S: Final = 10.0
"""A router may give this machine another address at any time; phones then need a certificate for that one."""

log = logging.getLogger(__name__)


class Https:
    """The certificate of the gateway that runs at ``port``, in a hidden folder of the recordings' directory."""

    def __init__(self, data: Path, port: int) -> None:
        self._port = port
        self._files = _files(data / CERTIFICATES)
        self._checked_s = float("-inf")

    def prepare(self) -> None:
        """Make or renew the certificate. Raises NeuroOneError and OSError."""
        from neuroone.certificates import files, machine

        self._files.refresh(machine.names(), files.utc_now())

    def step(self, now_s: float) -> None:
        """Renew the certificate if it is time for it, or if this machine's addresses have changed. Call this often."""
        if now_s - self._checked_s < CHECK_PERIOD_S:
            return
        self._checked_s = now_s
        try:
            self.prepare()
        except (NeuroOneError, OSError) as error:
            log.warning("the certificate is not renewed: %s", error)

    @property
    def flags(self) -> Sequence[str]:
        """What the gateway needs."""
        files = self._files
        both = ("--tls-cert", str(files.server), "--tls-key", str(files.server))
        return ("--tls-port", str(self._port), *both, "--tls-ca", str(files.public))


def _files(folder: Path) -> "CertificateFiles":
    """Return the files. Raises SettingsError where the library is missing that makes certificates."""
    try:
        from neuroone.certificates import machine  # noqa: F401 (as the next one, it needs the extra)
        from neuroone.certificates.files import CertificateFiles
    except ImportError as error:
        raise SettingsError([extras.sentence("--tls", error.name or "cryptography", "up")]) from None
    return CertificateFiles(folder)

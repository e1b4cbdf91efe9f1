"""Keep the authority and the server's certificate in a folder, and renew the certificate.

``authority.pem`` has the authority with its key, ``server.pem`` the certificate with its key: each is replaced in one
step, so no certificate stands beside the key of another. ``ca.crt`` is what devices are asked to trust.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from neuroone.certificates import making
from neuroone.certificates.making import Damaged, Names, Pair
from neuroone.contract.errors import NeuroOneError
from neuroone.service import private_files
from neuroone.service.private_files import own, replace

FILE_MAX_BYTES: Final = 64 * 1024
"""A certificate with its key has 1 kB, and 64 addresses more."""

log = logging.getLogger(__name__)


class CertificateFault(NeuroOneError):
    """There is no certificate to serve; the text says why, and what to do."""


class CertificateFiles:
    """The files in one folder. `refresh` makes what is missing and renews what must be renewed.

    ``between_servers``: see `making.new_certificate`.
    """

    def __init__(self, folder: Path, *, between_servers: bool = False) -> None:
        self.folder = folder
        self.authority = folder / "authority.pem"
        self.public = folder / "ca.crt"
        self.server = folder / "server.pem"
        self._between_servers = between_servers
        self._authority: Pair | None = None
        self._said: set[str] = set()

    def refresh(self, names: Names, clock: datetime) -> None:
        """Make or renew what must be. Raises CertificateFault if there is no certificate to serve, and OSError."""
        self._check_clock(clock)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        own(self.folder, self.folder.parent)
        server = self._read_server()
        try:
            self._authority = authority = self._read_authority() or self._make_authority(names, clock)
        except Damaged as fault:
            text = (
                f"{self.authority} cannot be used ({fault}), so the certificate cannot be renewed. Put a copy of the "
                f"file back. Without a copy delete {self.folder}: then a new authority is made, and every device must "
                "trust it anew"
            )
            if server is None:
                raise CertificateFault(text) from None
            self._say_once(text)
            return
        public = making.pem_of(authority.certificate)
        if not self.public.exists() or self.public.read_bytes() != public:
            replace(self.public, public, self.folder.parent)
        self._renew(server, authority, names, clock)

    def _renew(self, server: Pair | None, authority: Pair, names: Names, clock: datetime) -> None:
        known, others = making.signable(names, authority.certificate)
        if others.hosts or others.addresses:
            self._say_once(
                f"the certificate is not for {others}: the authority signs for private addresses, .local and the names "
                "and the address that this machine had when it was made"
            )
        begin, end = authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc
        now = making.believable(clock, begin, *(() if server is None else (server.certificate.not_valid_before_utc,)))
        if not begin <= now <= end:
            text = (
                f"this computer's clock shows {now:%Y-%m-%d}, and the authority is valid from {begin:%Y-%m-%d} to "
                f"{end:%Y-%m-%d}. If the clock is wrong, set it. If it is right, delete {self.folder}: then a new "
                "authority is made, and every device must trust it anew"
            )
            if server is None and now > end:
                raise CertificateFault(text)
            self._say_once(text)
            if server is not None:
                return
        why: str | None = "there is none"
        if server is not None:
            why = making.why_renew(server.certificate, authority.certificate, known, now)
        if why is None:
            return
        made = making.new_certificate(authority, known, now, between_servers=self._between_servers)
        replace(self.server, made.pem(), self.folder.parent)
        log.info("a new certificate is made (%s): for %s, until %s", why, known, _day(made.certificate))

    def _read_authority(self) -> Pair | None:
        """Return the authority; None if there never was one. Raises Damaged.

        One that this program has read before is written again if its file is gone or damaged.
        """
        try:
            if self.authority.exists():
                authority = making.parse(_read(self.authority))
                if making.permitted_by(authority.certificate)[0]:
                    return authority
                raise Damaged("it is not limited to private names")
            if self.public.exists() or self.server.exists() or self._authority is not None:
                raise Damaged("it is gone")
            return None
        except Damaged as fault:
            if self._authority is None:
                raise
            log.warning("%s was damaged (%s) and is written again", self.authority, fault)
            replace(self.authority, self._authority.pem(), self.folder.parent)
            return self._authority

    def _make_authority(self, names: Names, clock: datetime) -> Pair:
        made = making.new_authority(names, making.believable(clock))
        replace(self.authority, made.pem(), self.folder.parent)
        log.warning("a new authority is made, until %s: each device must trust it once", _day(made.certificate))
        return made

    def _read_server(self) -> Pair | None:
        """Return the certificate of the server; None if there is none, or if it is damaged: it can be made anew."""
        if not self.server.exists():
            return None
        try:
            return making.parse(_read(self.server))
        except Damaged as fault:
            self._say_once(f"{self.server} is damaged ({fault}); a new certificate is made, devices notice nothing")
            return None

    def _check_clock(self, clock: datetime) -> None:
        if making.believable(clock) != clock:
            self._say_once(
                f"this computer's clock shows {clock:%Y-%m-%d}, which cannot be: set it. Until then certificates are "
                "made as of the latest day that is certainly past"
            )

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning("%s", text)


def read_certificate(file: Path) -> x509.Certificate:
    """Read a certificate alone. Raises OSError, and Damaged."""
    return making.parse(_read(file)).certificate


def _read(file: Path) -> bytes:
    """Return the content of a file. Raises Damaged if it is far too long."""
    content = private_files.read(file, FILE_MAX_BYTES + 1)
    if len(content) > FILE_MAX_BYTES:
        raise Damaged("it is too long")
    return content


def _day(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"


def utc_now() -> datetime:
    """Return what the clock shows."""
    return datetime.now(UTC)

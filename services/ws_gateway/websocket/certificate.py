"""Read the certificate that the gateway shows, and its authority's; read them again when their files have changed."""

import logging
import ssl
import time
from pathlib import Path
from typing import Final

from neuroone.contract.errors import NeuroOneError, SettingsError
from neuroone.service import private_files

FILE_MAX_BYTES: Final = 1024 * 1024
"""A certificate with its chain and its key has 2 to 10 kB."""
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which Python has no name."""

log = logging.getLogger(__name__)


class CertificateFault(NeuroOneError):
    """The files of the certificate cannot be used; the text says why."""


class Certificate:
    """The certificate of the gateway. Raises CertificateFault if it cannot be used at the start.

    ``key_file`` may be the same file as ``file``. ``ends_s`` is when it ends, in seconds since 1970; ``faults`` counts
    later ones that could not be used.
    """

    def __init__(self, file: Path, key_file: Path) -> None:
        self._files = (file, key_file)
        self._stamps = tuple(map(private_files.stamp, self._files))
        self.faults = 0
        self._context, self.ends_s = _load(file, key_file)

    def context(self) -> ssl.SSLContext:
        """Return the settings for new connections, with the certificate of the moment."""
        return self._context

    def refresh(self) -> None:
        """Use the files if they have changed; keep the old certificate if the new one cannot be used."""
        stamps = tuple(map(private_files.stamp, self._files))
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._context, self.ends_s = _load(*self._files)
        except CertificateFault as fault:
            self.faults += 1
            log.error("the new certificate is not used, the one before stays: %s", fault)
        else:
            log.info("a new certificate is used from now on; it ends in %.0f days", (self.ends_s - time.time()) / 86400)


class Authority:
    """The certificate of the authority that devices may trust: its file may come later, and change.

    ``pem`` is None as long as there is none.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._stamp: object = ()
        self.pem: bytes | None = None
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it has changed. Only a certificate in it is ever shown, whatever else it holds."""
        if self._file is None:
            return
        stamp = private_files.stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if stamp is None:  # under compose nobody brings one until its profile tls runs
            self.pem = None
            return
        try:
            text = _read(self._file)
            begin = text.index(ssl.PEM_HEADER)
            end = text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
            der = ssl.PEM_cert_to_DER_cert(text[begin:end])
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
        except (CertificateFault, ValueError, ssl.SSLError) as fault:
            log.warning("/ca.crt shows no certificate of an authority: %s is none (%s)", self._file, fault)
            self.pem = None
        else:
            self.pem = ssl.DER_cert_to_PEM_cert(der).encode("ascii")


class Https:
    """What the gateway needs for https; without ``port`` and ``certificate`` there is none.

    ``authority`` may be there all the same: a proxy in front serves https.
    """

    def __init__(self, port: int | None, certificate: Certificate | None, authority: Authority) -> None:
        self.port = port
        self.certificate = certificate
        self.authority = authority

    @property
    def counters(self) -> dict[str, int]:
        """Counters of the metrics."""
        return {"certificate_faults": 0 if self.certificate is None else self.certificate.faults}

    def left_s(self, now_s: float) -> float | None:
        """Return in how many seconds the certificate ends; None if there is none."""
        return None if self.certificate is None else self.certificate.ends_s - now_s

    def refresh(self) -> None:
        """Read the files again that have changed."""
        self.authority.refresh()
        if self.certificate is not None:
            self.certificate.refresh()


def of_settings(port: int | None, file: Path | None, key_file: Path | None, authority_file: Path | None) -> Https:
    """Read the files that the settings name. Raises SettingsError."""
    if port is None or file is None:
        if port is not None or file is not None or key_file is not None:
            raise SettingsError(("--tls-port and --tls-cert: each needs the other",))
        return Https(None, None, Authority(authority_file))
    try:
        return Https(port, Certificate(file, key_file or file), Authority(authority_file))
    except CertificateFault as fault:
        raise SettingsError((f"--tls-cert: {fault}",)) from None


def _load(file: Path, key_file: Path) -> tuple[ssl.SSLContext, float]:
    """Return TLS settings with the certificate, and when it ends in seconds since 1970. Raises CertificateFault."""
    chain = _read(file)
    _read(key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a password would ask the terminal for it, and nobody may be there.
        context.load_cert_chain(file, key_file, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise CertificateFault(f"{file} and {key_file} are no certificate with its key ({reason})") from None
    try:
        return context, _end_of(context, chain)
    except (ssl.SSLError, ValueError, KeyError) as error:
        raise CertificateFault(f"{file} is no certificate for a server ({error})") from None


def _end_of(context: ssl.SSLContext, chain: str) -> float:
    """Return when the certificate ends: the standard library shows it to a client only, so we are one for a moment."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    client.load_verify_locations(cadata=chain)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        context.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server),
    )
    for _ in range(2):
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = ends[1].getpeercert()
    return float(ssl.cert_time_to_seconds(str((shown or {})["notAfter"])))


def _read(file: Path) -> str:
    """Return the text of a file of certificates. Raises CertificateFault."""
    try:
        content = private_files.read(file, FILE_MAX_BYTES + 1)
    except OSError as error:
        raise CertificateFault(f"{file} cannot be read ({error.strerror})") from None
    if len(content) > FILE_MAX_BYTES:
        raise CertificateFault(f"{file} has more than {FILE_MAX_BYTES} bytes")
    return content.decode("ascii", "ignore")  # comments may be in any language

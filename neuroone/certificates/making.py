"""Make a local authority and certificates of a server. No files, no clock."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS: Final = 3652
"""Ten years: when it ends, every device must trust a new one."""
CERTIFICATE_DAYS: Final = 397
"""Browsers accept 398 days from public authorities at most, and some ask the same of private ones."""
RENEW_DAYS: Final = 30
"""A school that is closed for a month still opens with a valid certificate."""
BACKDATED: Final = timedelta(days=1)
"""Phones whose clock is behind accept new ones at once."""
FIRST_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)
LAST_MOMENT: Final = datetime(2041, 1, 1, tzinfo=UTC)
"""A clock outside of these two is wrong: a computer whose battery is empty starts in 1970."""
PRIVATE: Final = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128"),
    )
)
"""Addresses of local networks and of this machine (RFC 1918, 3927, 4193): the authority signs for no
others, except the address that this machine has when it is made."""
PRIVATE_DOMAINS: Final = ("local", "localhost")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NAME_MAX_CHARS: Final = 253
"""Longest name in DNS (RFC 1035)."""

Address = IPv4Address | IPv6Address


class Damaged(ValueError):
    """This is no certificate with its key; the text says why."""


@dataclass(frozen=True, slots=True)
class Names:
    """By which names and addresses a server is reached."""

    hosts: tuple[str, ...]
    addresses: tuple[Address, ...]

    def __str__(self) -> str:
        return ", ".join((*self.hosts, *map(str, self.addresses)))


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """Return key and certificate as one text."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + pem_of(self.certificate)


def pem_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def parse(pem: bytes) -> Pair:
    """Read a certificate with its key. Raises Damaged."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, None)
        certified = certificate.public_key()
        _ = names_in(certificate), permitted_by(certificate)
    except Exception as error:  # noqa: BLE001 (damaged bytes bring up any of the library's errors)
        raise Damaged(str(error)) from None
    if not isinstance(key, EllipticCurvePrivateKey) or certified != key.public_key():
        raise Damaged("the key is not that of the certificate")
    if certificate.not_valid_before_utc >= certificate.not_valid_after_utc:
        raise Damaged("it ends before it begins")
    return Pair(certificate, key)


def believable(clock: datetime, *past: datetime) -> datetime:
    """Return what the clock shows; if that is certainly wrong, the latest moment that is known to be past."""
    return clock if FIRST_MOMENT <= clock <= LAST_MOMENT else max((FIRST_MOMENT, *past))


def is_private(address: Address) -> bool:
    """Return True for an address of local networks, or of the machine itself."""
    return any(address in network for network in PRIVATE)


def new_authority(names: Names, now: datetime) -> Pair:
    """Make an authority that can sign for these names, for ``.local`` and for private addresses only."""
    key = generate_private_key(SECP256R1())
    title = f"NeuroOne {names.hosts[0] if names.hosts else ''} {now:%Y-%m-%d}"
    subject = _subject(" ".join(title.split())[:64])  # X.520 allows 64 characters
    domains = dict.fromkeys((*PRIVATE_DOMAINS, *names.hosts))
    begin = now - BACKDATED
    own = (ip_network(each) for each in names.addresses if not is_private(each))
    permitted = [*map(x509.DNSName, domains), *map(x509.IPAddress, (*PRIVATE, *own))]
    builder = (
        _begun(subject, subject, key, begin, begin + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def new_certificate(authority: Pair, names: Names, now: datetime, *, between_servers: bool = False) -> Pair:
    """Make a certificate for these names, which the authority must be able to sign.

    With one that is for ``between_servers`` a server may also connect to another.
    """
    key = generate_private_key(SECP256R1())
    of_authority = authority.certificate
    begin = max(now - BACKDATED, of_authority.not_valid_before_utc)
    end = min(begin + timedelta(days=CERTIFICATE_DAYS), of_authority.not_valid_after_utc)
    shown = [*map(x509.DNSName, names.hosts), *map(x509.IPAddress, names.addresses)]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if between_servers else [])]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _begun(_subject("NeuroOne"), of_authority.subject, key, begin, end)
        .add_extension(x509.SubjectAlternativeName(shown), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_key, critical=False)
    )
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def signable(names: Names, authority: x509.Certificate) -> tuple[Names, Names]:
    """Split names into those that the authority can sign for, and all others."""
    domains, networks = permitted_by(authority)

    def may_host(host: str) -> bool:
        return _is_host(host) and any(host == each or host.endswith(f".{each}") for each in domains)

    def may_address(address: Address) -> bool:
        return any(address in network for network in networks)

    return (
        Names(tuple(filter(may_host, names.hosts)), tuple(filter(may_address, names.addresses))),
        Names(
            tuple(each for each in names.hosts if not may_host(each)),
            tuple(each for each in names.addresses if not may_address(each)),
        ),
    )


def why_renew(certificate: x509.Certificate, authority: x509.Certificate, names: Names, now: datetime) -> str | None:
    """Return why there must be a new certificate, in words; None if this one is still good."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return "it is of another authority"
    if now < certificate.not_valid_before_utc:
        return f"it begins at {certificate.not_valid_before_utc:%Y-%m-%d}"
    if certificate.not_valid_after_utc - now < timedelta(days=RENEW_DAYS):
        return f"it ends at {certificate.not_valid_after_utc:%Y-%m-%d}"
    missing = lacking(certificate, names)
    return f"it lacks {missing}" if missing.hosts or missing.addresses else None


def lacking(certificate: x509.Certificate, names: Names) -> Names:
    """Return the names that a certificate is not for."""
    has = names_in(certificate)
    return Names(
        tuple(each for each in names.hosts if each not in has.hosts),
        tuple(each for each in names.addresses if each not in has.addresses),
    )


def names_in(certificate: x509.Certificate) -> Names:
    """Return what a certificate is for. Raises ValueError."""
    try:
        shown = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Names((), ())
    addresses = shown.get_values_for_type(x509.IPAddress)
    found = tuple(each for each in addresses if isinstance(each, IPv4Address | IPv6Address))
    return Names(tuple(shown.get_values_for_type(x509.DNSName)), found)


def permitted_by(authority: x509.Certificate) -> tuple[tuple[str, ...], tuple[IPv4Network | IPv6Network, ...]]:
    """Return the domains and the networks that an authority can sign for. Raises ValueError."""
    try:
        subtrees = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except x509.ExtensionNotFound:
        subtrees = None
    domains = (each.value for each in subtrees or () if isinstance(each, x509.DNSName))
    networks = (each.value for each in subtrees or () if isinstance(each, x509.IPAddress))
    return tuple(domains), tuple(each for each in networks if isinstance(each, IPv4Network | IPv6Network))


def valid_hosts(given: Iterable[str]) -> tuple[str, ...]:
    """Return the names that DNS allows, in small letters, each once."""
    small = dict.fromkeys(each.lower().rstrip(".") for each in given)
    return tuple(filter(_is_host, small))


def _is_host(name: str) -> bool:
    return len(name) <= _NAME_MAX_CHARS and all(map(_LABEL.fullmatch, name.split(".")))


def _begun(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "NeuroOne"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )

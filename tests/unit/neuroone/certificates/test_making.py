"""The authority and the certificates, judged by OpenSSL and by Python's TLS, which is OpenSSL's too."""

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from neuroone.certificates import making
from neuroone.certificates.making import Damaged, Names, Pair

NOW = datetime(2026, 11, 26, 16, 0, tzinfo=UTC)
LAB = Names(
    ("lab.local", "lab", "localhost"), (ip_address("192.168.0.10"), ip_address("127.0.0.1"), ip_address("fd00::2"))
)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return making.new_authority(LAB, NOW)


def verified(authority: Pair, pair: Pair, folder: Path, *words: str) -> bool:
    """Ask OpenSSL whether a certificate is good for a server."""
    (folder / "ca.crt").write_bytes(making.pem_of(authority.certificate))
    (folder / "server.crt").write_bytes(making.pem_of(pair.certificate))
    command = ["openssl", "verify", "-attime", str(int(NOW.timestamp())), "-purpose", "sslserver", "-x509_strict"]
    command += ["-CAfile", str(folder / "ca.crt"), *words, str(folder / "server.crt")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "is_good"),
    [
        (["-verify_ip", "192.168.0.10"], True),
        (["-verify_ip", "fd00::2"], True),
        (["-verify_hostname", "lab.local"], True),
        (["-verify_hostname", "lab"], True),
        (["-verify_ip", "192.168.0.11"], False),
        (["-verify_hostname", "school.example"], False),
    ],
)
def test_openssl_accepts_the_certificate_for_its_names_alone(authority, tmp_path: Path, words, is_good):
    pair = making.new_certificate(authority, LAB, NOW)
    assert verified(authority, pair, tmp_path, *words) is is_good


@pytest.mark.parametrize(
    "names",
    [
        Names(("bank.example",), ()),
        Names(("lab.local", "bank.example"), ()),
        Names((), (ip_address("203.0.113.9"),)),
        Names((), (ip_address("2001:db8::1"),)),
    ],
    ids=str,
)
def test_the_authority_can_vouch_for_no_stranger(authority, tmp_path: Path, names):
    """Not even whoever has its key can make a certificate that OpenSSL accepts."""
    assert making.signable(names, authority.certificate)[1] != Names((), ())
    assert not verified(authority, making.new_certificate(authority, names, NOW), tmp_path)


def test_a_machine_with_a_public_address_gets_a_certificate_for_that_one_alone(tmp_path: Path):
    names = Names(("lab.local",), (ip_address("203.0.113.9"),))
    of_university = making.new_authority(names, NOW)
    assert verified(
        of_university, making.new_certificate(of_university, names, NOW), tmp_path, "-verify_ip", "203.0.113.9"
    )
    assert making.signable(Names((), (ip_address("203.0.113.10"),)), of_university.certificate)[0] == Names((), ())


def test_the_authority_cannot_make_another_authority(authority):
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_how_long_they_are_valid(authority):
    """A certificate does not outlive its authority."""
    certificate = making.new_certificate(authority, LAB, NOW).certificate
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= 397 * DAY
    last = authority.certificate.not_valid_after_utc
    assert last - NOW == 3651 * DAY
    assert making.new_certificate(authority, LAB, last - 100 * DAY).certificate.not_valid_after_utc == last


@pytest.mark.parametrize(
    ("names", "now", "why"),
    [
        (LAB, NOW, None),
        (LAB, NOW + 360 * DAY, None),
        (LAB, NOW + 367 * DAY, "it ends at 2027-12-27"),
        (LAB, NOW + 500 * DAY, "it ends at 2027-12-27"),
        (LAB, NOW - 2 * DAY, "it begins at 2026-11-25"),
        (Names(("lab.local",), ()), NOW, None),
        (
            Names(("room2.local",), (ip_address("192.168.0.11"), ip_address("192.168.0.10"))),
            NOW,
            "it lacks room2.local, 192.168.0.11",
        ),
    ],
)
def test_when_there_must_be_a_new_one(authority, names, now, why):
    """Names that are gone are no reason: a network that comes and goes would make one each time."""
    certificate = making.new_certificate(authority, LAB, NOW).certificate
    assert making.why_renew(certificate, authority.certificate, names, now) == why


def test_a_certificate_of_another_authority_is_replaced(authority):
    other = making.new_certificate(making.new_authority(LAB, NOW), LAB, NOW).certificate
    assert making.why_renew(other, authority.certificate, LAB, NOW) == "it is of another authority"


@pytest.mark.parametrize("name", ["sala de aula", "-lab", "lab_1", "é", "a" * 64, ".", "", "x." * 130 + "local"])
def test_names_that_dns_does_not_allow_are_left_out(name):
    assert making.valid_hosts((name, "LAB.Local.", "lab.local")) == ("lab.local",)


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_with_its_key_is_damaged(authority, content):
    half = authority.pem()[: len(authority.pem()) // 2]
    for each in (content, half, making.pem_of(authority.certificate), content + authority.pem()[:240]):
        with pytest.raises(making.Damaged):
            making.parse(each)
    swapped = authority.pem().split(b"-----BEGIN CERT")[0] + making.pem_of(making.new_authority(LAB, NOW).certificate)
    with pytest.raises(making.Damaged, match="the key is not that of the certificate"):
        making.parse(swapped)


@pytest.mark.parametrize(
    ("clock", "past", "believed"),
    [
        (NOW, (), NOW),
        (datetime(1970, 1, 1, tzinfo=UTC), (), making.FIRST_MOMENT),
        (datetime(1970, 1, 1, tzinfo=UTC), (NOW,), NOW),
        (datetime(2099, 1, 1, tzinfo=UTC), (NOW, NOW - DAY), NOW),
    ],
)
def test_a_clock_that_cannot_be_right_is_not_believed(clock, past, believed):
    assert making.believable(clock, *past) == believed


def test_a_file_with_any_changed_byte_is_damaged_or_good():
    """Whatever the library says of it: `neuroone up` reads its files while a lesson runs, and must not end."""
    authority = making.new_authority(LAB, NOW)
    key, certificate = authority.pem().split(b"-----END PRIVATE KEY-----\n")
    whole = {b"PRIVATE KEY": _der(key + b"-----END PRIVATE KEY-----\n"), b"CERTIFICATE": _der(certificate)}
    found = set()
    for label, der in whole.items():
        for at in range(len(der)):
            changed = bytearray(der)
            changed[at] ^= 1 + at % 2 * 127
            try:
                making.parse(b"".join(_pem(each, bytes(changed) if each == label else whole[each]) for each in whole))
            except Damaged as fault:
                found.add(str(fault))
    assert len(found) > 3


def test_a_certificate_that_ends_before_it_begins_is_damaged():
    pair = making.new_authority(LAB, NOW)
    ends = f"{pair.certificate.not_valid_after_utc:%y%m%d}".encode()
    der = _der(making.pem_of(pair.certificate)).replace(ends, b"20" + ends[2:])
    key = pair.pem().split(b"-----BEGIN CERTIFICATE-----")[0]
    with pytest.raises(Damaged, match="before it begins"):
        making.parse(key + _pem(b"CERTIFICATE", der))


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.split(b"\n")[1:-2]))


def _pem(label: bytes, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, base64.encodebytes(der), label)

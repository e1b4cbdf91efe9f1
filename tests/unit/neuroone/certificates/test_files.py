"""The folder of the authority and the certificate: made once, renewed, damaged, with a clock that is wrong."""

import os
import ssl
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from neuroone.certificates import machine, making
from neuroone.certificates.files import CertificateFault, CertificateFiles
from neuroone.certificates.making import Names

NOW = datetime(2026, 11, 26, 16, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LAB = Names(("lab.local",), (ip_address("192.168.0.10"),))
MOVED = Names(("lab.local",), (ip_address("192.168.0.77"),))


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    made = CertificateFiles(tmp_path / "D" / ".tls")
    made.refresh(LAB, NOW)
    return made


def content(files: CertificateFiles) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in files.folder.iterdir()}


def shown(files: CertificateFiles) -> Names:
    return making.names_in(making.parse(files.server.read_bytes()).certificate)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_belongs_to_the_owner_of_the_recordings(tmp_path: Path):
    """A server that was started once with sudo starts without it too."""
    os.chown(tmp_path, 1234, 1234)
    made = CertificateFiles(tmp_path / ".tls")
    made.refresh(LAB, NOW)
    assert {each.stat().st_uid for each in (made.folder, *made.folder.iterdir())} == {1234}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
def test_nobody_else_may_read_a_key(files):
    files.folder.chmod(0o755)
    files.refresh(LAB, NOW)
    assert files.folder.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in files.folder.iterdir()} == {0o600}


def test_nothing_changes_while_nothing_must(files):
    before = content(files)
    files.refresh(LAB, NOW + 300 * DAY)
    CertificateFiles(files.folder).refresh(LAB, NOW + 300 * DAY)
    assert content(files) == before
    assert set(before) == {"authority.pem", "ca.crt", "server.pem"}


@pytest.mark.parametrize(("names", "now"), [(MOVED, NOW), (LAB, NOW + 380 * DAY)])
def test_a_renewal_leaves_the_authority(files, names, now):
    """No device has to trust anything anew."""
    before = content(files)
    files.refresh(names, now)
    after = content(files)
    assert {name for name in before if before[name] != after[name]} == {"server.pem"}
    assert shown(files) == names
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.server)


@pytest.mark.parametrize("damage", [b"", b"x", None, "half"])
@pytest.mark.parametrize("name", ["server.pem", "ca.crt"])
def test_what_can_be_made_anew_is_made_anew(files, name, damage):
    before = content(files)
    file = files.folder / name
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(before[name][: len(before[name]) // 2] if damage == "half" else damage)
    CertificateFiles(files.folder).refresh(LAB, NOW)
    assert (files.folder / "ca.crt").read_bytes() == before["ca.crt"]
    assert content(files)["authority.pem"] == before["authority.pem"]
    assert shown(files) == LAB


@pytest.mark.parametrize("damage", [b"", b"x", None, "half"])
def test_a_damaged_authority_is_said_and_not_replaced(files, caplog, damage):
    """The certificate is served on; without one there is nothing to serve, and the words say what to do."""
    authority = files.authority.read_bytes()
    if damage is None:
        files.authority.unlink()
    else:
        files.authority.write_bytes(authority[: len(authority) // 2] if damage == "half" else damage)
    before = content(files)
    again = CertificateFiles(files.folder)
    caplog.clear()
    for _ in range(3):
        again.refresh(MOVED, NOW)
    assert content(files) == before
    assert len(caplog.records) == 1
    assert "every device must trust it anew" in caplog.text
    files.server.unlink()
    with pytest.raises(CertificateFault, match=r"authority\.pem cannot be used .*delete .*\.tls"):
        CertificateFiles(files.folder).refresh(LAB, NOW)


def test_a_certificate_whose_authority_is_gone_gets_no_other_authority(files):
    files.authority.unlink()
    files.public.unlink()
    before = content(files)
    CertificateFiles(files.folder).refresh(MOVED, NOW)
    assert content(files) == before


@pytest.mark.parametrize("what", ["authority.pem", "everything"])
def test_an_authority_that_disappears_while_the_program_runs_is_written_again(files, what):
    before = content(files)
    for each in files.folder.iterdir():
        if what in (each.name, "everything"):
            each.unlink()
    if what == "everything":
        files.folder.rmdir()
    files.refresh(LAB, NOW)
    after = content(files)
    assert [after[name] for name in ("authority.pem", "ca.crt")] == [before[n] for n in ("authority.pem", "ca.crt")]


def test_a_half_written_file_of_a_crash_does_no_harm(files):
    (files.folder / "server.pem.new").write_bytes(b"half")
    files.refresh(MOVED, NOW)
    assert set(content(files)) == {"authority.pem", "ca.crt", "server.pem"}


@pytest.mark.parametrize("clock", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)])
def test_a_clock_that_cannot_be_right_is_said_and_survived(tmp_path: Path, caplog, clock):
    """What is made meanwhile is valid in 2026; when the clock is right, there is a new certificate."""
    files = CertificateFiles(tmp_path / ".tls")
    for _ in range(2):
        files.refresh(LAB, clock)
    assert sum("which cannot be: set it" in each.message for each in caplog.records) == 1
    assert making.parse(files.authority.read_bytes()).certificate.not_valid_before_utc == making.FIRST_MOMENT - DAY
    public = files.public.read_bytes()
    files.refresh(LAB, NOW + 600 * DAY)
    renewed = making.parse(files.server.read_bytes()).certificate
    assert renewed.not_valid_before_utc == NOW + 599 * DAY
    assert files.public.read_bytes() == public


@pytest.mark.parametrize("clock", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)])
def test_a_clock_that_goes_wrong_later_changes_no_certificate(files, clock):
    before = content(files)
    files.refresh(LAB, clock)
    assert content(files) == before
    files.refresh(MOVED, clock)
    moved = making.parse(files.server.read_bytes()).certificate
    assert moved.not_valid_before_utc <= NOW <= moved.not_valid_after_utc


def test_an_authority_that_has_ended_is_said_and_not_replaced(files, caplog):
    before = content(files)
    files.refresh(LAB, NOW + 3700 * DAY)
    assert content(files) == before
    assert "If it is right, delete" in caplog.text
    files.server.unlink()
    with pytest.raises(CertificateFault, match="If it is right, delete"):
        files.refresh(LAB, NOW + 3700 * DAY)


def test_a_clock_before_the_authority_is_said_and_survived(files, caplog):
    """It was set back, or the authority was made under a clock that was ahead."""
    files.refresh(LAB, NOW - 100 * DAY)
    assert "If the clock is wrong, set it" in caplog.text
    files.server.unlink()
    files.refresh(LAB, NOW - 100 * DAY)
    made = making.parse(files.server.read_bytes()).certificate
    assert made.not_valid_before_utc <= NOW <= made.not_valid_after_utc


def test_addresses_that_the_authority_cannot_sign_for_are_left_out_and_said_once(files, caplog):
    caplog.clear()
    names = Names(("lab.local", "lab.school.example"), (ip_address("203.0.113.9"), ip_address("10.1.2.3")))
    for _ in range(2):
        files.refresh(names, NOW)
    assert shown(files) == Names(("lab.local",), (ip_address("10.1.2.3"),))
    assert sum("is not for lab.school.example, 203.0.113.9" in each.message for each in caplog.records) == 1


def test_this_machine_has_names_and_addresses():
    names = machine.names()
    assert "localhost" in names.hosts
    assert any(each.endswith(".local") for each in names.hosts)
    assert ip_address("127.0.0.1") in names.addresses

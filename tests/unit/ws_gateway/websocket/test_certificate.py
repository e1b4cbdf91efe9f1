"""The certificate that the gateway shows, read from files that others renew."""

import errno
import os
import ssl
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from neuroone.certificates import making
from neuroone.contract.errors import SettingsError
from neuroone.service import private_files
from tests.support.certificates import made_in
from tests.support.waiting import wait_for
from ws_gateway.websocket.certificate import Authority, Certificate, CertificateFault, of_settings


def test_it_is_known_when_the_certificate_ends(tmp_path: Path):
    files = made_in(tmp_path)
    expected = making.parse(files.server.read_bytes()).certificate.not_valid_after_utc.timestamp()
    https = of_settings(8443, files.server, None, files.public)
    assert https.left_s(time.time()) == pytest.approx(expected - time.time(), abs=5)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"x" * 2_000_000, None],
    ids=["empty", "other bytes", "no certificate", "too long", "gone"],
)
def test_a_damaged_renewal_is_logged_once_and_the_old_certificate_stays(tmp_path: Path, caplog, content):
    files = made_in(tmp_path)
    certificate = Certificate(files.server, files.server)
    context = certificate.context()
    caplog.clear()
    whole = files.server.read_bytes()
    if content is None:
        files.server.unlink()
    else:
        files.server.write_bytes(content)
    for _ in range(3):
        certificate.refresh()
    assert certificate.faults == len(caplog.records) == 1
    assert certificate.context() is context
    files.server.write_bytes(whole)
    certificate.refresh()
    assert certificate.context() is not context
    assert certificate.faults == 1


def test_no_client_makes_the_gateway_shake_hands_again(tmp_path: Path):
    """It costs a hundred times what it costs the client, and OpenSSL 1.1.1 allows it."""
    files = made_in(tmp_path)
    assert Certificate(files.server, files.server).context().options & ssl.OP_NO_RENEGOTIATION


def test_a_key_of_another_certificate_is_a_fault(tmp_path: Path):
    first, second = made_in(tmp_path / "1"), made_in(tmp_path / "2")
    with pytest.raises(CertificateFault, match="no certificate with its key"):
        Certificate(first.public, second.server)


def test_a_key_with_a_password_asks_nobody_for_it(tmp_path: Path):
    files = made_in(tmp_path)
    pair = making.parse(files.server.read_bytes())
    locked = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    files.server.write_bytes(locked + making.pem_of(pair.certificate))
    with pytest.raises(CertificateFault):
        Certificate(files.server, files.server)


@pytest.mark.parametrize("given", [(8443, None, None), (None, "server.pem", None), (None, None, "server.pem")])
def test_port_and_certificate_need_each_other(tmp_path: Path, given):
    port, file, key_file = given
    with pytest.raises(SettingsError, match="each needs the other"):
        of_settings(port, file and tmp_path / file, key_file and tmp_path / key_file, None)


def test_a_file_that_cannot_be_used_is_named_at_the_start(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"--tls-cert: .*none cannot be read \(No such file"):
        of_settings(8443, tmp_path / "none", None, None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", None)], ids=["a folder", "a pipe"])
def test_what_is_no_file_is_a_fault_and_holds_nobody_up(tmp_path: Path, make):
    """Nobody may ever write to a pipe, and the gateway looks at its files between two readings."""
    files = made_in(tmp_path / "tls")
    certificate, authority = Certificate(files.server, files.server), Authority(files.public)
    for file in (files.server, files.public):
        file.unlink()
        make(file)
    certificate.refresh()
    authority.refresh()
    assert (certificate.faults, authority.pem) == (1, None)
    with pytest.raises(CertificateFault, match="cannot be read"):
        Certificate(files.server, files.server)


def test_a_renewal_that_may_be_read_only_later_is_used_then(tmp_path: Path, monkeypatch):
    """Who copies a certificate as root gives it to the gateway a moment later, and its time of writing stays."""
    files, new = made_in(tmp_path / "old"), made_in(tmp_path / "new")
    certificate = Certificate(files.server, files.server)
    context = certificate.context()
    with monkeypatch.context() as forbidden:
        forbidden.setattr(private_files, "read", _forbid)
        files.server.write_bytes(new.server.read_bytes())
        certificate.refresh()
    assert (certificate.faults, certificate.context()) == (1, context)

    def is_used_once_it_may_be_read() -> bool:
        files.server.chmod(0o640)
        certificate.refresh()
        return certificate.context() is not context

    wait_for(is_used_once_it_may_be_read, "new certificate")


def _forbid(file: Path, most_bytes: int) -> bytes:
    raise PermissionError(errno.EACCES, "Permission denied", str(file))


def test_only_the_certificate_of_an_authority_is_shown(tmp_path: Path):
    """Whatever else is in the file, a key above all, goes to nobody."""
    files = made_in(tmp_path)
    authority = Authority(files.authority)
    assert b"PRIVATE KEY" in files.authority.read_bytes()
    assert authority.pem == ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(files.public.read_text())).encode()


def test_comments_in_any_language_do_no_harm(tmp_path: Path):
    """OpenSSL writes the names of owners above a certificate."""
    files = made_in(tmp_path)
    for file in (files.server, files.public):
        file.write_bytes("friendlyName: Escola São João\n".encode() + b"\xff\n" + file.read_bytes())
    https = of_settings(8443, files.server, None, files.public)
    assert (https.left_s(0.0) or 0) > 0
    assert https.authority.pem is not None


def test_an_authority_may_come_later_and_go(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "later.crt"
    authority = Authority(file)
    assert (authority.pem, caplog.messages) == (None, [])
    file.write_bytes(made_in(tmp_path / "tls").public.read_bytes())
    authority.refresh()
    assert authority.pem is not None
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    authority.refresh()
    assert authority.pem is None
    assert "shows no certificate" in caplog.text

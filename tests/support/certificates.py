"""Certificates for this machine, made as `neuroone up --tls` makes them."""

import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from neuroone.certificates.files import CertificateFiles
from neuroone.certificates.making import Names

HERE = Names(("test.local", "localhost"), (ip_address("127.0.0.1"), ip_address("::1")))


def made_in(folder: Path, names: Names = HERE) -> CertificateFiles:
    """Make an authority and a certificate in a folder."""
    files = CertificateFiles(folder)
    files.refresh(names, datetime.now(UTC))
    return files


def trusting(files: CertificateFiles) -> ssl.SSLContext:
    """Return what a client needs that trusts this authority and no other."""
    return ssl.create_default_context(cafile=files.public)

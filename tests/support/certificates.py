"""Certificates for TLS between two of us, made by OpenSSL: an authority, and what it signed for 127.0.0.1."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Signed:
    """Files, PEM: the authority's certificate, and a certificate of its own with its key."""

    ca: Path
    certificate: Path
    key: Path

    def server(self, client_certificate: bool = False) -> ssl.SSLContext:
        """How a server of this certificate speaks."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        context.load_cert_chain(self.certificate, self.key)
        context.verify_mode = ssl.CERT_REQUIRED if client_certificate else ssl.CERT_NONE
        return context


def signed(folder: Path) -> Signed:
    """A new authority and what it signed; skips where OpenSSL is not there."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    of_curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    _openssl(folder, "req", "-x509", *of_curve, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    by = ("-CA", "ca.pem", "-CAkey", "ca.key")
    _openssl(folder, "req", "-x509", *of_curve, *names, *by, "-keyout", "key.pem", "-out", "certificate.pem")
    return Signed(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

"""DICOM TLS of the acceptor (PS3.15 B.12, BCP 195 profile)."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(cert: Path, key: Path | None, ca: Path | None) -> ssl.SSLContext:
    """Return the TLS context of the DICOM port: TLS 1.2 or newer; with ``ca``, clients need a certificate of it.

    Raises OSError or ssl.SSLError for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    if ca is not None:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context

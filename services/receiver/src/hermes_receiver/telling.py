"""What the receiver says of itself to who asks: how it is called, the disk of its spool, the end of its certificate."""

from __future__ import annotations

import os
from pathlib import Path

from hermes_common.runtime.health import Health
from hermes_receiver.settings import Settings


def tell(health: Health, settings: Settings) -> None:
    """Add it to what the process reports."""
    health.words["dicom_aet"] = settings.dicom_aet
    if settings.dicom_plain and settings.dicom_port:
        health.words["dicom_port"] = str(settings.dicom_port)
    health.measure("spool_disk_total", lambda: _disk(settings.spool)[0])
    health.measure("spool_disk_free", lambda: _disk(settings.spool)[1])
    health.measure("spool_limit", lambda: settings.spool_max_bytes)
    certificate = settings.dicom_tls_cert
    if certificate is not None:
        health.words["dicom_tls_port"] = str(settings.dicom_tls_port)
        health.measure("dicom_tls_certificate_ends", lambda: certificate_ends(certificate))


def _disk(folder: Path) -> tuple[int, int]:
    space = os.statvfs(folder)
    return space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize


def certificate_ends(file: Path) -> float:
    """Return when the first certificate of a PEM file ends, in seconds since 1970; OSError if it cannot be read."""
    from cryptography import x509  # only where there is TLS

    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()
    except ValueError as error:
        raise OSError(f"{file} holds no certificate") from error

"""The check of DICOM TLS: the certificate file, its key, and what the port shows (PS3.15 B.12)."""

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hermes_cli.doctor.finding import Finding, fail, ok, since, warn
from hermes_cli.doctor.site import Site

SOON = timedelta(days=30)
"""A certificate that ends sooner is a warning."""
LIMIT = 5.0
"""Seconds that connection and handshake may take each."""
_NAME = "dicom tls"


def check_tls(site: Site) -> list[Finding]:
    """DICOM TLS, where a certificate says that there is to be any."""
    said = site.environment.get("HERMES_DICOM_TLS_CERT", "")
    if not said:
        return [ok(_NAME, "off (HERMES_DICOM_TLS_CERT is not set)")]
    path = Path(said)
    try:
        leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError) as problem:
        advice = "HERMES_DICOM_TLS_CERT has to name a PEM file with the certificate, then its chain."
        return [fail(_NAME, f"{path}: {problem}", advice)]
    findings = [judge_dates(path, leaf, datetime.now(UTC))]
    key = site.environment.get("HERMES_DICOM_TLS_KEY") or None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, key, password=lambda: "")
    except (OSError, ValueError) as problem:
        advice = "HERMES_DICOM_TLS_KEY has to name the PEM key of this certificate, without a password."
        findings.append(fail(_NAME, f"{key or path} is not the key of {path}: {problem}", advice))
    return [*findings, _port(site, path, leaf)]


def judge_dates(path: Path, leaf: x509.Certificate, now: datetime) -> Finding:
    """Return what to say of the time for which a certificate holds."""
    end, begin = leaf.not_valid_after_utc, leaf.not_valid_before_utc
    renew = "Put a new certificate into the file: the receiver reads it within seconds, without a restart."
    if now >= end:
        return fail(_NAME, f"{path} ended on {end:%Y-%m-%d}: senders refuse it", renew)
    if now < begin:
        return fail(_NAME, f"{path} holds only from {begin:%Y-%m-%d %H:%M} UTC on", "Look at the clock, or wait.")
    if end - now < SOON:
        return warn(_NAME, f"{path} ends on {end:%Y-%m-%d}, in {(end - now).days} days", renew)
    return ok(_NAME, f"{path} holds until {end:%Y-%m-%d} ({leaf.subject.rfc4514_string()})")


def _port(site: Site, path: Path, leaf: x509.Certificate) -> Finding:
    host = site.environment.get("HERMES_DICOM_HOST", "127.0.0.1")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    port = int(site.environment.get("HERMES_DICOM_TLS_PORT") or 2762)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is compared with the file, byte for byte
    started = time.monotonic()
    try:
        with (
            socket.create_connection((host, port), LIMIT) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            shown, version = secure.getpeercert(binary_form=True), secure.version()
    except OSError as problem:
        advice = "Start the receiver; its log names the file if it cannot use one. HERMES_DICOM_TLS_PORT is its port."
        return fail(_NAME, f"{host}:{port}: {problem}", advice)
    if shown != leaf.public_bytes(Encoding.DER):
        advice = (
            "Changed files are taken into use within 5 s if they fit each other; the log of the receiver says why not."
        )
        return warn(_NAME, f"{host}:{port} shows another certificate than the one in {path}", advice)
    return ok(_NAME, f"{host}:{port} answers with {version}", since(started))

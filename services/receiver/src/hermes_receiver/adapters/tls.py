"""DICOM TLS of the acceptor: the BCP 195 profile (PS3.15 B.12; RFC 9325), with certificates that can be exchanged while
it runs.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from hermes_common.runtime.errors import UnusableSettingsError

log = logging.getLogger(__name__)

SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""Cipher suites for TLS 1.2; those of TLS 1.3 are all allowed by the profile."""

_LOOK: Final = timedelta(seconds=5)


class Clients(StrEnum):
    """Whether those who connect have to show a certificate of the authority."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


_VERIFY: Final = {
    Clients.NONE: ssl.CERT_NONE,
    Clients.OPTIONAL: ssl.CERT_OPTIONAL,
    Clients.REQUIRED: ssl.CERT_REQUIRED,
}


class CertificateError(UnusableSettingsError):
    """A certificate, key or authority file cannot be used; the message names the file and the reason."""


def server_context(cert: Path, key: Path | None, ca: Path | None, clients: Clients) -> ssl.SSLContext:
    """Return the TLS context of the DICOM port; raises :class:`CertificateError`."""
    if clients is not Clients.NONE and ca is None:
        raise CertificateError(f"client certificates are {clients}, but HERMES_DICOM_TLS_CA names no authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(SUITES))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _check_readable(cert, key, ca)
    try:
        context.load_cert_chain(cert, key, password=_refuse_passwords)
    except (ssl.SSLError, OSError) as exc:
        where = str(cert) if key is None else f"{cert} and {key}"
        raise CertificateError(f"{where} are not a PEM certificate and its key ({_words(exc)})") from exc
    except ValueError as exc:
        raise CertificateError(
            f"the key {key if key is not None else cert} asks for a password: store it without"
        ) from exc
    if ca is not None and clients is not Clients.NONE:
        try:
            context.load_verify_locations(ca)
        except (ssl.SSLError, OSError) as exc:
            raise CertificateError(f"{ca} holds no PEM certificates of authorities ({_words(exc)})") from exc
    context.verify_mode = _VERIFY[clients]
    return context


def client_context(cert: Path | None, key: Path | None, ca: Path | None) -> ssl.SSLContext:
    """Return the TLS context of an association that we ask for; raises :class:`CertificateError`.

    With authorities of the house a certificate of theirs is enough (nodes are known by them); with those of the system
    it has to name the host that is called.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(SUITES))
    context.check_hostname = ca is None
    _check_readable(*filter(None, (cert, key, ca)))
    try:
        if cert is not None:
            context.load_cert_chain(cert, key, password=_refuse_passwords)
        if ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca)
    except (ssl.SSLError, OSError, ValueError) as exc:
        raise CertificateError(f"the TLS files of the receiver cannot be used: {exc}") from exc
    return context


def _refuse_passwords() -> str:
    raise ValueError("password")


def _check_readable(*files: Path | None) -> None:
    for file in files:
        if file is None:
            continue
        try:
            with file.open("rb"):
                pass
        except OSError as exc:
            raise CertificateError(f"{file} cannot be read: {exc.strerror}") from exc


def _words(exc: OSError) -> str:
    return str(getattr(exc, "reason", None) or exc.strerror or exc)


class Certificates:
    """The TLS context of the port, made anew when its files change. Bad new files change nothing, and are reported."""

    def __init__(self, cert: Path, key: Path | None, ca: Path | None, clients: Clients) -> None:
        self._files = (cert, key, ca)
        self._clients = clients
        self._context = server_context(cert, key, ca, clients)
        self._seen = self._stamps()
        self._problem: str | None = None

    def wrap_socket(self, sock: socket.socket) -> ssl.SSLSocket:
        """Return ``sock`` as the server side of TLS, before its handshake."""
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def problem(self) -> str | None:
        """Say why changed files are not in use, or None."""
        return self._problem

    async def run(self) -> None:
        """Look at the files every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK.total_seconds())
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take changed files into use; connections that stand keep what they have."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._context = server_context(*self._files, self._clients)
        except CertificateError as exc:
            self._problem = f"the changed TLS files are not in use: {exc}"
            log.error("%s", self._problem)
            return
        self._problem = None
        log.info("the TLS certificate %s was read again", self._files[0])

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        stamps = []
        for file in self._files:
            try:
                found = file.stat() if file is not None else None
            except OSError:
                found = None
            stamps.append((found.st_mtime_ns, found.st_ino) if found is not None else (0, 0))
        return tuple(stamps)


def peer_subject(sock: socket.socket) -> str:
    """Return the subject of the verified certificate of the peer, as ``CN=...,O=...``; empty without one."""
    certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    if not certificate:
        return ""
    names = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}
    groups: Any = certificate.get("subject", ())
    parts = [(str(name), str(value)) for group in groups for name, value in group]
    return ",".join(f"{names.get(name, name)}={value}" for name, value in parts)[:400]


def protocol_of(sock: socket.socket) -> str:
    """Return the version and cipher suite of a TLS connection, such as ``TLSv1.3 TLS_AES_256_GCM_SHA384``, or empty."""
    if not isinstance(sock, ssl.SSLSocket):
        return ""
    cipher = sock.cipher()
    return f"{sock.version()} {cipher[0]}" if cipher is not None else str(sock.version())

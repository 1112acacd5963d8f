"""Settings of the receiver, from the environment (prefix ``HERMES_``)."""

from __future__ import annotations

import os
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from hermes_common.durations import Duration
from hermes_common.ids import AeTitle
from hermes_common.runtime.settings import ObjectStoreSettings, RuntimeSettings
from hermes_receiver.adapters.tls import Certificates, Clients, client_context
from hermes_receiver.core.limits import Ack, Limits

_DEFAULT = Limits()


class Settings(RuntimeSettings, ObjectStoreSettings):
    """Where to listen, where to spool, and the limits. Object store: ``HERMES_OBJECT_STORE``, ``HERMES_S3_*``."""

    dicom_host: str = "0.0.0.0"
    dicom_port: Annotated[int, Field(ge=0, le=65535)] = 11112
    """0 takes any free port and logs it."""
    dicom_plain: bool = True
    """Whether the plain port is open."""
    dicom_aet: AeTitle = "HERMES"
    dicom_tls_port: Annotated[int, Field(ge=0, le=65535)] = 2762
    """Port of DICOM TLS, beside the plain one; open when there is a certificate. 0 takes any free port and logs it."""
    dicom_tls_cert: Path | None = None
    """PEM certificate chain."""
    dicom_tls_key: Path | None = None
    """PEM private key without a password; None if it is in the file of the certificate."""
    dicom_tls_ca: Path | None = None
    """PEM certificates of the authorities of the client certificates."""
    dicom_tls_clients: Clients | None = None
    """Whether clients need a certificate: none, optional, required. Unset: required if there are authorities."""
    dicomweb_host: str = "127.0.0.1"
    dicomweb_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port of STOW-RS; unset: none. 0 takes any free port and logs it."""
    dicomweb_tls: bool = False
    """Whether that port is HTTPS, with the certificate of DICOM TLS."""
    dicomweb_connections: Annotated[int, Field(ge=1, le=2000)] = 64
    dicom_require_called_aet: bool = False
    """Refuse associations that call another AE title than ours."""
    mpps: bool = True
    """Whether performed procedure steps (MPPS) are taken, from those sources whose entry does not say no."""
    spool: Path
    """Folder on a local disk, for this receiver alone."""
    spool_max_bytes: Annotated[int, Field(gt=0)] = _DEFAULT.spool_bytes
    spool_min_free_bytes: Annotated[int, Field(ge=0)] = _DEFAULT.free_bytes
    spool_grace: Duration = timedelta(minutes=10)
    """How long a spool file stays after it is in the object store."""
    ack: Ack = Ack.SPOOLED
    """``spooled``: Success when the instance is fsynced in the spool; ``stored``: when it is in the object store and
    announced.
    """
    instance_max_bytes: Annotated[int, Field(gt=0)] = _DEFAULT.instance_bytes
    max_associations: Annotated[int, Field(ge=1, le=2000)] = _DEFAULT.associations
    max_associations_per_address: Annotated[int, Field(ge=1)] = _DEFAULT.associations_per_address
    association_idle: Duration = _DEFAULT.idle
    """Silence after which an association is aborted."""
    receiver_workers: Annotated[int, Field(ge=1, le=32)] = min(os.cpu_count() or 1, 4)
    """Processes that receive on the one port."""
    upload_parallel: Annotated[int, Field(ge=1, le=64)] = 4
    extra_tags: tuple[str, ...] = ()
    """More attributes to announce than the default list and the policies name, by this receiver alone: keywords,
    ``(gggg,eeee)``, ``A.B`` paths, as a JSON list."""

    @model_validator(mode="after")
    def _some_port_is_open(self) -> Self:
        if not self.dicom_plain and self.dicom_tls_cert is None:
            raise ValueError("HERMES_DICOM_PLAIN is false and HERMES_DICOM_TLS_CERT is not set: no DICOM port is left")
        if self.dicom_tls_cert is None and (self.dicom_tls_key or self.dicom_tls_ca or self.dicom_tls_clients):
            raise ValueError("HERMES_DICOM_TLS_KEY, _CA and _CLIENTS need HERMES_DICOM_TLS_CERT")
        if self.dicomweb_tls and self.dicom_tls_cert is None:
            raise ValueError("HERMES_DICOMWEB_TLS needs HERMES_DICOM_TLS_CERT")
        return self

    def certificates(self) -> Certificates | None:
        """Return the certificates of the TLS port that is asked for, or None; raises CertificateError."""
        if self.dicom_tls_cert is None:
            return None
        clients = self.dicom_tls_clients
        if clients is None:
            clients = Clients.NONE if self.dicom_tls_ca is None else Clients.REQUIRED
        return Certificates(self.dicom_tls_cert, self.dicom_tls_key, self.dicom_tls_ca, clients)

    def client_tls(self) -> ssl.SSLContext:
        """Return what associations that we ask for show and trust; raises CertificateError."""
        return client_context(self.dicom_tls_cert, self.dicom_tls_key, self.dicom_tls_ca)

    def limits(self) -> Limits:
        """Return the limits that these settings make."""
        return Limits(
            associations=self.max_associations,
            associations_per_address=self.max_associations_per_address,
            idle=self.association_idle,
            instance_bytes=self.instance_max_bytes,
            spool_bytes=self.spool_max_bytes,
            free_bytes=self.spool_min_free_bytes,
        )

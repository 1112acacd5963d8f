"""The six services: how each is started, and what of the site it is told. A service gets what it needs and no other
secret.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from pathlib import Path

from hermes_local.process import Program
from hermes_local.servers.base import HOST, http_status


class Need(Enum):
    """A part of the site that a service is told about."""

    STORE = auto()
    DATABASE = auto()
    DICOM = auto()
    DICOM_ADDRESS = auto()
    SPOOL = auto()
    DICOMWEB = auto()
    HTTP = auto()
    ADMIN = auto()
    SEALING = auto()


@dataclass(frozen=True, slots=True)
class Service:
    """One of our services; `module` is run with `python -m`."""

    name: str
    module: str
    needs: frozenset[Need] = frozenset()


SERVICES = (
    Service(
        "receiver",
        "hermes_receiver",
        frozenset({Need.STORE, Need.DICOM, Need.DICOM_ADDRESS, Need.SPOOL, Need.DICOMWEB}),
    ),
    Service("router", "hermes_router", frozenset({Need.STORE})),
    Service("dispatcher", "hermes_dispatcher", frozenset({Need.STORE, Need.SEALING})),
    Service("cleaner", "hermes_cleaner", frozenset({Need.STORE})),
    Service("bookkeeper", "hermes_bookkeeper", frozenset({Need.DATABASE})),
    Service(
        "web",
        "hermes_web",
        frozenset({Need.DATABASE, Need.HTTP, Need.ADMIN, Need.SEALING, Need.DICOMWEB}),
    ),
)
HEALTH_PORTS = 8081  # receiver, router, ... from here on; the web service answers on its own port
TLS = (
    "HERMES_DICOM_PLAIN",
    "HERMES_DICOM_TLS_PORT",
    "HERMES_DICOM_TLS_CERT",
    "HERMES_DICOM_TLS_KEY",
    "HERMES_DICOM_TLS_CA",
    "HERMES_DICOM_TLS_CLIENTS",
)
OIDC_SECRETS = ("HERMES_OIDC_CLIENT_SECRET", "HERMES_OIDC_CLIENT_SECRET_FILE")
MANAGED = (
    *(
        "HERMES_HOME",
        "HERMES_VENV",
        "HERMES_ROOT",
        "HERMES_PYTHON",
        "HERMES_NATS_URL",
        "HERMES_DATABASE_URL",
        "HERMES_OBJECT_STORE",
    ),
    *(
        "HERMES_S3_ENDPOINT",
        "HERMES_S3_ACCESS_KEY",
        "HERMES_S3_SECRET_KEY",
        "HERMES_S3_BUCKET",
        "HERMES_S3_REGION",
        "HERMES_S3_SECURE",
    ),
    *(
        "HERMES_DICOM_HOST",
        "HERMES_DICOM_PORT",
        "HERMES_DICOM_AET",
        *TLS,
        "HERMES_SPOOL",
        "HERMES_DICOMWEB_HOST",
        "HERMES_DICOMWEB_PORT",
        "HERMES_DICOMWEB_URL",
        "HERMES_HTTP_HOST",
        "HERMES_HTTP_PORT",
    ),
    *("HERMES_ADMIN_USER", "HERMES_ADMIN_PASSWORD", "HERMES_ADMIN_TOKEN", "HERMES_SECRET_KEY", "HERMES_LOG_FORMAT"),
    *("HERMES_HEALTH_HOST", "HERMES_HEALTH_PORT", "HERMES_STORE_FOLDER", *OIDC_SECRETS),
)


@dataclass(slots=True)
class Site:
    """Where everything is, and the secrets that go with it. `nats_url` gives the address for a user of the bus."""

    nats_url: Callable[[str], str]
    database_url: str
    object_store: Mapping[str, str]
    dicom_host: str
    dicom_port: int
    dicom_aet: str
    http_host: str
    http_port: int
    spool: Path
    admin_user: str
    admin_password: str
    admin_token: str
    secret_key: str
    dicomweb_host: str = HOST
    dicomweb_port: int = 0
    """Port of the receiver for STOW-RS; 0 is none."""
    store_folder: Path | None = None
    """A folder on the disk on which the object store lies, if that is on this machine."""
    log_format: str = "json"
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def web_address(self) -> str:
        """Where a browser on this machine finds the web page."""
        host = reachable(self.http_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.http_port}"

    @property
    def dicom_address(self) -> str:
        """What a sender needs to know: AE title, host and port."""
        return f"{self.dicom_aet}@{self.dicom_host}:{self.dicom_port}"


def environment_of(service: Service, site: Site, health_port: int) -> dict[str, str]:
    """The environment of one service: the launcher's own without our variables, then what this service needs of the
    site.
    """
    result = {name: value for name, value in site.given.items() if name not in MANAGED}
    result |= {
        "HERMES_NATS_URL": site.nats_url(service.name),
        "HERMES_LOG_FORMAT": site.log_format,
        "PYTHONUNBUFFERED": "1",
    }
    result |= {"HERMES_HEALTH_HOST": HOST, "HERMES_HEALTH_PORT": str(health_port)}
    for need in Need:
        if need in service.needs:
            result |= _part(need, site)
    return result


def operator_environment(site: Site) -> dict[str, str]:
    """What a program on this machine needs to reach the bus, the store, the database and the API."""
    result = {
        "HERMES_NATS_URL": site.nats_url("operator"),
        "HERMES_URL": site.web_address,
        "HERMES_ADMIN_TOKEN": site.admin_token,
    }
    for need in (Need.STORE, Need.DATABASE, Need.DICOM, Need.DICOM_ADDRESS, Need.HTTP):
        result |= _part(need, site)
    return result


def _part(need: Need, site: Site) -> Mapping[str, str]:
    part: dict[str, str]
    match need:
        case Need.STORE:
            part = dict(site.object_store)
        case Need.DATABASE:
            part = {"HERMES_DATABASE_URL": site.database_url}
        case Need.DICOM:
            part = {name: site.given[name] for name in TLS if name in site.given}
        case Need.DICOM_ADDRESS:
            port = str(site.dicom_port)
            part = {"HERMES_DICOM_HOST": site.dicom_host, "HERMES_DICOM_PORT": port, "HERMES_DICOM_AET": site.dicom_aet}
        case Need.SPOOL:
            part = {"HERMES_SPOOL": str(site.spool)}
        case Need.DICOMWEB:
            part = _dicomweb(site) if site.dicomweb_port else {}
        case Need.HTTP:
            part = {"HERMES_HTTP_HOST": site.http_host, "HERMES_HTTP_PORT": str(site.http_port)}
            if site.store_folder is not None:
                part |= {"HERMES_STORE_FOLDER": str(site.store_folder)}
        case Need.SEALING:
            part = {"HERMES_SECRET_KEY": site.secret_key}
        case Need.ADMIN:
            part = {
                "HERMES_ADMIN_USER": site.admin_user,
                "HERMES_ADMIN_PASSWORD": site.admin_password,
                "HERMES_ADMIN_TOKEN": site.admin_token,
            }
            part |= {name: site.given[name] for name in OIDC_SECRETS if name in site.given}
    return part


def _dicomweb(site: Site) -> dict[str, str]:
    """Where the receiver takes STOW-RS, and where the web service passes it on to."""
    host = reachable(site.dicomweb_host)
    return {
        "HERMES_DICOMWEB_HOST": site.dicomweb_host,
        "HERMES_DICOMWEB_PORT": str(site.dicomweb_port),
        "HERMES_DICOMWEB_URL": f"http://{f'[{host}]' if ':' in host else host}:{site.dicomweb_port}",
    }


def program_of(service: Service, site: Site, health_port: int, log: Path) -> Program:
    """What to start; ready means that `GET /readyz` answers 200."""
    host, port = (reachable(site.http_host), site.http_port) if Need.HTTP in service.needs else (HOST, health_port)
    return Program(
        name=service.name,
        argv=(sys.executable, "-m", service.module),
        log=log,
        ready=lambda: http_status(port, "/readyz", host=host),
        environment=environment_of(service, site, port),
        ready_within=timedelta(seconds=60),
        stop_within=timedelta(seconds=30),
        port=port,
    )


def reachable(host: str) -> str:
    """The address under which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": HOST, "": HOST, "::": "::1"}.get(host, host)

"""Composes a site from what is given (environment, secrets of the home) and what has to be brought along (embedded
servers).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hermes_local.errors import LocalError
from hermes_local.home import Home
from hermes_local.ports import Ports
from hermes_local.secrets import Secrets
from hermes_local.servers.base import Server
from hermes_local.servers.nats import NatsServer
from hermes_local.servers.postgres import PostgresServer
from hermes_local.servers.s3 import BUCKET, S3Server
from hermes_local.services import HEALTH_PORTS, SERVICES, Need, Service, Site, program_of
from hermes_local.supervisor import Unit

DICOM_PORT = 11112
DICOMWEB_PORT = 8088
HTTP_PORT = 8080
S3_VARIABLES = tuple(
    f"HERMES_S3_{name}" for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY", "BUCKET", "REGION", "SECURE")
)


@dataclass(frozen=True, slots=True)
class Servers:
    """The embedded servers; None where the environment names another."""

    nats: NatsServer | None
    postgres: PostgresServer | None
    s3: S3Server | None

    def all(self) -> list[Server]:
        """Those that have to be started."""
        candidates: tuple[Server | None, ...] = (self.nats, self.postgres, self.s3)
        return [server for server in candidates if server is not None]


@dataclass(slots=True)
class Listening:
    """The ports of the services. `renew` gives back those of one service that could not bind."""

    ports: Ports
    given: Mapping[str, str]
    health: dict[str, int] = field(default_factory=dict)
    dicom: int = 0
    http: int = 0
    dicomweb: int = 0

    def take(self) -> None:
        """Takes every port that is not taken yet."""
        if not self.dicom:
            self.dicom = self._named("dicom", "DICOM", DICOM_PORT, default_host="0.0.0.0")
        if not self.http:
            self.http = self._named("web", "HTTP", HTTP_PORT, default_host="127.0.0.1")
        if not self.dicomweb:
            self.dicomweb = self._named("dicomweb", "DICOMWEB", DICOMWEB_PORT, default_host="127.0.0.1")
        for number, service in enumerate(SERVICES):
            if Need.HTTP not in service.needs and service.name not in self.health:
                self.health[service.name] = self.ports.take(f"{service.name}-health", HEALTH_PORTS + number)

    def renew(self, service: Service) -> None:
        """Other ports for one service; a port that a person asked for stays, and taking it again says who has it."""
        if Need.DICOM in service.needs:
            self.ports.renew("dicom", self.dicom)
            self.ports.renew("dicomweb", self.dicomweb)
            self.dicom = self.dicomweb = 0
        if Need.HTTP in service.needs:
            self.ports.renew("web", self.http)
            self.http = 0
        if service.name in self.health:
            self.ports.renew(f"{service.name}-health", self.health.pop(service.name))
        self.take()

    def _named(self, name: str, kind: str, default: int, *, default_host: str) -> int:
        host = self.given.get(f"HERMES_{kind}_HOST", default_host)
        text = self.given.get(f"HERMES_{kind}_PORT", "")
        if not text:
            return self.ports.take(name, default, host=host)
        if not text.isdigit() or int(text) > 65535:
            raise LocalError(
                f"HERMES_{kind}_PORT is {text!r}, which is no port number. Give a number up to 65535, or unset it."
            )
        return self.ports.take(name, int(text), host=host, exact=text != "0")


def build_servers(home: Home, ports: Ports, secrets: Secrets, given: Mapping[str, str]) -> Servers:
    """The servers that the environment does not name, with their ports taken."""
    nats = None
    if not given.get("HERMES_NATS_URL"):
        nats = NatsServer(home.path / "nats", ports, secrets.nats, log=home.log("nats"))
    postgres = None
    if not given.get("HERMES_DATABASE_URL"):
        postgres = PostgresServer(
            home.path / "postgres",
            ports,
            superuser_password=secrets.postgres_superuser,
            password=secrets.postgres,
            log=home.log("postgres"),
        )
    s3 = None
    if given.get("HERMES_OBJECT_STORE", "s3") == "s3" and not given.get("HERMES_S3_ENDPOINT"):
        s3 = S3Server(
            home.path / "s3",
            ports,
            access_key=secrets.s3_access_key,
            secret_key=secrets.s3_secret_key,
            internal_key=secrets.s3_internal,
            log=home.log("s3"),
            bucket=given.get("HERMES_S3_BUCKET") or BUCKET,
        )
    return Servers(nats=nats, postgres=postgres, s3=s3)


def build_site(home: Home, secrets: Secrets, servers: Servers, listening: Listening, given: Mapping[str, str]) -> Site:
    """Everything the services are told; call it when the servers run, because their ports may move before."""
    nats, postgres = servers.nats, servers.postgres
    return Site(
        nats_url=nats.url if nats is not None else lambda _: given["HERMES_NATS_URL"],
        database_url=postgres.url if postgres is not None else given["HERMES_DATABASE_URL"],
        object_store=_object_store(secrets, servers.s3, home.path / "s3", given),
        dicom_host=given.get("HERMES_DICOM_HOST") or "0.0.0.0",
        dicom_port=listening.dicom,
        dicom_aet=given.get("HERMES_DICOM_AET") or "HERMES",
        http_host=given.get("HERMES_HTTP_HOST") or "127.0.0.1",
        http_port=listening.http,
        spool=home.spool,
        store_folder=home.path if servers.s3 is not None else _folder_of(given.get("HERMES_OBJECT_STORE", "")),
        dicomweb_host=given.get("HERMES_DICOMWEB_HOST") or "127.0.0.1",
        dicomweb_port=listening.dicomweb,
        admin_user=given.get("HERMES_ADMIN_USER") or "admin",
        admin_password=given.get("HERMES_ADMIN_PASSWORD") or secrets.admin_password,
        admin_token=given.get("HERMES_ADMIN_TOKEN") or secrets.admin_token,
        secret_key=given.get("HERMES_SECRET_KEY") or secrets.secret_key,
        log_format=given.get("HERMES_LOG_FORMAT") or "json",
        given=given,
    )


def _object_store(secrets: Secrets, s3: S3Server | None, folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    if s3 is None:
        named = {name: given[name] for name in S3_VARIABLES if given.get(name)}
        return {"HERMES_OBJECT_STORE": given.get("HERMES_OBJECT_STORE") or "s3", **named}
    return {
        "HERMES_OBJECT_STORE": "s3",
        "HERMES_S3_ENDPOINT": s3.endpoint,
        "HERMES_S3_ACCESS_KEY": secrets.s3_access_key,
        "HERMES_S3_SECRET_KEY": secrets.s3_secret_key,
        "HERMES_S3_BUCKET": s3.bucket,
        "HERMES_S3_SECURE": "false",
        "HERMES_STORE_VOLUME": str(folder),
    }


def server_units(servers: Servers) -> list[Unit]:
    """The servers as units; without them nothing works."""
    return [Unit(server.name, server.program, move=server.move, vital=True) for server in servers.all()]


def service_units(home: Home, site: Site, listening: Listening) -> list[Unit]:
    """The services as units."""
    return [_service_unit(service, home, site, listening) for service in SERVICES]


def _service_unit(service: Service, home: Home, site: Site, listening: Listening) -> Unit:
    def move() -> None:
        listening.renew(service)
        site.dicom_port, site.http_port = listening.dicom, listening.http

    return Unit(
        service.name,
        lambda: program_of(service, site, listening.health.get(service.name, site.http_port), home.log(service.name)),
        move=move,
    )


def addresses(servers: Servers, site: Site, listening: Listening) -> dict[str, str]:
    """What listens where, for each part; without secrets."""
    result = {server.name: ", ".join(server.addresses().values()) for server in servers.all()}
    outside: tuple[tuple[str, bool, Callable[[], str]], ...] = (
        ("nats", servers.nats is None, lambda: site.nats_url("operator")),
        ("postgres", servers.postgres is None, lambda: site.database_url),
        (
            "s3",
            servers.s3 is None,
            lambda: site.object_store.get("HERMES_S3_ENDPOINT", site.object_store["HERMES_OBJECT_STORE"]),
        ),
    )
    result |= {name: without_password(address()) for name, is_outside, address in outside if is_outside}
    result |= {name: f"http://127.0.0.1:{port}" for name, port in listening.health.items()}
    return result | {"receiver": site.dicom_address, "dicom": site.dicom_address, "web": site.web_address}


def _folder_of(store: str) -> Path | None:
    """The folder of a store that is one; the services say what is wrong with an address that is none."""
    parts = urlsplit(store)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def without_password(url: str) -> str:
    """A URL (or a comma-separated list of them) to show: user and password are left out."""
    shown = []
    for part in url.split(","):
        pieces = urlsplit(part.strip())
        shown.append(pieces._replace(netloc=unquote(pieces.netloc).rpartition("@")[2]).geturl())
    return ",".join(shown)

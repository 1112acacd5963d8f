"""Checks of what answers over the network: web service, receiver, object store, database; and the clocks."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import Any

import httpx
from pydantic import ValidationError

from hermes_cli.doctor.finding import Finding, fail, ok, since, warn
from hermes_cli.doctor.site import Site
from hermes_cli.output import clean

CLOCK_ODD = timedelta(seconds=3)  # the header has whole seconds
CLOCK_WRONG = timedelta(seconds=60)
LIMIT = 5.0
PORTS = "`ss -ltnp` shows who listens on the port; `hermes up` prints the ports that it uses."


def check_web(site: Site) -> list[Finding]:
    """The web service, and its clock against ours."""
    url = site.environment.get("HERMES_URL")
    if not url:
        return [warn("web", "no address is known", "Set HERMES_URL, or start `hermes up` here.")]
    started = time.monotonic()
    try:
        response = httpx.get(f"{url.rstrip('/')}/readyz", timeout=LIMIT, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        text = f"{url} does not answer: {problem or type(problem).__name__}"
        return [fail("web", text, f"Start the web service, or correct HERMES_URL. {PORTS}")]
    seconds = since(started)
    clock = judge_clock(response.headers.get("Date", ""), datetime.now(UTC))
    if response.status_code != 200:
        text = f"{url} is not ready ({response.status_code}): {_checks(response)}"
        return [fail("web", text, "The checks that are not ok say what it waits for."), *clock]
    return [ok("web", url, seconds), *clock]


def _checks(response: httpx.Response) -> str:
    try:
        checks = response.json().get("checks", {})
    except (ValueError, AttributeError):
        return response.text[:200]
    return "; ".join(f"{name}: {word}" for name, word in checks.items() if word != "ok")


def judge_clock(header: str, now: datetime) -> list[Finding]:
    """Compare the ``Date`` header of an answer with our clock."""
    try:
        theirs = parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return []
    difference = theirs - now
    text = f"the web service's clock is {difference.total_seconds():+.0f} s from ours"
    advice = "Let both machines follow NTP (timedatectl): times in the history and schedules depend on it."
    if abs(difference) > CLOCK_WRONG:
        return [fail("clock", text, advice)]
    if abs(difference) > CLOCK_ODD:
        return [warn("clock", text, advice)]
    return [ok("clock", "agrees with the web service's")]


def check_dicom(site: Site) -> list[Finding]:
    """The receiver, by C-ECHO (PS3.4 A)."""
    from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
    from hermes_common.runtime.dicom.errors import DicomNetworkError
    from hermes_common.runtime.dicom.requestor import StorageAssociation, Timeouts

    port = site.environment.get("HERMES_DICOM_PORT", "")
    if site.environment.get("HERMES_DICOM_PLAIN", "").lower() in {"false", "0", "no", "off"}:
        return [ok("dicom", "the plain port is closed (HERMES_DICOM_PLAIN)")]
    if not port.isdigit():
        return [
            warn(
                "dicom",
                "no address is known",
                "Set HERMES_DICOM_HOST and HERMES_DICOM_PORT, or start `hermes up` here.",
            )
        ]
    host = site.environment.get("HERMES_DICOM_HOST", "127.0.0.1")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    aet = site.environment.get("HERMES_DICOM_AET", "HERMES")
    second = timedelta(seconds=1)
    started = time.monotonic()
    try:
        limits = Timeouts(
            connect=5 * second, associate=5 * second, send=5 * second, response=5 * second, release=second
        )
        contexts = [(VERIFICATION, IMPLICIT_LITTLE)]
        with StorageAssociation.negotiate("HERMES_DOCTOR", aet, host, int(port), contexts, timeouts=limits) as peer:
            peer.c_echo()
    except DicomNetworkError as problem:
        advice = f"Start the receiver, or look at the sources that are allowed. {PORTS}"
        return [fail("dicom", f"{aet}@{host}:{port}: {problem}", advice)]
    return [ok("dicom", f"{aet}@{host}:{port} answers C-ECHO", since(started))]


def check_object_store(site: Site) -> list[Finding]:
    """The object store lets us in."""
    from hermes_common.runtime.objectstore.errors import StoreError
    from hermes_common.runtime.settings import ObjectStoreSettings, explain
    from hermes_common.runtime.store import store_of

    if not (site.has("HERMES_OBJECT_STORE") or site.has("HERMES_S3_ENDPOINT")):
        return [
            warn(
                "object store",
                "no address is known",
                "Set HERMES_OBJECT_STORE and HERMES_S3_*, or start `hermes up` here.",
            )
        ]
    names = {name: f"HERMES_{name.upper()}" for name in ObjectStoreSettings.model_fields}
    values: dict[str, Any] = {n: site.environment[v] for n, v in names.items() if v in site.environment}
    started = time.monotonic()
    try:
        settings = ObjectStoreSettings(**values)
        store = store_of(settings, threads=1)
    except ValidationError as problem:
        return [fail("object store", explain(problem), "Correct the variable.")]
    except ValueError as problem:
        return [fail("object store", str(problem), "Correct HERMES_OBJECT_STORE or HERMES_S3_*.")]
    where = settings.object_store if settings.object_store != "s3" else f"s3 at {settings.s3_endpoint}"
    try:
        store.ping()
    except StoreError as problem:
        return [
            fail(
                "object store",
                f"{where}: {problem}",
                "Start it, or correct its address and keys; receiving goes on meanwhile.",
            )
        ]
    finally:
        store.close()
    return [ok("object store", where, since(started))]


def check_database(site: Site) -> list[Finding]:
    """The database lets us in and has the tables of the history."""
    if not site.has("HERMES_DATABASE_URL"):
        return [warn("database", "no address is known", "Set HERMES_DATABASE_URL, or start `hermes up` here.")]
    if find_spec("sqlalchemy") is None or find_spec("psycopg2") is None:
        return [
            warn("database", "not looked at: its driver is not installed here", "Run this where the bookkeeper runs.")
        ]
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    from hermes_common.ledger import SCHEMA, metadata

    started = time.monotonic()
    try:
        engine = create_engine(site.environment["HERMES_DATABASE_URL"], connect_args={"connect_timeout": 5})
        try:
            where = engine.url.render_as_string(hide_password=True)
            found = set(inspect(engine).get_table_names(schema=SCHEMA))
        finally:
            engine.dispose()
    except SQLAlchemyError as problem:
        words = clean(str(getattr(problem, "orig", None) or problem).strip().splitlines()[0])
        return [fail("database", words, "Start it, or correct HERMES_DATABASE_URL; images are routed meanwhile.")]
    missing = sorted({table.name for table in metadata.tables.values()} - found)
    if missing:
        text = f"{where}: tables are missing: {', '.join(missing)}"
        return [fail("database", text, "Start the bookkeeper: it brings the tables up to date.")]
    return [ok("database", f"{where}, migrated", since(started))]

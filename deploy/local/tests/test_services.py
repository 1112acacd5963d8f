"""What each service is told: what it needs, and nothing secret beyond that."""

from pathlib import Path

import pytest

from hermes_local.build import without_password
from hermes_local.services import SERVICES, Site, environment_of, operator_environment, program_of, reachable

BY_NAME = {service.name: service for service in SERVICES}
SECRETS = {
    "HERMES_DATABASE_URL": {"bookkeeper", "web"},
    "HERMES_S3_SECRET_KEY": {"receiver", "router", "dispatcher", "cleaner"},
    "HERMES_ADMIN_PASSWORD": {"web"},
    "HERMES_ADMIN_TOKEN": {"web"},
    "HERMES_SECRET_KEY": {"dispatcher", "web"},
    "HERMES_SPOOL": {"receiver"},
    "HERMES_DICOM_TLS_KEY": {"receiver"},
    "HERMES_HTTP_PORT": {"web"},
    "HERMES_DICOMWEB_URL": {"receiver", "web"},
    "HERMES_OIDC_CLIENT_SECRET": {"web"},
}


def make_site(**changes):
    values = {
        "nats_url": lambda user: f"nats://{user}:pw-{user}@127.0.0.1:4222",
        "database_url": "postgresql+psycopg2://hermes:pw@127.0.0.1:5432/hermes",
        "object_store": {"HERMES_OBJECT_STORE": "s3", "HERMES_S3_SECRET_KEY": "s"},
        "dicom_host": "0.0.0.0",
        "dicom_port": 11112,
        "dicom_aet": "HERMES",
        "http_host": "0.0.0.0",
        "http_port": 8080,
        "spool": Path("/home/spool"),
        "dicomweb_port": 8088,
        "admin_user": "admin",
        "admin_password": "p",
        "admin_token": "t",
        "secret_key": "k",
    }
    return Site(**(values | changes))


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_gets_the_secrets_it_needs_and_no_other(service):
    given = dict.fromkeys(SECRETS, "x") | {"PATH": "/bin"}
    environment = environment_of(service, make_site(given=given), 9000)
    assert {name for name in SECRETS if name in environment} == {n for n, who in SECRETS.items() if service.name in who}
    assert environment["HERMES_NATS_URL"] == f"nats://{service.name}:pw-{service.name}@127.0.0.1:4222"
    assert environment["HERMES_HEALTH_PORT"] == "9000"
    assert environment["PATH"] == "/bin"


def test_variables_that_the_launcher_does_not_manage_reach_every_service():
    environment = environment_of(BY_NAME["router"], make_site(given={"HERMES_CRASH_POINT": "here"}), 1)
    assert environment["HERMES_CRASH_POINT"] == "here"


def test_the_web_service_answers_for_its_health_on_its_own_port():
    program = program_of(BY_NAME["web"], make_site(), 8080, Path("/x.log"))
    assert program.environment["HERMES_HEALTH_PORT"] == "8080"
    assert program.argv[1:] == ("-m", "hermes_web")


def test_the_operator_reaches_everything():
    names = operator_environment(make_site())
    assert {"HERMES_NATS_URL", "HERMES_URL", "HERMES_ADMIN_TOKEN", "HERMES_DATABASE_URL", "HERMES_DICOM_PORT"} <= set(
        names
    )


def test_an_address_that_means_all_is_reached_over_the_loopback():
    assert [reachable(host) for host in ("0.0.0.0", "::", "", "192.0.2.1")] == [
        "127.0.0.1",
        "::1",
        "127.0.0.1",
        "192.0.2.1",
    ]


def test_a_url_is_shown_without_its_password():
    assert without_password("nats://u:p@a:1,nats://b:2") == "nats://a:1,nats://b:2"
    assert without_password("postgresql+psycopg2://u:p%40@h:5/d") == "postgresql+psycopg2://h:5/d"
    assert without_password("file:///a/b") == "file:///a/b"

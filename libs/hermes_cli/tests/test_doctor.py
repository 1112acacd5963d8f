"""`hermes doctor` and `hermes events tail`."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hermes_cli.commands.events import nats_command, without_secrets
from hermes_cli.doctor.bus import judge_sync
from hermes_cli.doctor.finding import Level, examine, ok
from hermes_cli.doctor.machine import judge_disk
from hermes_cli.doctor.servers import judge_clock
from hermes_cli.doctor.site import Site
from hermes_cli.doctor.tls import check_tls
from hermes_cli.output import clean, size, span
from hermes_common.events import ServiceStarted

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Certificate:
    """A certificate that signs itself, in two files."""

    def __init__(self, folder: Path, name: str, begin: datetime, end: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), 7, begin, end)
        self.certificate, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        self.certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def site(self, folder: Path, port: int, key: Path | None = None) -> Site:
        names = {"HERMES_DICOM_TLS_CERT": self.certificate, "HERMES_DICOM_TLS_KEY": key or self.key}
        words = {"HERMES_HOME": folder, "HERMES_DICOM_HOST": "127.0.0.1", "HERMES_DICOM_TLS_PORT": port, **names}
        return Site.of({name: str(value) for name, value in words.items()})


@pytest.fixture
def certificate(tmp_path):
    day, today = timedelta(days=1), datetime.now(UTC)
    return lambda name, begin, end: Certificate(tmp_path, name, today + begin * day, today + end * day)


@contextlib.contextmanager
def tls_port(certificate: Certificate):
    """A port that shows a certificate to whoever comes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    with sock, contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as secure:
                        secure.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(("begin", "end", "level"), [(-9, 90, "ok"), (-9, 9, "warn"), (-9, -1, "fail"), (2, 9, "fail")])
def test_a_certificate_is_judged_by_its_time_and_its_port_answers(certificate, tmp_path, begin, end, level):
    one = certificate("receiver", begin, end)
    with tls_port(one) as port:
        dates, answer = check_tls(one.site(tmp_path, port))
    assert (dates.level, answer.level) == (level, "ok")
    assert "TLSv1.3" in answer.text


def test_a_key_that_does_not_fit_and_a_port_that_shows_something_else_are_found(certificate, tmp_path):
    one, other = certificate("receiver", -1, 90), certificate("other", -1, 90)
    with tls_port(other) as port:
        _, key, answer = check_tls(one.site(tmp_path, port, other.key))
    assert (key.level, answer.level) == ("fail", "warn")
    assert "is not the key of" in key.text
    assert "another certificate" in answer.text


def test_without_a_certificate_or_a_port_it_is_said_what_is_missing(certificate, tmp_path):
    assert [found.level for found in check_tls(Site.of({"HERMES_HOME": str(tmp_path)}))] == ["ok"]
    nothing = {"HERMES_HOME": str(tmp_path), "HERMES_DICOM_TLS_CERT": str(tmp_path / "none.pem")}
    assert [found.level for found in check_tls(Site.of(nothing))] == ["fail"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert check_tls(certificate("receiver", -1, 90).site(tmp_path, port))[-1].level == "fail"


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [
        (1e12, 5e11, Level.OK),
        (1e12, 9e10, Level.WARN),
        (1e11, 9e9, Level.WARN),
        (1e12, 1e10, Level.FAIL),
        (1e10, 9e8, Level.FAIL),
    ],
)
def test_disk_space_is_judged_by_share_and_by_bytes(total, free, level):
    assert judge_disk(Path("/"), int(total), int(free)).level is level


@pytest.mark.parametrize(("seconds", "level"), [(0, Level.OK), (-10, Level.WARN), (600, Level.FAIL)])
def test_clocks_are_compared(seconds, level):
    header = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert [finding.level for finding in judge_clock(header, NOW)] == [level]


@pytest.mark.parametrize(
    ("config", "replicas", "level"),
    [({"sync_always": True}, 1, Level.OK), ({"sync_interval": 120 * 10**9}, 1, Level.FAIL), ({}, 3, Level.OK)],
)
def test_an_acknowledged_message_must_survive_a_power_cut(config, replicas, level):
    assert judge_sync(config, replicas).level is level


def test_a_check_that_hangs_or_breaks_does_not_hide_the_others(tmp_path):
    never = threading.Event()

    def hangs(_):
        never.wait(5)
        return []

    def breaks(_):
        raise RuntimeError("oh")

    checks = (("hangs", hangs), ("breaks", breaks), ("works", lambda _: [ok("works", "yes")]))
    found = examine(checks, Site.of({"HERMES_HOME": str(tmp_path)}), limit=0.3)
    never.set()
    assert [(finding.check, finding.level) for finding in found] == [
        ("hangs", Level.FAIL),
        ("breaks", Level.FAIL),
        ("works", Level.OK),
    ]


def test_doctor_says_what_is_not_there_and_what_to_do(hermes):
    done = hermes(
        "doctor", "--json", HERMES_URL="http://127.0.0.1:1", HERMES_NATS_URL="nats://127.0.0.1:1", HERMES_DICOM_PORT="1"
    )
    found = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert {name for name, check in found.items() if check["level"] == "fail"} == {"web", "bus", "dicom"}
    assert all(check["advice"] for check in found.values() if check["level"] != "ok")


@pytest.mark.servers
def test_doctor_looks_at_the_bus(hermes, bus, nats_url):
    done = hermes("doctor", "--json", HERMES_URL=None, HERMES_NATS_URL=nats_url)
    found = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["bus"]["level"] == found["streams"]["level"] == "ok", found
    assert "nats-server 2." in found["bus"]["text"]


@pytest.mark.servers
async def test_events_are_followed(bus, nats_url, tmp_path):
    import asyncio

    environment = {"HERMES_NATS_URL": nats_url, "HERMES_HOME": str(tmp_path), "PATH": "/usr/bin"}
    arguments = ("events", "tail", "--json", "--count", "1", "--subject", "hermes.v1.service.>")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hermes_cli", *arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    done = asyncio.create_task(process.communicate())
    while not done.done():
        await bus.publish(ServiceStarted(service="router", instance="router@x"))
        await asyncio.sleep(0.1)
    out, error = await done
    assert process.returncode == 0, error
    event = json.loads(out.splitlines()[0])
    assert (event["type"], event["data"]["service"]) == ("hermes.v1.service.started", "router")
    assert b"nats --server" in error
    assert nats_url.rpartition(":")[2].encode() in error


def test_events_say_when_the_bus_is_not_there(hermes):
    done = hermes("events", "tail", HERMES_NATS_URL="nats://u:p4ssword@127.0.0.1:1")
    assert done.returncode == 1
    assert "HERMES_NATS_URL" in done.stderr
    assert "p4ssword" not in done.stderr + done.stdout


def test_the_command_that_is_shown_is_quoted_and_holds_no_password():
    shown = nats_command("nats://o:secret@h:1", "a.>; rm")
    assert shown == "nats --server nats://h:1 --user o --password ... sub 'a.>; rm'"
    assert without_secrets("nats://a:b@h:1, nats://h:2") == "nats://h:1,nats://h:2"


def test_words():
    assert (
        clean("a\x1b[0m\u202eb\n") == "a\N{REPLACEMENT CHARACTER}[0m\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    )
    assert [size(n) for n in (0, 999, 1500, 123_456_789)] == ["0 B", "999 B", "1.5 kB", "123 MB"]
    assert [span(timedelta(seconds=s)) for s in (5, 65, 3600, 90000)] == ["5 s", "1 min 5 s", "1 h", "1 d 1 h"]

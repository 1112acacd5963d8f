"""DICOM TLS on a port of its own beside the plain one (PS3.15 B.12), with DCMTK, openssl and our own requestor."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
from hermes_common.events import AssociationOpened, InstanceStored
from hermes_common.runtime.dicom.errors import AssociationError, Unreachable
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_receiver.adapters.tls import CertificateError, Clients, server_context
from hermes_receiver.settings import Settings


@pytest.fixture(scope="module")
def certificate(authority) -> tuple[Path, Path]:
    return authority.issue("server", "/CN=localhost")


@pytest.fixture(scope="module")
def scanner(authority) -> tuple[Path, Path]:
    return authority.issue("scanner", "/O=Example Hospital/CN=scanner-1")


def secured(make_receiver, certificate, **settings):
    cert, key = certificate
    running = make_receiver(dicom_tls_cert=cert, dicom_tls_key=key, dicom_tls_port=0, **settings)
    return running, running.receiver.listeners[-1].port


def test_both_ports_stand_beside_each_other_and_a_silent_tls_connection_holds_nobody_up(
    make_receiver, authority, certificate, ct
):
    running, port = secured(make_receiver, certificate)
    silent = socket.create_connection(("127.0.0.1", port))
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    contexts = [(ct.sop_class, ct.syntax), (VERIFICATION, IMPLICIT_LITTLE)]
    with StorageAssociation.negotiate("SAFE", "H", "127.0.0.1", port, contexts, tls=trusting) as association:
        assert association.c_echo().code == 0
        assert association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, [ct.data]).status == 0
    with StorageAssociation.negotiate("PLAIN", "H", "127.0.0.1", running.port, contexts) as association:
        assert association.c_echo().code == 0
    assert running.events(InstanceStored)[0].sender.calling_aet == "SAFE"
    opened = {event.sender.calling_aet: event for event in running.events(AssociationOpened, 2)}
    assert opened["SAFE"].tls.startswith("TLSv1.3 ")
    assert opened["PLAIN"].tls == ""
    with pytest.raises(AssociationError):
        StorageAssociation.negotiate("T", "H", "127.0.0.1", port, contexts)
    with pytest.raises(Unreachable, match="TLS"):
        StorageAssociation.negotiate("T", "H", "127.0.0.1", port, contexts, tls=ssl.create_default_context())
    silent.close()


def test_the_plain_port_can_be_switched_off(make_receiver, authority, certificate):
    running, port = secured(make_receiver, certificate, dicom_plain=False)
    assert [listener.is_secure for listener in running.receiver.listeners] == [True]
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    contexts = [(VERIFICATION, IMPLICIT_LITTLE)]
    with StorageAssociation.negotiate("T", "H", "127.0.0.1", port, contexts, tls=trusting) as association:
        assert association.c_echo().code == 0
    with pytest.raises(ValidationError, match="no DICOM port is left"):
        Settings(spool=Path("/tmp/never"), dicom_plain=False)


@pytest.mark.parametrize("profile", ["--profile-bcp195", "--profile-bcp195-nd"])
def test_storescu_sends_over_tls_under_the_profile(make_receiver, storescu, authority, certificate, ct, profile):
    running, port = secured(make_receiver, certificate)
    command = [storescu, "+tla", profile, "+cf", authority.ca, "-aet", "DCMTK", "127.0.0.1", port, ct.path]
    subprocess.run([str(word) for word in command], check=True, timeout=30, env=os.environ | {"TCP_NODELAY": "1"})
    assert running.events(InstanceStored)[0].sop_instance_uid == ct.sop_instance


def test_a_required_client_certificate_is_named_in_the_event_and_without_one_nobody_is_let_in(
    make_receiver, storescu, authority, certificate, scanner, ct
):
    running, port = secured(make_receiver, certificate, dicom_tls_ca=authority.ca)
    cert, key = scanner
    common = ["+cf", authority.ca, "-aet", "SCANNER", "127.0.0.1", port, ct.path]
    subprocess.run([str(w) for w in [storescu, "+tls", key, cert, *common]], check=True, timeout=30)
    assert running.events(AssociationOpened)[0].certificate == "O=Example Hospital,CN=scanner-1"
    refused = subprocess.run([str(w) for w in [storescu, "+tla", *common]], check=False, timeout=30)
    assert refused.returncode != 0
    assert len(running.bus.of(AssociationOpened)) == 1


def test_an_optional_client_certificate_is_named_where_there_is_one(make_receiver, authority, certificate, scanner):
    running, port = secured(make_receiver, certificate, dicom_tls_ca=authority.ca, dicom_tls_clients="optional")
    contexts = [(VERIFICATION, IMPLICIT_LITTLE)]
    without = ssl.create_default_context(cafile=str(authority.ca))
    having = ssl.create_default_context(cafile=str(authority.ca))
    having.load_cert_chain(*scanner)
    for name, context in (("WITHOUT", without), ("WITH", having)):
        with StorageAssociation.negotiate(name, "H", "127.0.0.1", port, contexts, tls=context) as association:
            assert association.c_echo().code == 0
    subjects = {event.sender.calling_aet: event.certificate for event in running.events(AssociationOpened, 2)}
    assert subjects == {"WITHOUT": "", "WITH": "O=Example Hospital,CN=scanner-1"}


@pytest.mark.parametrize(
    ("words", "accepted"),
    [
        (["-tls1_3"], True),
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], True),
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], True),
        (["-tls1_2", "-cipher", "AES128-SHA"], False),
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"], False),
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], False),
    ],
)
def test_only_the_versions_and_suites_of_the_profile_are_spoken(make_receiver, certificate, words, accepted):
    _, port = secured(make_receiver, certificate)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-brief", *words]
    done = subprocess.run(command, check=False, capture_output=True, input=b"", timeout=20)
    assert (b"CONNECTION ESTABLISHED" in done.stderr) is accepted, done.stderr


def test_a_certificate_that_is_exchanged_is_taken_into_use_and_a_bad_one_is_not(
    make_receiver, authority, certificate, tmp_path
):
    cert, key = tmp_path / "port.pem", tmp_path / "port.key"
    cert.write_bytes(certificate[0].read_bytes())
    key.write_bytes(certificate[1].read_bytes())
    running, port = secured(make_receiver, (cert, key))
    certificates = running.certificates

    def served() -> bytes:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=10).encode()

    first = served()
    key.write_text("not a key")
    certificates.look()
    assert str(key) in certificates.problem()
    assert served() == first
    newer = authority.issue("newer", "/CN=newer")
    cert.write_bytes(newer[0].read_bytes())
    key.write_bytes(newer[1].read_bytes())
    certificates.look()
    assert certificates.problem() is None
    assert served() != first


@pytest.mark.parametrize("broken", ["cert", "key", "ca"])
def test_a_file_that_cannot_be_used_is_named(certificate, authority, tmp_path, broken):
    files = {"cert": certificate[0], "key": certificate[1], "ca": authority.ca}
    missing, garbage = tmp_path / "missing.pem", tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    for bad in (missing, garbage):
        used = files | {broken: bad}
        with pytest.raises(CertificateError, match=bad.name):
            server_context(used["cert"], used["key"], used["ca"], Clients.REQUIRED)


def test_client_certificates_without_an_authority_and_foreign_keys_are_clear_errors(certificate, scanner):
    with pytest.raises(CertificateError, match="HERMES_DICOM_TLS_CA"):
        server_context(*certificate, None, Clients.OPTIONAL)
    with pytest.raises(CertificateError, match="not a PEM certificate and its key"):
        server_context(certificate[0], scanner[1], None, Clients.NONE)

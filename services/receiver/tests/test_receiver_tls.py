"""DICOM TLS: a silent connection holds nobody up, a plain one is turned away."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess

import pytest

from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
from hermes_common.events import InstanceStored
from hermes_common.runtime.dicom.errors import AssociationError, Unreachable
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_receiver.adapters.tls import server_context


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("openssl is not installed")
        pytest.skip("openssl is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert]
    subprocess.run([*command, *name], check=True, capture_output=True)
    return cert, key


def test_instances_come_over_tls_while_a_silent_connection_waits(make_receiver, certificate, ct):
    cert, key = certificate
    running = make_receiver(dicom_tls_cert=cert, dicom_tls_key=key)
    silent = socket.create_connection(("127.0.0.1", running.port))
    trusting = ssl.create_default_context(cafile=str(cert))
    contexts = [(ct.sop_class, ct.syntax), (VERIFICATION, IMPLICIT_LITTLE)]
    with StorageAssociation.negotiate("T", "H", "127.0.0.1", running.port, contexts, tls=trusting) as association:
        assert association.c_echo().code == 0
        assert association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, [ct.data]).status == 0
    assert running.events(InstanceStored)[0].sender.calling_aet == "T"
    with pytest.raises(AssociationError):
        StorageAssociation.negotiate("T", "H", "127.0.0.1", running.port, contexts)
    with pytest.raises(Unreachable, match="TLS"):
        StorageAssociation.negotiate("T", "H", "127.0.0.1", running.port, contexts, tls=ssl.create_default_context())
    silent.close()


def test_with_an_authority_clients_need_a_certificate(certificate):
    cert, key = certificate
    assert server_context(cert, key, cert).verify_mode is ssl.CERT_REQUIRED
    assert server_context(cert, key, None).verify_mode is ssl.CERT_NONE

"""STOW-RS (PS3.18 10.5) with dicomweb-client, Orthanc's plugin and raw sockets as senders."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import time
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path

import httpx
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from hypothesis import given
from hypothesis import strategies as st

from hermes_common.access import KEY, AccessList, AccessToken
from hermes_common.config import Source, SourceMode, Sources
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.events import (
    AssociationAborted,
    AssociationClosed,
    AssociationOpened,
    InstanceQuarantined,
    InstanceStored,
)
from hermes_receiver.core.multipart import (
    MalformedMultipart,
    MultipartReader,
    PartBegins,
    PartData,
    PartEnds,
    media_type,
)

SECRET = "hermes_a-secret-of-a-gateway"
VIEWER = "hermes_a-secret-of-somebody-who-looks"
KIND = 'multipart/related; type="application/dicom"; boundary=xyz'


ADMIN = "hermes_a-secret-of-an-administrator"


def tokens() -> bytes:
    made = [("admin", "admin", ADMIN), ("gateway-1", "sender", SECRET), ("looker", "viewer", VIEWER)]
    listed = tuple(
        AccessToken(name=name, role=role, digest=hashlib.sha256(secret.encode()).hexdigest())
        for name, role, secret in made
    )
    return AccessList(tokens=listed).model_dump_json().encode()


@pytest.fixture
def web(make_receiver):
    return serving(make_receiver)


def serving(make_receiver, **settings):
    running = make_receiver(dicomweb_port=0, **settings)
    running.bus.records[f"$KV.hermes_state.{KEY}"] = tokens()
    running.url = f"http://127.0.0.1:{running.receiver.web.port}/dicom-web"
    return running


def multipart(*parts: bytes, end: bytes = b"--xyz--\r\n") -> bytes:
    return b"".join(b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + end


def post(running, body, path="/studies", **headers):
    sent = {"Content-Type": KIND, "Authorization": f"Bearer {SECRET}"} | headers
    return httpx.post(running.url + path, content=body, headers=sent, timeout=20, trust_env=False)


def other(sample, number: int) -> bytes:
    """Return the sample under another SOP instance UID of the same length."""
    return sample.file.replace(sample.sop_instance.encode(), f"{sample.sop_instance[:-5]}{number:05d}".encode())


def test_dicomweb_client_stores_and_the_bytes_are_those_that_came(web, ct):
    client = DICOMwebClient(web.url, headers={"Authorization": f"Bearer {SECRET}"})
    dataset = pydicom.dcmread(ct.path)
    written = io.BytesIO()
    dataset.save_as(written)
    answer = client.store_instances([dataset])
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [ct.sop_instance]
    event = web.events(InstanceStored)[0]
    stored = (web.store.root / event.key).read_bytes()
    sent = written.getvalue()
    assert stored[parse_file_meta(stored).offset :] == sent[parse_file_meta(sent).offset :]
    assert (event.sender.calling_aet, event.sender.called_aet) == ("gateway-1", "HERMES")
    opened, closed = web.events(AssociationOpened)[0], web.events(AssociationClosed)[0]
    assert (opened.protocol, opened.user, closed.instances) == ("stow", "gateway-1", 1)
    assert event.association_id == opened.association_id == closed.association_id


def test_several_instances_and_the_study_in_the_path(web, ct):
    study = pydicom.dcmread(ct.path).StudyInstanceUID
    answer = post(web, multipart(*(other(ct, n) for n in range(10000, 10020))), f"/studies/{study}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert len(answer.json()["00081199"]["Value"]) == 20
    assert len(web.events(InstanceStored, 20)) == 20


def test_each_instance_has_its_own_answer(web, ct):
    answer = post(web, multipart(ct.file, b"this is no DICOM file", other(ct, 10000)[:700]))
    assert answer.status_code == 202
    document = answer.json()
    assert document["00081199"]["Value"][0]["00081155"]["Value"] == [ct.sop_instance]
    assert document["00081198"]["Value"][0]["00081197"]["Value"] == [0xC001]
    assert document["0008119A"]["Value"][0]["00081197"]["Value"] == [0xC001]
    assert len(web.events(InstanceQuarantined, 2)) == 2


def test_instances_of_another_study_than_the_path_names_go_to_quarantine(web, ct):
    answer = post(web, multipart(ct.file), "/studies/1.2.3")
    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
    assert "another study" in web.events(InstanceQuarantined)[0].reason
    assert not web.bus.of(InstanceStored)


def test_what_no_association_would_have_negotiated_is_refused(web, ct):
    syntax = ct.file.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")
    found = ct.file.replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.1.1".ljust(26, b"\0"), 1)
    answer = post(web, multipart(syntax))
    assert (answer.status_code, answer.json()["00081198"]["Value"][0]["00081197"]["Value"]) == (409, [0xC122])
    assert post(web, multipart(found)).json()["00081198"]["Value"][0]["00081197"]["Value"] == [0x0122]
    assert not web.files("quarantine-ready")


def test_the_same_instance_again_is_a_success_and_the_answer_can_be_xml(web, ct):
    for _ in range(2):
        answer = post(web, multipart(ct.file), Accept="application/dicom+xml")
        assert answer.status_code == 200
    root = ET.fromstring(answer.text)  # noqa: S314 - our own answer
    space = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    sequence = root.find(f"{space}DicomAttribute[@keyword='ReferencedSOPSequence']")
    assert [value.text for value in sequence.iter(f"{space}Value")] == [ct.sop_class, ct.sop_instance]
    assert len(web.events(InstanceStored, 2)) == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer nobody"}, 401),
        ({"Authorization": f"Basic {SECRET}"}, 401),
        ({"Authorization": f"Bearer {VIEWER}"}, 403),
        ({"Content-Type": "application/dicom"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=x'}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
        ({"Accept": "text/html"}, 406),
    ],
)
def test_a_request_that_is_not_to_be_served_is_refused_before_its_body(web, ct, headers, status):
    answer = post(web, multipart(ct.file), **headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert not web.bus.of(AssociationOpened)


def test_other_paths_and_methods_say_what_is_there(web):
    assert httpx.get(web.url + "/studies", trust_env=False).status_code == 405
    assert post(web, multipart(), "/series").status_code == 404
    assert post(web, multipart(), "/studies/../../etc").status_code == 404
    assert post(web, b"--xyz--\r\n").status_code == 400


def test_a_source_that_policy_forbids_is_refused(web, ct):
    web.sources = Sources(mode=SourceMode.ALLOW_LIST)
    assert post(web, multipart(ct.file)).status_code == 403
    web.sources = Sources(mode=SourceMode.ALLOW_LIST, sources=(Source(slug="g", name="G", calling_aet="gateway-1"),))
    assert post(web, multipart(ct.file)).status_code == 200


def test_while_the_spool_is_full_the_sender_is_told_when_to_come_again(make_receiver, ct):
    running = serving(make_receiver, spool_max_bytes=1)
    running.store.away = True
    answer = post(running, multipart(ct.file))
    assert answer.status_code in (200, 503)
    again = post(running, multipart(ct.file))
    assert (again.status_code, again.headers["retry-after"]) == (503, "30")


def test_a_revoked_token_is_refused_and_without_a_list_nobody_is_let_in(web, ct):
    assert post(web, multipart(ct.file)).status_code == 200
    web.bus.records[f"$KV.hermes_state.{KEY}"] = AccessList().model_dump_json().encode()
    web.eventually(lambda: post(web, multipart(ct.file), Authorization="Bearer unknown").status_code == 401)
    web.eventually(lambda: post(web, multipart(ct.file)).status_code == 401)


def test_a_chunked_body_is_taken_as_it_comes(web, ct):
    def pieces():
        whole = multipart(ct.file, other(ct, 10000))
        for at in range(0, len(whole), 777):
            yield whole[at : at + 777]

    assert post(web, pieces()).status_code == 200
    assert len(web.events(InstanceStored, 2)) == 2


def raw(running, body: bytes, length: int | None = None, *, close: bool = True) -> bytes:
    """Send a request byte by byte as given and return what is answered before the connection ends."""
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: {KIND}\r\n"
    head += f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.receiver.web.port), timeout=10) as sock:
        sock.sendall(head.encode() + body)
        if close:
            sock.shutdown(socket.SHUT_WR)
        received = b""
        while data := sock.recv(65536):
            received += data
        return received


@pytest.mark.parametrize("cut", [10, 60, 500, 5000, 30000])
def test_of_an_instance_in_a_truncated_body_nothing_is_visible(web, ct, cut):
    whole = multipart(ct.file)
    assert raw(web, whole[:cut], len(whole)).startswith(b"HTTP/1.1 400 ")
    assert web.events(AssociationAborted)[0].instances == 0
    assert not web.bus.of(InstanceStored)
    assert not any(web.files(name) for name in ("incoming", "ready", "done", "quarantine-ready"))


@pytest.mark.parametrize(
    "body",
    [
        b"no boundary at all",
        b"--xyz\r\nno header end",
        b"--xyz\r\nbroken header\r\n\r\nx\r\n--xyz--",
        b"--xyzzy\r\n\r\nx\r\n--xyz--",
        b"x" * 20000,
    ],
)
def test_a_body_that_is_no_multipart_is_a_clear_refusal(web, body):
    answer = post(web, body)
    assert answer.status_code == 400
    assert not any(web.files(name) for name in ("incoming", "ready", "done", "quarantine-ready"))


def test_a_body_larger_than_memory_may_grow_passes_through(web, ct):
    import resource

    part10 = parse_file_meta(ct.file)
    size = 64 * 1024 * 1024
    tail = b"\xe1\x7f\x01\x00OB\0\0" + size.to_bytes(4, "little")
    assert part10.offset

    def pieces():
        yield (
            b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + ct.file[: ct.file.rindex(b"\xe0\x7f\x10\x00")] + tail
        )
        for _ in range(64):
            yield bytes(1024 * 1024)
        yield b"\r\n--xyz--"

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert post(web, pieces()).status_code == 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
    assert web.events(InstanceStored)[0].octets > size


def test_silent_connections_are_ended_and_do_not_keep_others_out(make_receiver, ct):
    running = serving(make_receiver, dicomweb_connections=4)
    silent = [socket.create_connection(("127.0.0.1", running.receiver.web.port)) for _ in range(12)]
    began = time.monotonic()
    assert post(running, multipart(ct.file)).status_code == 200
    assert time.monotonic() - began < 5
    for sock in silent:
        sock.close()


def test_a_request_may_wait_for_permission_before_its_body(web, ct):
    connection = http.client.HTTPConnection("127.0.0.1", web.receiver.web.port, timeout=10)
    body = multipart(ct.file)
    connection.putrequest("POST", "/dicom-web/studies")
    for name, value in {
        "Content-Type": KIND,
        "Authorization": f"Bearer {SECRET}",
        "Expect": "100-continue",
        "Content-Length": str(len(body)),
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(body)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.fixture
def orthanc(tmp_path, web):
    """Orthanc with its DICOMweb plugin, told to send to the receiver; return its address."""
    found, plugin = shutil.which("Orthanc"), Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if found is None or not plugin.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("Orthanc or its DICOMweb plugin is not installed")
        pytest.skip("Orthanc or its DICOMweb plugin is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = {"Url": web.url, "HttpHeaders": {"Authorization": f"Bearer {SECRET}"}, "ChunkedTransfers": True}
    config = {
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "StorageDirectory": str(tmp_path / "orthanc"),
        "IndexDirectory": str(tmp_path / "orthanc"),
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Servers": {"hermes": server}},
    }
    path = tmp_path / "orthanc.json"
    path.write_text(json.dumps(config))
    log = (tmp_path / "orthanc.log").open("wb")
    with log, subprocess.Popen([found, "--verbose", str(path)], stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def test_orthanc_sends_a_study(web, ct, orthanc):
    def up() -> bool:
        try:
            return httpx.get(orthanc + "/system", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    web.eventually(up, 20)
    added = httpx.post(orthanc + "/instances", content=ct.file, trust_env=False).json()
    sent = httpx.post(
        orthanc + "/dicom-web/servers/hermes/stow", json={"Resources": [added["ID"]]}, timeout=20, trust_env=False
    )
    assert sent.status_code == 200, sent.text
    assert web.events(InstanceStored)[0].sop_instance_uid == ct.sop_instance


def quarantined(running, reception: str, path: str = "", secret: str = ADMIN, method: str = "GET"):
    base = running.url.removesuffix("/dicom-web")
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.request(method, f"{base}/quarantine/{reception}{path}", headers=headers, timeout=20, trust_env=False)


def test_what_is_in_quarantine_can_be_read_and_received_again_by_an_administrator(web, ct):
    assert post(web, multipart(ct.file), "/studies/1.2.3").status_code == 409
    kept = web.events(InstanceQuarantined)[0].reception_id
    web.eventually(lambda: web.files("done"))
    found = quarantined(web, kept)
    assert found.status_code == 200
    assert found.content[parse_file_meta(found.content).offset :] == ct.data
    assert quarantined(web, kept, secret=SECRET).status_code == 403
    assert quarantined(web, kept, secret="nobody").status_code == 401
    assert quarantined(web, "0" * 32).status_code == 404
    again = quarantined(web, kept, "/resubmit", method="POST")
    assert (again.status_code, again.json()) == (200, {"stored": True, "status": 0, "reason": ""})
    stored = web.events(InstanceStored)[0]
    assert (stored.sop_instance_uid, stored.sender.calling_aet) == (ct.sop_instance, "gateway-1")
    assert stored.digest == hashlib.sha256(ct.data).hexdigest()


def test_what_still_makes_no_instance_or_has_changed_stays_in_quarantine(web, ct):
    post(web, multipart(b"this is no DICOM file"))
    post(web, multipart(ct.file), "/studies/1.2.3")
    kept = {event.status: event.reception_id for event in web.events(InstanceQuarantined, 2)}
    garbage, changed = kept[0xC001], kept[0xA900]
    answer = quarantined(web, garbage, "/resubmit", method="POST")
    assert (answer.status_code, "still makes no instance" in answer.text) == (409, True)
    path = web.store.root / "quarantine" / f"{changed}.bin"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.unlink()
    path.write_bytes(whole)
    answer = quarantined(web, changed, "/resubmit", method="POST")
    assert (answer.status_code, "not those that were received" in answer.text) == (409, True)
    assert not web.bus.of(InstanceStored)
    assert not web.files("incoming")


# -- the reader


def read(body: bytes, step: int, boundary: str = "xyz") -> list[bytes]:
    reader, parts = MultipartReader(boundary), []
    for at in range(0, len(body), step):
        for piece in reader.feed(body[at : at + step]):
            match piece:
                case PartBegins():
                    parts.append(b"")
                case PartData():
                    parts[-1] += piece.data
                case PartEnds():
                    pass
    assert reader.is_complete
    return parts


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=4), st.integers(1, 40))
def test_parts_are_read_as_they_were_written_however_the_body_is_cut(parts, step):
    clean = [part for part in parts if b"\r\n--xyz" not in part and not part.startswith(b"--xyz")]
    assert read(multipart(*clean), step) == clean


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_what_only_looks_like_a_boundary_is_data(step):
    parts = [b"a\r\n--xyz1\r\n--xy\r\n-\r\n", b"", b"\r\n\r\n--xyzz"]
    assert read(b"preamble\r\n" + multipart(*parts) + b"epilogue", step) == parts


@given(st.binary(max_size=400))
def test_any_bytes_are_parts_or_a_clear_refusal(body):
    reader = MultipartReader("x")
    with suppress(MalformedMultipart):
        assert all(isinstance(piece, PartBegins | PartData | PartEnds) for piece in reader.feed(body))


def test_content_types_are_read_with_their_quoting():
    kind, parameters = media_type('Multipart/Related;Type="application/dicom" ; BOUNDARY="a \\"b"; x=y')
    assert (kind, parameters) == ("multipart/related", {"type": "application/dicom", "boundary": 'a "b', "x": "y"})

"""Senders: the page and the API of sources and associations, and STOW-RS passed on to a receiver."""

import asyncio
import hashlib
import io
import zipfile
from typing import Any

import pytest
from sqlalchemy import text

from hermes_common import subjects
from hermes_common.access import KEY, AccessList
from hermes_common.config import Kind, SourceMode, Sources
from hermes_common.passcodes import passcode_fits
from hermes_web.web import Web

pytestmark = pytest.mark.servers


async def document(web: Web) -> tuple[int, Sources]:
    revision = await web.config.current(Kind.SOURCES)
    parsed = revision.parsed()
    assert isinstance(parsed, Sources)
    return revision.revision, parsed


async def change(web: Web, admin: Any, **form: str) -> Sources:
    revision, _ = await document(web)
    answer = await admin.post("/sources", {"revision": str(revision), **form})
    assert answer.status_code == 303, answer.text
    return (await document(web))[1]


async def test_the_page_says_in_words_who_may_send(web: Web, admin) -> None:
    assert "<strong>Open:</strong> anybody who reaches the port may send" in (await admin.get("/sources")).text
    sources = await change(web, admin, action="mode", mode="allow_list")
    assert sources.mode is SourceMode.ALLOW_LIST
    assert "<strong>Allow-list:</strong> nobody may send yet" in (await admin.get("/sources")).text


async def test_one_click_makes_an_entry_of_a_sender_that_was_seen(web: Web, admin, api, make_ledger) -> None:
    make_ledger()
    seen = (await api.get("/api/v1/sources/seen")).json()["items"]
    assert seen
    first = seen[0]
    assert {"calling_aet", "called_aet", "address", "last_seen", "associations", "allowed"} <= set(first)
    page = (await admin.get("/sources")).text
    assert first["calling_aet"] in page
    assert "Make an entry" in page
    entry = {"calling_aet": first["calling_aet"], "address": first["address"]}
    for _ in range(2):
        sources = await change(web, admin, action="known", **entry)
    assert len({source.slug for source in sources.sources}) == 2
    again = (await api.get("/api/v1/sources/seen")).json()["items"]
    assert next(item for item in again if item["address"] == first["address"])["source"] == sources.sources[0].slug


async def test_called_ae_titles_users_and_commitment_addresses_are_kept(web: Web, admin) -> None:
    await change(web, admin, action="called", aet="TRIAL", called_mode="allow_list")
    await change(web, admin, action="strictness", only_called="yes", refuse_unverified="yes")
    form = {"slug": "ct", "name": "CT", "calling_aet": "CT01", "commitment_host": "10.0.0.7", "commitment_port": "104"}
    await change(web, admin, action="add", **form)
    sources = await change(web, admin, action="user", slug="ct", user="anna", passcode="open sesame 1")
    assert [(title.aet, title.mode) for title in sources.called] == [("TRIAL", SourceMode.ALLOW_LIST)]
    assert (sources.only_called, sources.refuse_unverified) == (True, True)
    entry = sources.sources[0]
    assert entry.commitment is not None
    assert (entry.commitment.host, entry.commitment.port) == ("10.0.0.7", 104)
    assert passcode_fits(b"open sesame 1", entry.users[0].passcode or "")
    page = (await admin.get("/sources")).text
    assert "open sesame" not in page
    assert "10.0.0.7:104" in page
    sources = await change(web, admin, action="drop_user", slug="ct", user="anna")
    assert not sources.sources[0].users
    assert not (await change(web, admin, action="drop_called", aet="TRIAL")).called


async def test_what_is_kept_of_a_passcode_is_shown_nowhere_and_its_mark_keeps_it(web: Web, admin, viewer, api) -> None:
    await change(web, admin, action="add", slug="ct", name="CT", calling_aet="CT01")
    sources = await change(web, admin, action="user", slug="ct", user="anna", passcode="open sesame 1")
    kept = sources.sources[0].users[0].passcode or ""
    answer = await api.get("/api/v1/sources")
    revision = answer.headers["etag"].strip('"')
    looked = ["/sources", "/history/sources", f"/history/sources/{revision}", "/audit", "/system"]
    pages = [(await client.get(path)).text for client in (viewer, admin) for path in looked]
    lists = ["/api/v1/sources", "/api/v1/sources/revisions", f"/api/v1/sources/revisions/{revision}"]
    pages += [(await api.get(path)).text for path in lists]
    pages += [message.data.decode() async for message in web.bus.read("HERMES", "hermes.v1.config.>", 0)]
    bundle = zipfile.ZipFile(io.BytesIO((await admin.get("/system/diagnostics")).content))
    pages += [bundle.read(name).decode() for name in bundle.namelist()]
    assert kept.startswith("scrypt$")
    assert not [page for page in pages if "scrypt" in page]
    document = answer.json()
    document["sources"][0]["comment"] = "changed by a program"
    headers = {"if-match": answer.headers["etag"]}
    assert (await api.put("/api/v1/sources", json=document, headers=headers)).status_code == 200
    stored = (await web.config.current(Kind.SOURCES)).document["sources"][0]
    assert (stored["comment"], stored["users"][0]["passcode"]) == ("changed by a program", kept)
    document["sources"][0]["users"][0]["passcode"] = "sealed:0123456789ab"
    etag = (await api.get("/api/v1/sources")).headers["etag"]
    refused = await api.put("/api/v1/sources", json=document, headers={"if-match": etag})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "sources[0].users[0].passcode")


async def test_a_short_passcode_and_an_unknown_action_are_refused(web: Web, admin) -> None:
    await change(web, admin, action="add", slug="ct", name="CT", calling_aet="CT01")
    revision, _ = await document(web)
    form = {"revision": str(revision), "action": "user", "slug": "ct", "user": "anna", "passcode": "short"}
    assert "at least 8 characters" in (await admin.post("/sources", form)).text
    assert (await admin.post("/sources", {"revision": str(revision), "action": "nothing"})).status_code == 404


async def test_associations_are_listed_with_counts_and_reasons(api, viewer, make_ledger) -> None:
    make_ledger()
    items = (await api.get("/api/v1/associations")).json()["items"]
    assert items
    assert {"state", "instances", "refused", "octets", "reason", "seconds", "octets_per_second"} <= set(items[0])
    state = items[0]["state"]
    only = (await api.get("/api/v1/associations", params={"state": state})).json()["items"]
    assert {item["state"] for item in only} == {state}
    assert (await api.get("/api/v1/associations", params={"state": "aborted"})).json()["items"] == []
    assert (await api.get("/api/v1/associations", params={"state": "nothing"})).status_code == 400
    described = (await api.get("/api/v1/openapi.json")).json()["paths"]["/api/v1/associations"]["get"]["parameters"]
    assert {"state", "calling_aet", "address", "cursor", "limit"} == {each["name"] for each in described}
    sender = items[0]["calling_aet"]
    assert (await api.get("/api/v1/associations", params={"calling_aet": sender})).json()["items"] == items
    assert (await api.get("/api/v1/associations", params={"address": "192.0.2.99"})).json()["items"] == []
    first = (await api.get("/api/v1/associations", params={"limit": 1})).json()
    assert len(first["items"]) == 1
    shown = (await viewer.get("/associations")).text
    for name in ("calling_aet", "tls", "certificate", "identity", "implementation"):
        assert items[0][name] in shown
    assert (items[0]["implementation"], ">CT_1</small>" in shown) == ("CT_1 1.2.3", True), "the row has its name alone"


async def test_tokens_are_mirrored_as_hashes_and_a_revoked_one_is_gone_at_once(web: Web, api) -> None:
    made = (await api.post("/api/v1/tokens", json={"name": "gateway", "role": "sender"})).json()

    async def listed() -> AccessList:
        loaded = await web.bus.load(subjects.STATE, KEY, AccessList)
        assert loaded is not None
        return loaded[0]

    found = next(token for token in (await listed()).tokens if token.name == "gateway")
    assert found.digest == hashlib.sha256(made["token"].encode()).hexdigest()
    assert found.may_send
    assert made["token"] not in (await listed()).model_dump_json()
    headers = {"authorization": f"Bearer {made['token']}"}
    assert (await api.get("/api/v1/series", headers=headers)).status_code == 403
    await api.delete(f"/api/v1/tokens/{made['id']}")
    assert "gateway" not in {token.name for token in (await listed()).tokens}


async def test_stow_rs_is_passed_on_as_it_comes_and_the_answer_back(web: Web, api) -> None:
    heard: list[tuple[str, dict[str, str], bytes]] = []

    async def receiver(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        heard.append((head[0], headers, body))
        answer = b'{"00081190":{"vr":"UR"}}'
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Type: application/dicom+json\r\nConnection: close\r\n")
        writer.write(f"Content-Length: {len(answer)}\r\n\r\n".encode() + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receiver, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    web.settings.dicomweb_url = f"http://127.0.0.1:{port}"
    kind = 'multipart/related; type="application/dicom"; boundary=x'

    async def body():
        for _ in range(6):
            yield bytes(1024 * 1024)

    answer = await api.post("/dicom-web/studies/1.2.3", content=body(), headers={"content-type": kind})
    server.close()
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/dicom+json")
    line, headers, received = heard[0]
    assert line == "POST /dicom-web/studies/1.2.3 HTTP/1.1"
    assert headers["content-type"] == kind
    assert headers["authorization"].startswith("Bearer ")
    assert len(received) == 6 * 1024 * 1024


async def test_bytes_of_quarantine_of_which_the_audit_cannot_tell_are_not_given_and_the_receiver_is_let_go(
    web: Web, api
) -> None:
    let_go = asyncio.Event()

    async def receiver(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nDICM")
        await writer.drain()
        await reader.read()  # until the other side closes
        let_go.set()
        writer.close()

    server = await asyncio.start_server(receiver, "127.0.0.1", 0)
    web.settings.dicomweb_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await web.database.run(lambda connection: connection.execute(text("DROP TABLE accounts.outbox")))
    answer = await api.get(f"/api/v1/quarantine/{'ab' * 16}/content")
    assert answer.status_code == 503
    assert b"DICM" not in answer.content
    await asyncio.wait_for(let_go.wait(), 10)
    server.close()


async def test_without_a_receiver_stow_rs_says_what_to_set(web: Web, api) -> None:
    answer = await api.post("/dicom-web/studies", content=b"x")
    assert answer.status_code == 503
    assert "HERMES_DICOMWEB_URL" in answer.text
    web.settings.dicomweb_url = "http://127.0.0.1:9"
    assert (await api.post("/dicom-web/studies", content=b"x")).status_code == 503

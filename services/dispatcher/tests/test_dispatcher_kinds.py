"""Each kind of target against a real peer: what is said to be delivered is there, byte for byte, and tests say why."""

import asyncio
import contextlib
import email.utils
import hashlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import asyncssh
import pytest
from minio import Minio
from pydantic import SecretStr

from hermes_common import config
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.records import DeliveryState
from hermes_common.runtime.clock import now
from hermes_common.runtime.sealing import Sealer
from hermes_common.targets import BasicAuth, BearerAuth, OAuth2Auth, Tls
from hermes_common.targettests import TargetTested
from hermes_dispatcher.adapters.targets import opening, sender_of
from hermes_dispatcher.handlers.testing import Prober

from .conftest import QUICK, SECRET, SERIES, STUDY, fetch, free_port

pytestmark = pytest.mark.servers


def digest(whole: bytes) -> str:
    return hashlib.sha256(whole[parse_file_meta(whole).offset :]).hexdigest()


async def tried(target: config.AnyTarget) -> TargetTested:
    found = await Prober("dispatcher@t", sender_of).test(target)
    assert SECRET not in found.model_dump_json()
    return found


async def delivered(place: Any, target: config.AnyTarget, instances: list[Any], seconds: float = 20) -> Any:
    await place.targets(target)
    delivery = await place.delivery(target.slug, instances)
    async with place.dispatcher():
        return await place.until(delivery, DeliveryState.SUCCEEDED, DeliveryState.FAILED, seconds=seconds)


# -- STOW-RS


@pytest.mark.interop
async def test_orthanc_gets_every_instance_over_stow_rs_unchanged(place, orthanc: str) -> None:
    auth = BasicAuth(user="hermes", password=SecretStr(SECRET))
    target = config.StowTarget(slug="dw", name="d", url=f"{orthanc}/dicom-web", auth=auth, retry=QUICK, batch=4)
    steps = await tried(target)
    assert steps.ok, steps
    assert [step.name for step in steps.steps][-1] == "HTTP"
    instances = [place.instance(n, 300_000 if n == 3 else 2000) for n in range(10)]
    record = await delivered(place, target, instances)
    assert record.state is DeliveryState.SUCCEEDED, record.reason
    listed = await asyncio.to_thread(lambda: json.loads(fetch(f"{orthanc}/instances")))
    files = await asyncio.to_thread(lambda: [fetch(f"{orthanc}/instances/{one}/file") for one in listed])
    assert {digest(file) for file in files} == {instance.digest for instance in instances}
    wrong = target.model_copy(update={"auth": BasicAuth(user="hermes", password=SecretStr("no"))})
    refused = await tried(wrong)
    assert not refused.ok
    assert "does not let us in" in refused.steps[-1].detail


class Web:
    """A DICOMweb service and a token service that do what ``script`` says; a real HTTP server."""

    def __init__(self) -> None:
        self.posts: list[list[str]] = []
        self.tokens: list[dict[str, list[str]]] = []
        self.valid: str | None = None
        """The bearer token that is wanted, if any."""
        self.refusal = 401
        """What who comes without it is told."""
        self.script: Callable[[list[str]], tuple[int, Any]] = lambda uids: (200, stored(*uids))
        self.headers: dict[str, str] = {}
        """What answers have beside their length."""
        self.hang = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def answer(self, status: int, body: Any) -> None:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                for name, value in web.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                self.answer(401 if web.refuses(self.headers) else 204, b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/token":
                    assert self.headers["Authorization"] == "Basic Y2xpZW50OnBsYW50ZWQtc2VjcmV0LTQ3MTE="
                    web.tokens.append(parse_qs(body.decode()))
                    web.valid = f"token-{len(web.tokens)}"
                    self.answer(200, {"access_token": web.valid, "token_type": "Bearer", "expires_in": 60})
                    return
                if web.refuses(self.headers):
                    self.answer(web.refusal, b"")
                    return
                boundary = re.search("boundary=([^;]+)", self.headers["Content-Type"])[1]
                parts = body.split(f"--{boundary}".encode())[1:-1]
                files = [part.partition(b"\r\n\r\n")[2][:-2] for part in parts]
                uids = [parse_file_meta(file).meta.sop_instance_uid for file in files]
                web.posts.append(uids)
                status, content = web.script(uids)
                if content == "hang":
                    web.hang.wait(20)
                else:
                    self.answer(status, content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def refuses(self, headers: Any) -> bool:
        return self.valid is not None and headers["Authorization"] != f"Bearer {self.valid}"

    def close(self) -> None:
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()


def entry(uid: str, **codes: int) -> dict[str, Any]:
    tags = {"failure": "00081197", "warning": "00081196"}
    more = {tags[name]: {"vr": "US", "Value": [code]} for name, code in codes.items()}
    return {"00081155": {"vr": "UI", "Value": [uid]}, **more}


def stored(*uids: str) -> dict[str, Any]:
    return {"00081199": {"vr": "SQ", "Value": [entry(uid) for uid in uids]}}


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    yield made
    made.close()


def stow(web: Web, **more: Any) -> config.StowTarget:
    return config.StowTarget.model_validate(
        {"slug": "dw", "name": "d", "url": f"{web.url}/dw", "retry": QUICK, "response_timeout": "2s"} | more
    )


async def test_tokens_are_asked_for_with_client_credentials_and_again_when_they_are_refused(place, web: Web) -> None:
    auth = OAuth2Auth(
        token_url=f"{web.url}/token", client_id="client", client_secret=SecretStr(SECRET), scope="dicom write"
    )
    target = stow(web, auth=auth, batch=2)
    assert [step.name for step in (await tried(target)).steps][-2:] == ["token", "HTTP"]

    def expiring(uids: list[str]) -> tuple[int, Any]:
        if len(web.posts) == 2:
            web.valid = "another"
        return 200, stored(*uids)

    web.script = expiring
    record = await delivered(place, target, [place.instance(n) for n in range(6)])
    assert record.state is DeliveryState.SUCCEEDED
    assert web.tokens[-1] == {"grant_type": ["client_credentials"], "scope": ["dicom write"]}
    assert len(web.tokens) == 3
    assert sum(len(uids) for uids in web.posts) == 6


async def test_a_bearer_token_is_shown_and_a_wrong_one_makes_the_target_down(place, web: Web) -> None:
    web.valid = SECRET
    good = stow(web, auth=BearerAuth(token=SecretStr(SECRET)))
    assert (await tried(good)).ok
    await place.targets(stow(web, auth=BearerAuth(token=SecretStr("wrong"))))
    delivery = await place.delivery("dw", [place.instance(1)])
    async with place.dispatcher():
        assert "HTTP 401" in (await place.down("dw")).reason
        await place.targets(good)
        await place.until(delivery, DeliveryState.SUCCEEDED)
    assert (await place.record(delivery)).tries == 1


async def test_only_what_the_answer_names_as_stored_is_delivered(place, web: Web) -> None:
    unnamed = {f"{SERIES}.4"}

    def script(uids: list[str]) -> tuple[int, Any]:
        answer: dict[str, Any] = {"00081199": {"Value": []}, "00081198": {"Value": []}}
        for uid in uids:
            match uid.rpartition(".")[2]:
                case "1":
                    answer["00081198"]["Value"].append(entry(uid, failure=0xC000))
                case "2":
                    answer["00081199"]["Value"].append(entry(uid, warning=0xB000))
                case "3" if len(web.posts) == 1:
                    answer["00081198"]["Value"].append(entry(uid, failure=0xA700))
                case _ if uid in unnamed:
                    unnamed.discard(uid)
                case _:
                    answer["00081199"]["Value"].append(entry(uid))
        return 202, answer

    web.script = script
    await place.targets(stow(web))
    delivery = await place.delivery("dw", [place.instance(n) for n in range(6)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.FAILED)
    assert (record.delivered, record.refused, record.attempt) == ("0,2-5", "1", 2)
    outcomes = {(one.index, one.result, one.status): one.reason for one in await place.outcomes(delivery)}
    assert "B000H" in outcomes[2, "delivered", 0xB000]
    assert (1, "failed", 0xC000) in outcomes
    assert "does not name this instance" in outcomes[4, "failed", None]
    assert sorted(web.posts[1]) == [f"{SERIES}.3", f"{SERIES}.4"]


async def test_a_batch_that_is_refused_as_a_whole_is_sent_one_by_one(place, web: Web) -> None:
    def script(uids: list[str]) -> tuple[int, Any]:
        return (413, b"too large") if f"{SERIES}.2" in uids else (200, stored(*uids))

    web.script = script
    record = await delivered(place, stow(web), [place.instance(n) for n in range(4)])
    assert (record.delivered, record.refused, record.attempt) == ("0-1,3", "2", 1)
    assert "HTTP 413" in record.reason


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (200, b"", "does not name"), (200, b"<xml/>", "does not name"), (200, [], "does not name"),
        (503, b"", "HTTP 503"), (200, "hang", "did nothing for 2 s"),
    ],
)  # fmt: skip
async def test_an_answer_that_says_nothing_of_an_instance_never_counts_as_delivered(
    place, web: Web, status: int, content: Any, words: str
) -> None:
    web.script = lambda uids: (status, content) if len(web.posts) == 1 else (200, stored(*uids))
    await place.targets(stow(web))
    delivery = await place.delivery("dw", [place.instance(1)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert record.attempt == 2
    [retrying] = await place.said(delivery, "retrying")
    assert words in retrying.reason


@pytest.mark.parametrize("status", [429, 503])
async def test_a_target_that_asks_to_be_left_alone_is_not_tried_before_that_and_the_reason_says_so(
    place, web: Web, status: int
) -> None:
    came: list[float] = []

    def script(uids: list[str]) -> tuple[int, Any]:
        came.append(time.monotonic())
        if len(came) > 1:
            return 200, stored(*uids)
        web.headers = {"Retry-After": "3"}
        return status, b""

    web.script = script
    record = await delivered(place, stow(web), [place.instance(n) for n in range(2)])
    assert (record.state, record.attempt) == (DeliveryState.SUCCEEDED, 2)
    assert came[1] - came[0] >= 3  # its own policy would have come back after one second
    [retrying] = await place.said(record.delivery_id, "retrying")
    assert f"HTTP {status}" in retrying.reason
    assert "asked to be left alone for 3s" in retrying.reason


async def test_a_token_service_may_ask_to_be_left_alone_too(place, web: Web) -> None:
    auth = OAuth2Auth(token_url=f"{web.url}/dw/none", client_id="client", client_secret=SecretStr(SECRET))
    web.headers = {"Retry-After": email.utils.format_datetime(now() + timedelta(minutes=10), usegmt=True)}
    web.valid = "nobody"
    await place.targets(stow(web, auth=auth))
    web.refusal = 503
    delivery = await place.delivery("dw", [place.instance(1)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.RETRYING)
    assert timedelta(minutes=9) < record.next_attempt_at - now() < timedelta(minutes=11)
    assert "the token service answered HTTP 503" in record.reason


# -- S3


def bucket(running: Any) -> Minio:
    return Minio(running.endpoint, running.access_key, running.secret_key, secure=False)


async def test_a_bucket_has_every_instance_under_its_key_once_and_other_bytes_beside_it(place, running_s3) -> None:
    name = f"target-{free_port()}"
    target = config.S3Target(
        slug="store", name="s", endpoint=running_s3.endpoint, secure=False, bucket=name, retry=QUICK,
        access_key=running_s3.access_key, secret_key=SecretStr(running_s3.secret_key),
        key_template="in/{sender}/{study_uid}/{sop_instance_uid}.dcm",
    )  # fmt: skip
    missing = await tried(target)
    assert "no bucket" in missing.steps[-1].detail
    client = bucket(running_s3)
    await asyncio.to_thread(client.make_bucket, name)
    assert (await tried(target)).ok
    stranger = target.model_copy(update={"secret_key": SecretStr(SECRET)})
    assert "does not let us in" in (await tried(stranger)).steps[-1].detail
    instances = [place.instance(n, 8_000_000 if n == 2 else 2000, sender="CT 1") for n in range(4)]
    assert (await delivered(place, target, instances)).state is DeliveryState.SUCCEEDED

    def listed() -> dict[str, Any]:
        found = client.list_objects(name, recursive=True)
        return {str(one.object_name): one for one in found}

    def body(key: str) -> bytes:
        answer = client.get_object(name, key)
        try:
            return answer.read()
        finally:
            answer.close()
            answer.release_conn()

    first = await asyncio.to_thread(listed)
    assert set(first) == {f"in/CT_1/{STUDY}/{SERIES}.{n}.dcm" for n in range(4)}
    found = await asyncio.to_thread(lambda: {digest(body(key)) for key in first})
    assert found == {instance.digest for instance in instances}
    other = place.instance(1, 4000, sender="CT 1")
    assert (await delivered(place, target, [instances[0], other])).state is DeliveryState.SUCCEEDED
    second = await asyncio.to_thread(listed)
    assert set(second) - set(first) == {f"in/CT_1/{STUDY}/{SERIES}.1-{other.digest[:16]}.dcm"}
    assert {key: second[key].last_modified for key in first} == {key: one.last_modified for key, one in first.items()}


# -- SFTP


@contextlib.asynccontextmanager
async def ssh_server(root: Path, **more: Any) -> AsyncIterator[tuple[int, str]]:
    """An SSH server of a user with a password and a key, whose files are in ``root``; its port and host key."""
    key = asyncssh.generate_private_key("ssh-ed25519")

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("hermes", SECRET)

    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[key],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()), **more,
    )  # fmt: skip
    try:
        yield server.get_port(), key.export_public_key().decode().strip()
    finally:
        server.close()
        await server.wait_closed()


def sftp(port: int, host_key: str, **more: Any) -> config.SftpTarget:
    return config.SftpTarget.model_validate(
        {
            "slug": "box", "name": "b", "host": "127.0.0.1", "port": port, "host_key": host_key, "user": "hermes",
            "password": SECRET, "folder": "/in", "retry": QUICK, "response_timeout": "3s",
        } | more
    )  # fmt: skip


async def test_an_sftp_server_has_every_instance_whole_and_other_bytes_beside_it(place, tmp_path: Path) -> None:
    root = tmp_path / "sftp"
    (root / "in").mkdir(parents=True)
    async with ssh_server(root) as (port, host_key):
        target = sftp(port, host_key)
        steps = await tried(target)
        assert steps.ok, steps
        assert [step.name for step in steps.steps][-2:] == ["host key and sign in", "look for the folder"]
        instances = [place.instance(n, 900_000 if n == 2 else 2000) for n in range(4)]
        other = place.instance(1, 4000)
        assert (await delivered(place, target, instances)).state is DeliveryState.SUCCEEDED
        assert (await delivered(place, target, [instances[0], other])).state is DeliveryState.SUCCEEDED
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    folder = f"in/{STUDY}/{SERIES}"
    names = {f"{folder}/{SERIES}.{n}.dcm" for n in range(4)} | {f"{folder}/{SERIES}.1-{other.digest[:16]}.dcm"}
    assert set(files) == names
    assert {digest(path.read_bytes()) for path in files.values()} == {one.digest for one in [*instances, other]}


async def test_a_server_with_another_host_key_is_not_spoken_to_and_wrong_secrets_are_named(place, tmp_path) -> None:
    root = tmp_path / "sftp"
    root.mkdir()
    mine = asyncssh.generate_private_key("ssh-ed25519")
    authorized = asyncssh.import_authorized_keys(mine.export_public_key().decode())
    async with ssh_server(root, authorized_client_keys=authorized) as (port, host_key):
        stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        pinned = await tried(sftp(port, stranger))
        assert "another host key" in pinned.steps[-1].detail
        assert "does not let us in" in (await tried(sftp(port, host_key, password="no"))).steps[-1].detail
        private = mine.export_private_key().decode()
        by_key = await tried(sftp(port, host_key, password="", private_key=private))
        assert [step.ok for step in by_key.steps] == [True, True, True, False]
        assert "no folder /in" in by_key.steps[-1].detail
        nonsense = await tried(sftp(port, host_key, password="", private_key="nonsense"))
        assert "cannot be read" in nonsense.steps[-1].detail
        await place.targets(sftp(port, host_key))
        delivery = await place.delivery("box", [place.instance(1)])
        async with place.dispatcher():
            await place.down("box")
            (root / "in").mkdir()
            await place.until(delivery, DeliveryState.SUCCEEDED)
        assert (await place.record(delivery)).tries == 1


# -- DICOM over TLS


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path: Path, peer: Callable[[str, str], str]) -> Path:
    """A folder with an authority (``ca``), a server's and a client's certificate, and a stranger's authority."""
    peer("openssl", "openssl")
    folder = tmp_path / "tls"
    folder.mkdir()
    for name in ("ca", "other"):
        openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.csr")  # fmt: skip
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
                "-extfile", "san", "-out", f"{name}.pem")  # fmt: skip
    return folder


@pytest.fixture
def secure_storescp(certificates: Path, peer: Callable[[str, str], str], tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """DCMTK's storescp over TLS, for whoever shows a certificate of the authority: its port and its folder."""
    folder, port = tmp_path / "received", free_port()
    folder.mkdir()
    command = [peer("storescp", "dcmtk"), "--fork", "-od", str(folder), "+tls", "server.key", "server.pem"]
    process = subprocess.Popen([*command, "+cf", "ca.pem", "-rc", str(port)], cwd=certificates)
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.05)
    yield port, folder
    process.terminate()
    process.wait(10)


@pytest.mark.interop
async def test_dcmtk_over_tls_lets_in_whoever_shows_a_certificate_and_gets_the_series(
    place, certificates: Path, secure_storescp: tuple[int, Path]
) -> None:
    port, folder = secure_storescp
    pem = {name: (certificates / name).read_text() for name in ("ca.pem", "other.pem", "client.pem", "client.key")}
    tls = Tls(ca=pem["ca.pem"], certificate=pem["client.pem"], key=SecretStr(pem["client.key"]))
    target = config.DicomTarget(
        slug="pacs", name="p", host="127.0.0.1", port=port, called_aet="STORESCP", tls=tls, retry=QUICK
    )
    steps = await tried(target)
    assert steps.ok, steps
    assert "certificate of server" in steps.steps[2].detail
    instances = [place.instance(n) for n in range(5)]
    assert (await delivered(place, target, instances)).state is DeliveryState.SUCCEEDED
    files = await asyncio.to_thread(lambda: [path.read_bytes() for path in folder.iterdir()])
    assert {digest(file) for file in files} == {one.digest for one in instances}
    distrusting = target.model_copy(update={"tls": tls.model_copy(update={"ca": pem["other.pem"]})})
    assert "not trusted" in (await tried(distrusting)).steps[-1].detail
    for other in (Tls(ca=pem["ca.pem"]), None):
        assert not (await tried(target.model_copy(update={"tls": other}))).ok
    broken = target.model_copy(update={"tls": Tls(ca="nonsense")})
    assert "cannot be used" in (await tried(broken)).steps[-1].detail


async def test_a_target_over_tls_that_names_another_host_is_refused_unless_told_otherwise(certificates: Path) -> None:
    openssl(certificates, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
            "-out", "nameless.pem")  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "nameless.pem", certificates / "server.key")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(100)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    tls = Tls(ca=(certificates / "ca.pem").read_text())
    target = config.DicomTarget(slug="p", name="p", host="127.0.0.1", port=port, called_aet="X", tls=tls)
    async with server:
        named = await tried(target)
        assert (named.steps[-1].name, named.steps[-1].ok) == ("TLS", False)
        loose = await tried(target.model_copy(update={"tls": tls.model_copy(update={"check_name": False})}))
        assert [step.ok for step in loose.steps] == [True, True, True, False]
        assert loose.steps[-1].name == "association"


async def test_instances_go_over_https_to_a_service_that_is_trusted_and_to_no_other(
    place, web: Web, certificates: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
    pem = {name: (certificates / name).read_text() for name in ("ca.pem", "other.pem", "client.pem", "client.key")}
    ours = {"certificate": pem["client.pem"], "key": SecretStr(pem["client.key"])}
    url = web.url.replace("http:", "https:") + "/dw"
    target = stow(web, url=url, tls=Tls(ca=pem["ca.pem"], **ours))
    steps = await tried(target)
    assert steps.ok, steps
    assert "TLS" in [step.name for step in steps.steps]
    assert (await delivered(place, target, [place.instance(n) for n in range(3)])).state is DeliveryState.SUCCEEDED
    for ca in (pem["other.pem"], ""):
        distrusting = target.model_copy(update={"tls": Tls(ca=ca, **ours)})
        assert "not trusted" in (await tried(distrusting)).steps[-1].detail
    assert not (await tried(target.model_copy(update={"tls": Tls(ca=pem["ca.pem"])}))).ok


# -- DICOM


async def test_the_senders_ae_title_is_passed_on_where_that_is_wanted(place, scp) -> None:
    peer = scp()
    instances = [place.instance(n, sender="CT01" if n < 3 else "CT02") for n in range(5)] + [place.instance(9)]
    record = await delivered(place, peer.target(pass_calling_aet=True, calling_aet="OURS"), instances)
    assert record.state is DeliveryState.SUCCEEDED
    assert peer.callers == ["CT01", "CT02", "OURS"]
    assert set(peer.stored().values()) == {1}


async def test_no_pdu_is_longer_than_the_target_is_to_get(place, scp) -> None:
    peer = scp()
    record = await delivered(place, peer.target(max_pdu=4096), [place.instance(1, 100_000)])
    assert record.state is DeliveryState.SUCCEEDED
    assert 4000 < peer.largest_pdu <= 4096 + 6


@pytest.mark.parametrize("at", [10_000, 150_000, 290_000])
async def test_an_abort_in_the_middle_of_an_instance_is_no_delivery_and_the_rest_follows(place, scp, at: int) -> None:
    peer = scp()
    peer.abort_at = at
    record = await delivered(place, peer.target(), [place.instance(n, 100_000) for n in range(3)])
    assert record.state is DeliveryState.SUCCEEDED
    assert len(peer.stored()) == 3
    assert set(peer.stored().values()) == {1}


async def test_a_transfer_syntax_that_the_target_does_not_take_is_refused_for_that_instance_alone(place, scp) -> None:
    peer = scp()
    jpeg = "1.2.840.10008.1.2.4.70"
    instances = [place.instance(n, syntax=jpeg if n == 1 else "1.2.840.10008.1.2.1") for n in range(3)]
    record = await delivered(place, peer.target(), instances)
    assert (record.state, record.delivered, record.refused) == (DeliveryState.FAILED, "0,2", "1")
    assert jpeg in record.reason


STATUSES = {
    0x0000: "delivered", 0xB000: "delivered", 0xB006: "delivered", 0xB007: "delivered", 0x0107: "delivered",
    0xA900: "refused", 0xA9FF: "refused", 0xC000: "refused", 0xCFFF: "refused", 0x0122: "refused", 0x0124: "refused",
    0x0111: "refused", 0x0117: "refused", 0xA700: "again", 0xA7FF: "again", 0x0110: "again",
}  # fmt: skip


async def test_every_class_of_status_has_its_consequence(place, scp) -> None:
    order = sorted(STATUSES, key=lambda status: (STATUSES[status] == "again", status))
    codes = {f"{SERIES}.{n}": code for n, code in enumerate(order)}
    first: set[str] = set()

    def script(_: int, uid: str) -> int:
        if STATUSES[codes[uid]] != "again":
            return codes[uid]
        if uid in first:
            return 0
        first.add(uid)
        return codes[uid]

    peer = scp(script)
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(len(order))])
    async with place.dispatcher():
        await place.until(delivery, DeliveryState.FAILED)
    outcomes = await place.outcomes(delivery)
    for n, code in enumerate(order):
        found = [(one.result, one.status) for one in outcomes if one.index == n]
        match STATUSES[code]:
            case "delivered":
                assert found == [("delivered", code)]
            case "refused":
                assert found == [("failed", code)]
            case _:
                assert found == [("failed", code), ("delivered", 0)]
    reasons = {one.status: one.reason for one in outcomes}
    assert "PS3.4 B.2.3" in reasons[0xA700]
    assert "PS3.4 B.2.3" in reasons[0xB000]
    assert "PS3.7 C" in reasons[0x0122]


# -- folder


async def test_a_folder_is_filled_by_its_template_and_tested_by_writing(place) -> None:
    target = place.to_folder(path_template="{sender}/{sop_instance_uid}.dcm")
    steps = await tried(target)
    assert [step.ok for step in steps.steps] == [True, True, True]
    assert list((place.folder / "folder").iterdir()) == []
    assert (await delivered(place, target, [place.instance(1, sender="../X")])).state is DeliveryState.SUCCEEDED
    assert (place.folder / "folder" / "___X" / f"{SERIES}.1.dcm").is_file()
    shutil.rmtree(place.folder / "folder")
    assert "does not exist" in (await tried(target)).steps[-1].detail


async def test_a_secret_that_cannot_be_opened_makes_the_target_down_with_words_that_help(place, web: Web) -> None:
    await place.targets(stow(web, auth=BearerAuth(token=SecretStr(SECRET))))
    await place.delivery("dw", [place.instance(1)])
    place.sender_of = opening(Sealer(SecretStr("another key of 32 characters ....")))
    async with place.dispatcher():
        assert "another HERMES_SECRET_KEY" in (await place.down("dw")).reason
    assert web.posts == []

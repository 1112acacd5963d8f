"""Senders of other projects, and everything that they can send: what comes out is bit for bit what went in."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pydicom.uid
import pytest
from pydicom.data import get_testdata_files

from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.dicom.uids import is_standard_transfer_syntax
from hermes_common.events import InstanceQuarantined, InstanceStored
from hermes_common.runtime.dicom.requestor import StorageAssociation

pytestmark = pytest.mark.interop

ROOT = "1.2.826.0.1.3680043.10.1"


def stored_digests(running) -> Counter[str]:
    """Return how often each data set was received, whatever was thought of it."""
    found: Counter[str] = Counter()
    for event in (*running.bus.of(InstanceStored), *running.bus.of(InstanceQuarantined)):
        raw = (running.store.root / event.key).read_bytes()
        found[hashlib.sha256(raw[parse_file_meta(raw).offset :]).hexdigest()] += 1
    return found


@pytest.fixture(scope="session")
def instances() -> list[tuple[Path, bytes]]:
    """Every file that pydicom ships and that has file meta information and UIDs, with its data set."""
    found = []
    for name in sorted(get_testdata_files()):
        path = Path(name)
        if not path.is_file() or path.suffix in (".gz", ".zip"):
            continue
        raw = path.read_bytes()
        try:
            part10 = parse_file_meta(raw)
        except NotPart10:
            continue
        meta = part10.meta
        if meta.sop_class_uid and meta.sop_instance_uid and is_standard_transfer_syntax(meta.transfer_syntax):
            found.append((path, raw[part10.offset :]))
    return found


def test_every_file_of_pydicom_comes_out_bit_identical(receiver, instances):
    sent: Counter[str] = Counter()
    for path, data in instances:
        meta = parse_file_meta(path.read_bytes()).meta
        contexts = [(meta.sop_class_uid, meta.transfer_syntax)]
        with StorageAssociation.negotiate("SENDER", "HERMES", "127.0.0.1", receiver.port, contexts) as one:
            if not one.accepts(*contexts[0]):
                continue  # media directories are no storage class
            one.c_store(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax, data)
            sent[hashlib.sha256(data).hexdigest()] += 1
    assert sum(sent.values()) > 60
    receiver.eventually(lambda: sum(stored_digests(receiver).values()) >= sum(sent.values()), 20)
    assert stored_digests(receiver) == sent


@contextlib.contextmanager
def storescp(program: str, folder: Path):
    """DCMTK's own receiver, told to keep every bit; gives its port."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [program, "--bit-preserving", "+xa", "+uf", "-od", str(folder), str(port)], stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 10
        while not listens(port):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kept(folder: Path) -> Counter[str]:
    """Return how often each data set was received by storescp."""
    files = (path.read_bytes() for path in folder.iterdir())
    return Counter(hashlib.sha256(raw[parse_file_meta(raw).offset :]).hexdigest() for raw in files)


def send_with(program: str, port: int, paths: list[Path], *, nagle: bool = False) -> None:
    options = ["--no-halt"] if program.endswith("storescu") else ["--no-halt", "--no-uid-checks"]
    subprocess.run(
        [program, *options, "-aec", "HERMES", "127.0.0.1", str(port), *map(str, paths)],
        capture_output=True,
        timeout=100,
        check=False,
        env={**os.environ} if nagle else {**os.environ, "TCP_NODELAY": "1"},
    )


@pytest.mark.parametrize("name", ["storescu", "dcmsend"])
@pytest.mark.parametrize("nagle", [True, False])
def test_of_dcmtk_we_keep_the_same_bits_as_dcmtks_own_receiver(receiver, instances, peer, name, nagle, tmp_path):
    """DCMTK encodes anew what it reads, so what it puts on the wire is learnt from its own bit-preserving receiver."""
    program, paths = peer(name, "dcmtk"), [path for path, _ in instances]
    with storescp(peer("storescp", "dcmtk"), tmp_path / "reference") as port:
        send_with(program, port, paths)
    wanted = kept(tmp_path / "reference")
    assert sum(wanted.values()) > 20
    send_with(program, receiver.port, paths, nagle=nagle)
    receiver.eventually(lambda: not wanted - stored_digests(receiver), 20)


def test_what_pynetdicoms_storescu_sends_is_stored(receiver, ct):
    done = subprocess.run(
        [sys.executable, "-m", "pynetdicom", "storescu", "127.0.0.1", str(receiver.port), str(ct.path), "-cx"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (event,) = receiver.events(InstanceStored)
    assert event.digest == hashlib.sha256(ct.data).hexdigest()


def test_what_hermes_send_sends_is_stored_bit_identical(receiver, instances, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    chosen = [(path, data) for path, data in instances if path.stat().st_size < 200_000][:30]
    for number, (path, _) in enumerate(chosen):
        shutil.copy(path, folder / f"{number}.dcm")
    subprocess.run(
        [sys.executable, "-m", "hermes_cli", "send", str(folder), "--to", f"127.0.0.1:{receiver.port}"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    wanted = Counter(hashlib.sha256(data).hexdigest() for _, data in chosen)
    receiver.eventually(lambda: sum(stored_digests(receiver).values()) >= 20, 10)
    assert not stored_digests(receiver) - wanted


@contextlib.contextmanager
def orthanc(program: str, folder: Path, port: int):
    """An Orthanc that knows our receiver; gives the address of its REST interface."""
    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        http, dicom = probe.getsockname()[1], other.getsockname()[1]
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http,
        "DicomPort": dicom,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"hermes": ["HERMES", "127.0.0.1", port]},
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    process = subprocess.Popen(
        [program, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait(20)


def post(url: str, body: bytes, limit: float = 30.0) -> bytes:
    """POST, again for as long as nobody listens."""
    end = time.monotonic() + limit
    while True:
        try:
            with urllib.request.urlopen(url, data=body, timeout=limit) as answer:  # noqa: S310 - ours, http
                return answer.read()
        except urllib.error.URLError as exc:
            if not isinstance(exc.reason, ConnectionRefusedError) or time.monotonic() > end:
                raise
            time.sleep(0.1)


def test_of_orthanc_we_keep_the_same_bits_as_dcmtks_receiver(receiver, ct, peer, tmp_path):
    with storescp(peer("storescp", "dcmtk"), tmp_path / "reference") as port:
        send_with(peer("storescu", "dcmtk"), port, [ct.path])
    with orthanc(peer("Orthanc", "orthanc"), tmp_path, receiver.port) as url:
        added = json.loads(post(f"{url}/instances", ct.file))
        result = json.loads(post(f"{url}/modalities/hermes/store", added["ID"].encode()))
    assert result["FailedInstancesCount"] == 0
    (event,) = receiver.events(InstanceStored)
    assert {event.digest} == set(kept(tmp_path / "reference"))  # Orthanc sends with DCMTK's library


def test_several_senders_at_once_lose_nothing(receiver, ct, peer):
    programs = [peer("storescu", "dcmtk"), peer("dcmsend", "dcmtk")] * 3
    running = [
        subprocess.Popen(
            [program, "-aec", "HERMES", "127.0.0.1", str(receiver.port), *([str(ct.path)] * 10)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for program in programs
    ]
    own = []

    def send() -> None:
        with StorageAssociation.negotiate(
            "OWN", "HERMES", "127.0.0.1", receiver.port, [(ct.sop_class, ct.syntax)]
        ) as one:
            own.extend(one.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status for _ in range(20))

    thread = threading.Thread(target=send)
    thread.start()
    assert [process.wait(60) for process in running] == [0] * 6
    thread.join(30)
    assert own == [0] * 20
    mine = hashlib.sha256(ct.data).hexdigest()
    receiver.eventually(lambda: stored_digests(receiver)[mine] == 20, 20)
    receiver.eventually(lambda: sum(stored_digests(receiver).values()) >= 20 + 3 * 10 + 3, 20)
    assert len(stored_digests(receiver)) == 2  # ours, and what DCMTK makes of the file


def short(group: int, element: int, vr: bytes, raw: bytes) -> bytes:
    return struct.pack("<HH2sH", group, element, vr, len(raw)) + raw


def data_set(sop_class: str, instance: str, tail: bytes = b"") -> bytes:
    """Return a small explicit little endian data set."""

    def uid(group: int, element: int, value: str) -> bytes:
        raw = value.encode()
        return short(group, element, b"UI", raw + b"\0" * (len(raw) % 2))

    head = uid(8, 0x16, sop_class) + uid(8, 0x18, instance) + short(8, 0x60, b"CS", b"OT")
    return head + uid(0x20, 0xD, f"{ROOT}.1") + uid(0x20, 0xE, f"{ROOT}.2") + tail


def test_every_storage_class_standard_retired_private_is_taken(receiver):
    standard = [
        uid
        for uid in pydicom.uid.UID_dictionary
        if uid.startswith("1.2.840.10008.5.1.4")
        and ".1.1." in uid
        and "Storage" in pydicom.uid.UID_dictionary[uid][0]
        and pydicom.uid.UID_dictionary[uid][1] == "SOP Class"
        and "Commitment" not in pydicom.uid.UID_dictionary[uid][0]
    ]
    private = ["1.2.840.113619.4.26", "1.3.12.2.1107.5.9.1", "1.3.46.670589.5.0.1.1", "1.2.826.0.1.3680043.9.9.9"]
    classes = standard + private
    assert len(standard) > 150
    syntax = "1.2.840.10008.1.2.1"
    answers = {}
    for start in range(0, len(classes), 100):
        some = classes[start : start + 100]
        with StorageAssociation.negotiate(
            "SENDER", "HERMES", "127.0.0.1", receiver.port, [(uid, syntax) for uid in some]
        ) as one:
            for number, uid in enumerate(some, start):
                instance = f"{ROOT}.3.{number}"
                answers[uid] = one.c_store(uid, instance, syntax, data_set(uid, instance)).status
    assert {uid: status for uid, status in answers.items() if status != 0} == {}


def test_every_transfer_syntax_is_taken_as_it_is(receiver):
    import zlib

    syntaxes = [
        uid
        for uid, entry in pydicom.uid.UID_dictionary.items()
        if entry[1] == "Transfer Syntax" and is_standard_transfer_syntax(uid)
    ]
    assert {"1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.100"} <= set(syntaxes)
    sop_class = "1.2.840.10008.5.1.4.1.1.7"
    encapsulated = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    encapsulated += (
        struct.pack("<HHL", 0xFFFE, 0xE000, 0) + struct.pack("<HHL", 0xFFFE, 0xE000, 4) + b"\xff\xd8\xff\xd9"
    )
    encapsulated += struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    odd = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
    sent = Counter()
    for number, syntax in enumerate(s for s in syntaxes if s not in odd):  # those two come with pydicom's files
        instance = f"{ROOT}.4.{number}"
        data = data_set(sop_class, instance, encapsulated)
        if "Deflate" in pydicom.uid.UID_dictionary[syntax][0] and "Frame" not in pydicom.uid.UID_dictionary[syntax][0]:
            packer = zlib.compressobj(wbits=-15)
            data = packer.compress(data) + packer.flush()
            data += b"\0" * (len(data) % 2)
        with StorageAssociation.negotiate("S", "HERMES", "127.0.0.1", receiver.port, [(sop_class, syntax)]) as one:
            assert one.c_store(sop_class, instance, syntax, data).status == 0, syntax
        sent[hashlib.sha256(data).hexdigest()] += 1
    receiver.eventually(lambda: sum(stored_digests(receiver).values()) >= sum(sent.values()), 20)
    assert stored_digests(receiver) == sent
    assert {event.transfer_syntax_uid for event in receiver.bus.of(InstanceStored)} == set(syntaxes) - set(odd)


def nested(depth: int) -> bytes:
    item = b""
    for _ in range(depth):
        item = (
            struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
            + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
            + item
            + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
            + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
        )
    return item


@pytest.mark.parametrize(
    "tail",
    [
        nested(10),
        short(0x0020, 0x4000, b"LT", b"odd"),
        struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, 10) + bytes(10) + b"trailing that is no element",
        struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, 1000) + bytes(10),
        struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, 100) + bytes(100),
    ],
)
def test_odd_data_sets_are_kept_bit_identical(receiver, tail):
    sop_class, syntax = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.1.2.1"
    data = data_set(sop_class, f"{ROOT}.5", tail)
    with StorageAssociation.negotiate("S", "HERMES", "127.0.0.1", receiver.port, [(sop_class, syntax)]) as one:
        assert one.c_store(sop_class, f"{ROOT}.5", syntax, data).status == 0
    receiver.events(InstanceStored)
    assert stored_digests(receiver) == {hashlib.sha256(data).hexdigest(): 1}


def test_two_hundred_nested_sequences_are_answered_and_kept(receiver):
    sop_class, syntax = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.1.2.1"
    data = data_set(sop_class, f"{ROOT}.6", nested(200))
    with StorageAssociation.negotiate("S", "HERMES", "127.0.0.1", receiver.port, [(sop_class, syntax)]) as one:
        status = one.c_store(sop_class, f"{ROOT}.6", syntax, data).status
    assert status == 0 or status >> 12 == 0xC
    receiver.eventually(lambda: stored_digests(receiver))
    assert stored_digests(receiver) == {hashlib.sha256(data).hexdigest(): 1}


def test_an_object_of_more_than_two_gigabytes_passes_without_being_held(receiver, tmp_path):
    free = shutil.disk_usage(tmp_path).free
    if free < 8 * 1024**3:
        pytest.skip("needs 8 GiB of disk")
    sop_class, syntax = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.1.2.1"
    block, count = bytes(16 * 1024**2), 2**31 // (16 * 1024**2) + 1
    head = data_set(sop_class, f"{ROOT}.7", struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, len(block) * count))
    before = peak()
    with StorageAssociation.negotiate("S", "HERMES", "127.0.0.1", receiver.port, [(sop_class, syntax)]) as one:
        status = one.c_store(sop_class, f"{ROOT}.7", syntax, (part for part in (head, *[block] * count))).status
    assert status == 0
    assert peak() - before < 64 * 1024
    (event,) = receiver.events(InstanceStored)
    assert event.octets > 2**31
    for path in (*receiver.store.root.rglob("*.dcm"), *receiver.spool.rglob("*.dcm")):
        path.unlink()


def peak() -> int:
    """Return the highest resident memory of this process so far, in KiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="session")
def dcmjs() -> list[str]:
    """The command of a sender made of dcmjs-dimse; what cannot be had skips here and fails in CI."""
    here = Path(__file__).parent / "dcmjs"
    spec = importlib.util.spec_from_file_location("hermes_assets", here.parents[2] / "web" / "assets" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    work = Path(sys.prefix) / "share" / "hermes-dcmjs"
    work.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "send.js"):
        shutil.copyfile(here / name, work / name)
    try:
        node, npm = build.find_node()
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--prefer-offline"]
        subprocess.run([*npm, "ci", *options], cwd=work, check=True, capture_output=True, timeout=110)
    except (build.NodeMissingError, subprocess.SubprocessError) as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"dcmjs-dimse cannot be installed: {error}")
        pytest.skip("dcmjs-dimse cannot be installed")
    return [*node, str(work / "send.js")]


def test_what_dcmjs_dimse_sends_is_stored_and_what_it_mislabels_is_kept_aside_with_the_reason(receiver, sample, dcmjs):
    names = [
        "CT_small.dcm",
        "MR_small.dcm",
        "JPEG2000.dcm",
        "MR_small_RLE.dcm",
        "waveform_ecg.dcm",
        "MR_small_bigendian.dcm",
    ]
    files = {str(sample(name).path): sample(name) for name in [*names, "image_dfl.dcm"]}
    done = subprocess.run([*dcmjs, str(receiver.port), *files], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    *stored, deflated = (said["stored"].get(path) for path in files)
    assert (said["echo"], stored) == (0, [0] * len(names))
    assert deflated == 0xC000  # dcmjs-dimse names the deflated syntax, and does not deflate
    sent = {one.sop_instance for one in list(files.values())[:-1]}
    assert {event.sop_instance_uid for event in receiver.events(InstanceStored, len(names))} == sent
    assert "is not deflated" in receiver.events(InstanceQuarantined)[0].reason

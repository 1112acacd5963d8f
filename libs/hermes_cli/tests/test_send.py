"""`hermes send`: what is sent, what is skipped, what is said; against storescp of DCMTK."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from hermes_cli.commands.send import peer_of
from hermes_cli.errors import UsageError
from hermes_cli.sending.files import Instance, Skipped, examine, walk


def sample(name):
    return Path(get_testdata_file(name, download=False))


@pytest.fixture
def storescp(peer, tmp_path):
    """A Storage SCP that takes every transfer syntax and keeps the bytes as they come."""
    program = peer("storescp", "dcmtk")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "got"
    folder.mkdir()
    command = [program, "-aet", "PEER", "+xa", "--bit-preserving", "-od", str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield port, folder
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.interop
def test_files_and_folders_are_sent_and_the_rest_is_named(hermes, storescp, tmp_path):
    port, folder = storescp
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    for name in ("CT_small.dcm", "MR_small_implicit.dcm"):
        (source / "deep" / name).write_bytes(sample(name).read_bytes())
    (source / "notes.txt").write_text("not an image")
    (source / "empty").touch()
    done = hermes("send", source, sample("JPEG2000.dcm"), "--to", f"127.0.0.1:{port}", "--aet", "PEER")
    assert done.returncode == 0, done.stderr
    assert "3 stored" in done.stdout
    assert "2 skipped" in done.stdout
    assert "notes.txt: not DICOM" in done.stderr
    got = {dcmread(path).SOPInstanceUID: dcmread(path) for path in folder.iterdir()}
    assert len(got) == 3
    sent = dcmread(sample("JPEG2000.dcm"))
    kept = got[sent.SOPInstanceUID]
    assert kept.PixelData == sent.PixelData
    assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID


@pytest.mark.interop
def test_json_counts_and_names_what_was_sent(hermes, storescp):
    port, _ = storescp
    done = hermes("send", sample("CT_small.dcm"), "--to", f"127.0.0.1:{port}", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["stored"], found["statuses"]) == (0, 1, {"0000 stored": 1})


def test_a_peer_that_is_not_there_is_said_in_a_line(hermes):
    done = hermes("send", sample("CT_small.dcm"), "--to", "127.0.0.1:1")
    assert done.returncode == 1
    assert "cannot reach 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_send_is_a_failure_and_a_missing_path_a_mistake(hermes, tmp_path):
    (tmp_path / "x").mkdir()
    assert hermes("send", tmp_path / "x", "--to", "127.0.0.1:1").returncode == 1
    assert hermes("send", tmp_path / "y").returncode == 2


@pytest.mark.parametrize("to", ["host:0", "host:99999", "host:x", "a b:104", "[::1", "::1:104"])
def test_an_address_that_cannot_be_one_is_refused(to):
    with pytest.raises(UsageError):
        peer_of(to, None, "ME", {})


def test_addresses_and_titles(tmp_path):
    assert str(peer_of("[::1]:104", "A", "ME", {})) == "A@::1:104"
    given = {
        "HERMES_HOME": str(tmp_path),
        "HERMES_DICOM_HOST": "0.0.0.0",
        "HERMES_DICOM_PORT": "5",
        "HERMES_DICOM_AET": "R",
    }
    assert str(peer_of(None, None, "ME", given)) == "R@127.0.0.1:5"
    with pytest.raises(UsageError):
        peer_of("h:1", "MUCH TOO LONG A TITLE", "ME", {})


def test_a_file_without_file_meta_is_read_by_its_data_set(tmp_path):
    part10 = examine(sample("CT_small.dcm"))
    assert isinstance(part10, Instance)
    bare = tmp_path / "bare"
    bare.write_bytes(sample("CT_small.dcm").read_bytes()[part10.offset :])
    found = examine(bare)
    assert isinstance(found, Instance)
    assert (found.offset, found.sop_class, found.sop_instance) == (0, part10.sop_class, part10.sop_instance)
    assert found.transfer_syntax == part10.transfer_syntax


def test_the_request_names_the_instance_of_the_data_set_where_the_file_meta_differs():
    path = sample("rtdose.dcm")
    found = examine(path)
    assert isinstance(found, Instance)
    assert found.sop_instance == dcmread(path).SOPInstanceUID != dcmread(path).file_meta.MediaStorageSOPInstanceUID


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 200, b"GIF89a" * 50, b"\x08\x00\x05\x00CS\xff\xff", b"\0" * 128 + b"DICM"]
)
def test_what_is_not_dicom_is_skipped_with_a_reason(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    found = examine(path)
    assert isinstance(found, Skipped)
    assert found.reason


def test_folders_are_walked_in_order_and_a_medium_directory_is_no_instance(tmp_path):
    for name in ("b", "a", "c/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in walk([tmp_path])] == ["a", "b", "d"]
    found = examine(sample("CT_small.dcm").parent / "dicomdirtests" / "DICOMDIR")
    assert isinstance(found, Skipped)
    assert "DICOMDIR" in found.reason

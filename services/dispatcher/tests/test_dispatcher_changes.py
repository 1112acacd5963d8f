"""Targets that have instances changed on the way: peers get what was asked for, and the ledger says what that was."""

import asyncio
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import pydicom.data
import pytest
from pydantic import SecretStr
from pydicom import dcmread
from pydicom.pixels import pixel_array

from hermes_common import config, keys, subjects
from hermes_common.changes import Changes, Dates, Deidentification, Transcode
from hermes_common.dicom.header import extract_header
from hermes_common.dicom.part10 import FileMeta, encode_file_meta, parse_file_meta
from hermes_common.manifest import ManifestInstance
from hermes_common.previews import ASK, Preview, PreviewAsked
from hermes_common.records import DeliveryState
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.sealing import sealed_targets
from hermes_common.targets import BasicAuth
from hermes_dispatcher.adapters.changer import Changer, Limits, Result
from hermes_dispatcher.core.changing.order import Order
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble

from .conftest import QUICK, SEALER, SECRET, SERIES, fetch, free_port

pytestmark = pytest.mark.servers

BUNDLED = Path(pydicom.data.__file__).parent / "test_files"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
RLE, J2K, BASELINE = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50"
KEY = SecretStr("pseudonyms for a test")
HIDDEN = Changes(deidentify=Deidentification(dates=Dates.SHIFT), edits=("prefix PatientID with R-",), key=KEY)


def always(uid: str) -> Changes:
    return Changes(transcode=Transcode.ALWAYS, transfer_syntaxes=(uid,))


def stored(place: Any, name: str) -> ManifestInstance:
    """Put one of pydicom's images into the store as the receiver does."""
    whole = (BUNDLED / name).read_bytes()
    part10 = parse_file_meta(whole)
    data, syntax = whole[part10.offset :], part10.meta.transfer_syntax
    header = extract_header(data, syntax)
    digest, reception = hashlib.sha256(data).hexdigest(), new_id().replace("-", "")
    meta = FileMeta(header.sop_class_uid, header.sop_instance_uid, syntax, sending_aet="CT-NORTH")
    key = keys.instance_key(SERIES, header.sop_instance_uid, digest, reception)
    place.store.put_bytes(key, encode_file_meta(meta) + data)
    return ManifestInstance(
        sop_instance_uid=header.sop_instance_uid, sop_class_uid=header.sop_class_uid, transfer_syntax_uid=syntax,
        key=key, digest=digest, octets=len(whole), reception_id=reception,
    )  # fmt: skip


def sent_digest(file: Path) -> str:
    whole = file.read_bytes()
    return hashlib.sha256(whole[parse_file_meta(whole).offset :]).hexdigest()


@pytest.fixture
def restricted(peer: Callable[[str, str], str], tmp_path: Path) -> Iterator[Callable[[str], tuple[int, Path]]]:
    """Make storescp processes that prefer or take only what an option says: port and folder."""
    made: list[subprocess.Popen[bytes]] = []

    def make(option: str) -> tuple[int, Path]:
        folder, port = tmp_path / f"scp{len(made)}", free_port()
        folder.mkdir()
        program = peer("storescp", "dcmtk")
        made.append(subprocess.Popen([program, option, "+B", "-od", str(folder), "-aet", "STORESCP", str(port)]))
        deadline = time.monotonic() + 10
        while not _listens(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return port, folder

    yield make
    for process in made:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def to_storescp(port: int, changes: Changes | None) -> config.DicomTarget:
    return config.DicomTarget(
        slug="pacs", name="p", host="127.0.0.1", port=port, called_aet="STORESCP", retry=QUICK, changes=changes
    )


async def delivered(place: Any, target: config.AnyTarget, instances: list[ManifestInstance]) -> tuple[Any, str]:
    await place.targets(target)
    delivery = await place.delivery(target.slug, instances)
    async with place.dispatcher():
        return await place.until(delivery, DeliveryState.SUCCEEDED, DeliveryState.FAILED, seconds=40), delivery


@pytest.mark.interop
async def test_a_peer_that_takes_only_implicit_vr_gets_what_it_takes_and_pixels_stay(place, restricted) -> None:
    port, folder = restricted("+xi")
    names = ["CT_small.dcm", "MR_small_RLE.dcm", "ExplVR_BigEnd.dcm", "examples_jpeg2k.dcm"]
    instances = [stored(place, name) for name in names]
    record, delivery = await delivered(place, to_storescp(port, Changes(transcode=Transcode.IF_NEEDED)), instances)
    assert record.state is DeliveryState.SUCCEEDED, record.reason
    files = {dcmread(file).SOPInstanceUID: file for file in folder.iterdir()}
    for outcome, name in zip(sorted(await place.outcomes(delivery), key=lambda o: o.index), names, strict=True):
        assert outcome.sent is not None
        assert outcome.sent.transfer_syntax_uid == IMPLICIT
        file = files[outcome.sop_instance_uid]
        assert sent_digest(file) == outcome.sent.digest
        assert outcome.sent.sop_instance_uid == outcome.sop_instance_uid
        assert (pixel_array(dcmread(file)) == pixel_array(dcmread(BUNDLED / name))).all()


@pytest.mark.interop
async def test_what_the_peer_takes_as_it_is_is_not_touched(place, restricted) -> None:
    port, folder = restricted("+xa")
    instances = [stored(place, name) for name in ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm")]
    record, delivery = await delivered(place, to_storescp(port, Changes(transcode=Transcode.IF_NEEDED)), instances)
    assert record.state is DeliveryState.SUCCEEDED, record.reason
    assert {sent_digest(file) for file in folder.iterdir()} == {instance.digest for instance in instances}
    assert [outcome.sent for outcome in await place.outcomes(delivery)] == [None] * 3


@pytest.mark.interop
async def test_a_preferred_transfer_syntax_is_taken_before_uncompressed(place, restricted) -> None:
    port, folder = restricted("+xr")  # RLE, and uncompressed besides
    preferred = Changes(transcode=Transcode.IF_NEEDED, transfer_syntaxes=(J2K, RLE))
    record, _ = await delivered(place, to_storescp(port, preferred), [stored(place, "JPEG2000.dcm")])
    assert record.state is DeliveryState.SUCCEEDED, record.reason
    (file,) = folder.iterdir()
    assert dcmread(file).file_meta.TransferSyntaxUID == RLE


@pytest.mark.interop
async def test_orthanc_gets_what_was_changed_over_stow_rs(place, orthanc: str) -> None:
    auth = BasicAuth(user="hermes", password=SecretStr(SECRET))
    changes = HIDDEN.model_copy(update={"transcode": Transcode.ALWAYS, "transfer_syntaxes": (J2K,)})
    target = config.StowTarget(slug="dw", name="d", url=f"{orthanc}/dicom-web", auth=auth, retry=QUICK, changes=changes)
    record, delivery = await delivered(
        place, target, [stored(place, "CT_small.dcm"), stored(place, "MR_small_RLE.dcm")]
    )
    assert record.state is DeliveryState.SUCCEEDED, record.reason
    listed = await asyncio.to_thread(lambda: json.loads(fetch(f"{orthanc}/instances")))
    files = await asyncio.to_thread(lambda: [fetch(f"{orthanc}/instances/{one}/file") for one in listed])
    found = {hashlib.sha256(file[parse_file_meta(file).offset :]).hexdigest(): file for file in files}
    outcomes = await place.outcomes(delivery)
    assert {outcome.sent.digest for outcome in outcomes} == set(found)
    for outcome in outcomes:
        read = dcmread(io.BytesIO(found[outcome.sent.digest]))
        assert read.SOPInstanceUID == outcome.sent.sop_instance_uid != outcome.sop_instance_uid
        assert read.file_meta.TransferSyntaxUID == J2K
        assert read.PatientIdentityRemoved == "YES"


async def test_an_instance_that_cannot_be_transcoded_fails_alone_and_is_never_sent(place, scp: Callable) -> None:
    peer = scp(classes=("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"), syntaxes=(EXPLICIT,))
    good, bad = stored(place, "CT_small.dcm"), stored(place, "JPEG-lossy.dcm")
    record, delivery = await delivered(place, peer.target(changes=always(EXPLICIT)), [bad, good])
    assert record.state is DeliveryState.FAILED
    assert "cannot be transcoded from JPEG Extended" in record.reason
    assert "not sent" in record.reason
    assert [uid for uid, _ in peer.ledger] == [good.sop_instance_uid]
    results = {outcome.sop_instance_uid: outcome for outcome in await place.outcomes(delivery)}
    assert results[good.sop_instance_uid].result == "delivered"
    assert results[good.sop_instance_uid].sent is None
    assert results[bad.sop_instance_uid].result == "failed"


async def test_a_peer_that_takes_none_of_what_is_proposed_is_a_failure_in_words(place, scp: Callable) -> None:
    peer = scp(syntaxes=(IMPLICIT,))
    record, _ = await delivered(place, peer.target(changes=always(RLE)), [stored(place, "CT_small.dcm")])
    assert record.state is DeliveryState.FAILED
    assert "refused for good" in record.reason
    assert peer.ledger == []


async def test_two_batches_and_a_retry_stay_one_series_and_only_what_is_missing_is_sent(place, scp: Callable) -> None:
    busy = {"first": True}

    def script(number: int, uid: str) -> int:
        return 0xA700 if number == 2 and busy.pop("first", False) else 0

    peer = scp(script, classes=("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"))
    instances = [place.instance(n) for n in range(4)]
    await place.targets(peer.target(changes=HIDDEN))
    async with place.dispatcher():
        first = await place.delivery("pacs", instances[:3])
        await place.until(first, DeliveryState.SUCCEEDED, seconds=30)
        second = await place.delivery("pacs", instances[2:])
        await place.until(second, DeliveryState.SUCCEEDED, seconds=30)
    outcomes = [one for delivery in (first, second) for one in await place.outcomes(delivery)]
    good = [outcome for outcome in outcomes if outcome.result == "delivered"]
    by_uid = {outcome.sop_instance_uid: outcome.sent for outcome in good}
    assert {instance.sop_instance_uid for instance in instances} == set(by_uid)
    assert len({sent.series_uid for sent in by_uid.values() if sent is not None}) == 1
    assert len({outcome.sent.digest for outcome in good if outcome.sop_instance_uid == f"{SERIES}.2"}) == 1
    assert [uid for uid, _ in peer.ledger if uid.startswith(SERIES)] == []
    assert set(peer.stored().values()) == {1, 2}  # only the third instance was in both batches
    assert len(peer.stored()) == 4


async def test_a_folder_gets_files_without_identity_that_agree_with_themselves(place) -> None:
    target = place.to_folder(changes=HIDDEN)
    instance = stored(place, "CT_small.dcm")
    record, delivery = await delivered(place, target, [instance])
    assert record.state is DeliveryState.SUCCEEDED, record.reason
    (file,) = (place.folder / "folder").rglob("*.dcm")
    whole, read = file.read_bytes(), dcmread(file)
    (outcome,) = await place.outcomes(delivery)
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID == outcome.sent.sop_instance_uid
    assert file.parent.name == read.SeriesInstanceUID == outcome.sent.series_uid
    assert sent_digest(file) == outcome.sent.digest != instance.digest
    assert read.PatientID.startswith("R-P")
    for text in (b"CompressedSamples", b"1CT1", b"CT-NORTH", b"JFK IMAGING", instance.sop_instance_uid.encode()):
        assert text not in whole
    assert not list(place.folder.glob("hermes-*.part"))


async def test_a_key_that_cannot_be_opened_sends_nothing(place) -> None:
    target = place.to_folder(changes=HIDDEN)
    (sealed,) = sealed_targets(config.Targets(targets=(target,)), config.Targets(), SEALER).targets
    moved = sealed.model_copy(update={"slug": "other"})
    await place.save(config.Kind.TARGETS, config.Targets(targets=(moved,)))
    delivery = await place.delivery("other", [place.instance(1)])
    async with place.dispatcher():
        await place.down("other")
    assert list((place.folder / "folder").iterdir()) == []
    assert (await place.record(delivery)).delivered == ""


async def test_damaged_bytes_are_found_before_they_are_changed(place) -> None:
    instance = place.instance(1).model_copy(update={"digest": "0" * 64})
    record, _ = await delivered(place, place.to_folder(changes=HIDDEN), [instance])
    assert record.state is DeliveryState.FAILED
    assert "SHA-256 differs" in record.reason


async def test_a_preview_shows_what_a_delivery_would_send_and_sends_nothing(place) -> None:
    instance = stored(place, "CT_small.dcm")
    target = place.to_folder(changes=HIDDEN)

    async def asked(changes: Changes | None) -> Preview:
        one = target.model_copy(update={"changes": changes})
        (sealed,) = sealed_targets(config.Targets(targets=(one,)), config.Targets(), SEALER).targets
        question = PreviewAsked(target=sealed.model_dump(mode="json"), series_uid=SERIES, instance=instance)
        answer = await place.bus.nc.request(ASK, question.model_dump_json().encode(), timeout=30)
        return Preview.model_validate_json(answer.data)

    async with place.dispatcher():
        await _asked_once_answered(place)
        found, nothing = await asked(HIDDEN), await asked(None)
        refused = await asked(Changes(edits=("set PatientID to 東京",)))
    by_name = {item.name: item for item in found.differences}
    assert found.ok
    assert found.same > 10
    assert by_name["PatientName"].before == "CompressedSamples^CT1"
    assert by_name["PatientID"].after is not None
    assert by_name["PatientID"].after.startswith("R-P")
    assert by_name["StudyDescription"].after is None
    assert by_name["PatientIdentityRemoved"].before is None
    assert nothing.ok
    assert nothing.differences == []
    assert (refused.ok, "character set" in refused.reason) == (False, True)
    assert list((place.folder / "folder").rglob("*.dcm")) == []


async def _asked_once_answered(place: Any) -> None:
    """Wait until a dispatcher has subscribed."""
    async with asyncio.timeout(10):
        while True:
            try:
                await place.bus.nc.request(ASK, b"{}", timeout=0.05)
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.05)
            except (nats.errors.TimeoutError, TimeoutError):
                return


# -- the processes


@pytest.fixture
def changer(tmp_path: Path) -> Iterator[Callable[..., Changer]]:
    made: list[Changer] = []

    def make(**more: Any) -> Changer:
        values = {
            "processes": 1, "memory": 1 << 28, "longest": timedelta(seconds=60), "held": 1000, "temporary": tmp_path
        }  # fmt: skip
        made.append(Changer(Limits(**(values | more))))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ct(octets: int = 0) -> tuple[bytes, Order]:
    whole = (BUNDLED / "CT_small.dcm").read_bytes()
    data = whole[parse_file_meta(whole).offset :]
    return data, Order(EXPLICIT, None, IMPLICIT, None, 1 << 28)


def test_a_result_that_is_large_comes_in_a_file_and_a_small_one_in_memory(changer, tmp_path: Path) -> None:
    data, order = ct()
    large = changer().change(order, len(data), lambda: [data])
    small = changer(held=1 << 20).change(order, len(data), lambda: [data])
    assert isinstance(large, Result)
    assert isinstance(small, Result)
    assert large.file is not None
    assert (large.file.read_bytes(), small.file) == (small.data, None)
    assert hashlib.sha256(small.data).hexdigest() == small.digest == large.digest
    assert dcmread(io.BytesIO(encode_file_meta(FileMeta("1.2", "1.3", IMPLICIT)) + small.data)).Rows == 128
    large.file.unlink()


def test_a_process_that_dies_is_replaced_and_what_ends_it_twice_is_not_sent(changer) -> None:
    made = changer(held=1 << 20)
    data, order = ct()
    assert isinstance(made.change(order, len(data), lambda: [data]), Result)
    deaths = 0

    def dying(times: int) -> Callable[[], Iterator[bytes]]:
        def dies() -> Iterator[bytes]:
            nonlocal deaths
            yield data[:100]
            if deaths < times:
                deaths += 1
                process = next(one for one in made._beside._running if one.poll() is None)
                os.kill(process.pid, signal.SIGKILL)
                process.wait(10)
            yield data[100:]

        return dies

    assert isinstance(made.change(order, len(data), dying(1)), Result)
    found = made.change(order, len(data), dying(3))
    assert isinstance(found, NotDelivered)
    assert found.trouble is Trouble.INTERNAL  # whoever killed it, it says nothing of the data set
    assert "ended from outside" in found.reason
    assert deaths == 3
    assert isinstance(made.change(order, len(data), lambda: [data]), Result)


def test_what_takes_too_long_is_ended(changer) -> None:
    made = changer(held=1 << 20)
    data, order = ct()
    assert isinstance(made.change(order, len(data), lambda: [data]), Result)
    (process,) = made._beside._running
    os.kill(process.pid, signal.SIGSTOP)
    made.limits = replace(made.limits, longest=timedelta(seconds=1))
    made._beside.longest = 1
    found = made.change(order, len(data), lambda: [data])
    assert isinstance(found, NotDelivered)
    assert "took longer than 1 s" in found.reason


def test_what_takes_too_much_memory_is_refused(changer) -> None:
    data, order = ct()
    found = changer(memory=1 << 24).change(order, 1 << 23, lambda: [data])
    assert isinstance(found, NotDelivered)
    assert "HERMES_DISPATCHER_CHANGE_MEMORY" in found.reason


async def test_the_reason_for_which_nothing_is_sent_quotes_no_value_in_events_records_and_logs(
    place: Any, tmp_path: Path
) -> None:
    await place.targets(place.to_folder(changes=Changes(edits=("copy PatientName to AcquisitionNumber",))))
    delivery = await place.delivery("folder", [stored(place, "CT_small.dcm")])
    log = tmp_path / "log"
    environment = os.environ | {
        "HERMES_NATS_URL": place.url,
        "HERMES_OBJECT_STORE": f"file://{place.folder / 'store'}",
        "HERMES_LOG_LEVEL": "debug",
    }
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hermes_dispatcher", env=environment, stdout=out, stderr=out
        )
        place.started.append(process)
        record = await place.until(delivery, DeliveryState.FAILED, seconds=90)
        process.terminate()
        await process.wait()
    assert "AcquisitionNumber (0020,0012) cannot have that value" in record.reason
    said = [message.data async for message in place.bus.read(subjects.EVENTS, subjects.EVENTS_ALL, 0)]
    kept = [value async for _, value, _ in place.bus.scan(subjects.STATE, ">")]
    assert any(b"AcquisitionNumber" in text for text in said)
    assert any(b"AcquisitionNumber" in text for text in kept)
    assert delivery.encode() in log.read_bytes()
    for text in (*said, *kept, log.read_bytes()):
        assert b"CompressedSamples" not in text, "that is the name of the patient"

"""Documents and their copies, on a real bus and real stores: what is lost comes back, what is deleted does not."""

import asyncio
import hashlib
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from hermes_common import subjects
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.documents import PART, Settler, StoredDocuments
from hermes_common.runtime.errors import TransientError
from hermes_common.runtime.objectstore import ObjectMissing, ObjectStore, StoreUnavailable, open_store
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_local.servers.testing import RunningS3, s3_server

pytestmark = pytest.mark.servers

FOLDER = "manifests/1.2.3"
KEY = f"{FOLDER}/b1.json"
NONE = timedelta(0)


class Note(BaseModel):
    """A document."""

    text: str


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    """A store of each kind, empty where the tests look."""
    opened: ObjectStore
    if request.param == "directory":
        opened = DirectoryStore(tmp_path / "store")
    else:
        opened = s3_store(request.getfixturevalue("running_s3"))
    opened.delete_many([info.key for info in opened.list("manifests/")])
    yield opened
    opened.close()


def s3_store(running: RunningS3) -> ObjectStore:
    return open_store(
        "s3",
        s3_endpoint=running.endpoint,
        s3_access_key=running.access_key,
        s3_secret_key=running.secret_key,
        s3_bucket=running.bucket,
        s3_secure=False,
    )


def large(octets: int) -> Note:
    """Return a document that does not get smaller when it is compressed by much: it needs several parts."""
    return Note(text=random.Random(1).randbytes(octets // 2).hex())


async def copies(bus: Bus) -> int:
    """Return how many parts of copies there are."""
    return len(await bus.subjects(subjects.DOCUMENTS, subjects.DOCUMENT_PARTS))


@pytest.mark.parametrize("octets", [10, 4 * PART])
async def test_a_document_that_the_store_has_lost_is_read_from_its_copy_and_put_back(
    bus: Bus, store: ObjectStore, octets: int
) -> None:
    documents = StoredDocuments(bus, store)
    note = large(octets)
    await documents.write(KEY, note)
    assert (await copies(bus) > 1) == (octets > PART)
    store.delete(KEY)
    assert await documents.read(KEY, Note) == note
    assert store.get_bytes(KEY, 10_000_000) == note.model_dump_json().encode()


async def test_a_document_that_the_store_has_damaged_is_read_from_its_copy_and_mended(
    bus: Bus, store: ObjectStore
) -> None:
    documents = StoredDocuments(bus, store)
    await documents.write(KEY, Note(text="whole"))
    store.put_bytes(KEY, b'{"text": "wh')
    assert await documents.read(KEY, Note) == Note(text="whole")
    assert store.get_bytes(KEY, 100) == b'{"text":"whole"}'


async def test_a_document_that_never_was_is_missing_and_one_without_a_copy_stays_as_it_is(
    bus: Bus, store: ObjectStore
) -> None:
    documents = StoredDocuments(bus, store)
    with pytest.raises(ObjectMissing):
        await documents.read(KEY, Note)
    store.put_bytes(KEY, b"damaged")
    with pytest.raises(ValidationError):
        await documents.read(KEY, Note)
    store.put_bytes(KEY, b'{"text": "of an earlier release"}')
    assert (await documents.read(KEY, Note)).text == "of an earlier release"


async def test_a_look_through_the_copies_puts_back_what_is_missing_and_removes_what_the_store_has(
    bus: Bus, store: ObjectStore
) -> None:
    documents = StoredDocuments(bus, store, NONE)
    keys = [f"manifests/1.2.{number}/b.json" for number in range(20)]
    for key in keys:
        await documents.write(key, Note(text=key))
    await documents.write(KEY, large(3 * PART))
    store.delete(keys[7])
    store.put_bytes(keys[9], b"something else")
    settled = await documents.settle()
    assert (settled.looked_at, settled.restored, settled.damaged) == (21, 2, 0)
    assert settled.removed == 7, "what comes before the first that was put back, and no more"
    assert store.get_bytes(keys[7], 100) == Note(text=keys[7]).model_dump_json().encode()
    assert store.get_bytes(keys[9], 100) == Note(text=keys[9]).model_dump_json().encode()
    assert (await documents.settle()).restored == 0
    assert await copies(bus) == 0


async def test_a_copy_stays_for_its_grace_and_also_after_its_document_was_put_back(
    bus: Bus, store: ObjectStore
) -> None:
    documents = StoredDocuments(bus, store, timedelta(minutes=10))
    await documents.write(KEY, Note(text="a"))
    store.delete(KEY)
    settled = await documents.settle()
    assert (settled.looked_at, settled.restored, settled.removed) == (0, 0, 0)
    assert await documents.read(KEY, Note) == Note(text="a")
    # to the second, as S3 says when an object was written
    later = StoredDocuments(bus, store, timedelta(seconds=2))
    async for head in bus.read(subjects.DOCUMENTS, subjects.DOCUMENT_HEADS, 0):
        while await bus.server_time() - head.time < timedelta(seconds=3):  # type: ignore[operator]
            pass
    store.delete(KEY)
    assert (await later.settle()).restored == 1
    assert (await later.settle()).removed == 0, "the store has had it for less than the grace"
    assert await copies(bus) == 1


async def test_what_was_forgotten_does_not_come_back(bus: Bus, store: ObjectStore) -> None:
    documents = StoredDocuments(bus, store, NONE)
    await documents.write(KEY, Note(text="old"))
    await documents.write("manifests/1.2.4/b1.json", Note(text="of another series"))
    await documents.forget(FOLDER, await documents.newest())
    store.delete(KEY)
    with pytest.raises(ObjectMissing):
        await documents.read(KEY, Note)
    assert (await documents.settle()).looked_at == 1
    assert store.stat(KEY) is None
    assert store.stat("manifests/1.2.4/b1.json") is not None


async def test_whoever_puts_a_copy_back_while_it_is_forgotten_takes_it_out_again(
    bus: Bus, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = StoredDocuments(bus, store, NONE)
    await documents.write(KEY, Note(text="old"))
    store.delete(KEY)
    original = StoredDocuments._put_back

    async def late(self: StoredDocuments, copy: object, why: str) -> bool:
        await documents.forget(FOLDER, await documents.newest())
        store.delete(KEY)  # the cleaner has ended before the document is put back
        return await original(self, copy, why)  # type: ignore[arg-type]

    monkeypatch.setattr(StoredDocuments, "_put_back", late)
    with pytest.raises(ObjectMissing):
        await documents.read(KEY, Note)
    assert store.stat(KEY) is None


async def test_a_copy_that_was_read_before_it_was_removed_does_not_come_back_after_the_deletion(
    bus: Bus, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = StoredDocuments(bus, store, NONE)
    await documents.write(KEY, Note(text="old"))
    store.delete(KEY)
    original = StoredDocuments._put_back

    async def late(self: StoredDocuments, copy: object, why: str) -> bool:
        end = await bus.last_sequence(subjects.DOCUMENTS, subjects.DOCUMENT_PARTS) + 1
        await bus.purge(subjects.DOCUMENTS, subjects.DOCUMENT_PARTS, end)  # another router found it in the store before
        await documents.forget(FOLDER, await documents.newest())
        store.delete(KEY)
        return await original(self, copy, why)  # type: ignore[arg-type]

    monkeypatch.setattr(StoredDocuments, "_put_back", late)
    assert (await documents.settle()).restored == 0
    assert store.stat(KEY) is None


async def test_what_is_written_while_the_copies_are_looked_through_keeps_its_copy(
    bus: Bus, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = StoredDocuments(bus, store, NONE)
    newer = f"{FOLDER}/b2.json"
    await documents.write(KEY, Note(text="a"))
    original = StoredDocuments._is_settled

    async def late(self: StoredDocuments, *looked_at: object) -> bool:
        await documents.write(newer, Note(text="new"))
        await documents.write(KEY, Note(text="a"))  # once more, so its copy ends after that of the other
        return await original(self, *looked_at)  # type: ignore[arg-type]

    monkeypatch.setattr(StoredDocuments, "_is_settled", late)
    await documents.settle()
    store.delete(newer)
    assert await documents.read(newer, Note) == Note(text="new")


async def test_copies_that_a_purge_left_are_void_all_the_same(bus: Bus, store: ObjectStore) -> None:
    documents = StoredDocuments(bus, store, NONE)
    await documents.write(KEY, Note(text="old"))
    through = await documents.newest()
    store.delete(KEY)
    headers = {"Hermes-Through": str(through), "Nats-TTL": "24h"}
    await bus.send(subjects.documents_gone(FOLDER), b"", headers)  # and the process is gone before it purges
    with pytest.raises(ObjectMissing):
        await documents.read(KEY, Note)
    settled = await documents.settle()
    assert (settled.restored, settled.removed) == (0, 1)
    assert store.stat(KEY) is None


async def test_what_is_written_after_the_place_that_is_forgotten_stays(bus: Bus, store: ObjectStore) -> None:
    documents = StoredDocuments(bus, store)
    await documents.write(KEY, Note(text="old"))
    through = await documents.newest()
    newer = f"{FOLDER}/b2.json"
    await documents.write(newer, Note(text="new"))
    await documents.forget(FOLDER, through)
    store.delete_many([KEY, newer])
    assert await documents.read(newer, Note) == Note(text="new")
    with pytest.raises(ObjectMissing):
        await documents.read(KEY, Note)


async def test_the_copy_of_one_document_is_forgotten_without_the_others(bus: Bus, store: ObjectStore) -> None:
    documents = StoredDocuments(bus, store)
    await documents.write(KEY, large(3 * PART))
    await documents.write(f"{FOLDER}/b2.json", Note(text="b2"))
    await documents.forget_one(KEY)
    await documents.forget_one("manifests/9.9/none.json")
    assert await copies(bus) == 1


async def test_a_copy_with_a_part_missing_or_of_other_bytes_stands_for_nothing(bus: Bus, store: ObjectStore) -> None:
    documents = StoredDocuments(bus, store, NONE)
    await documents.write(KEY, large(3 * PART))
    part = subjects.document_part(KEY, 1)
    last = await bus.last_sequence(subjects.DOCUMENTS, part)
    await bus.purge(subjects.DOCUMENTS, part, last + 1)
    store.delete(KEY)
    with pytest.raises(ObjectMissing):
        await documents.read(KEY, Note)
    wrong = hashlib.sha256(b"something").hexdigest()
    other = f"{FOLDER}/b2.json"
    headers = {"Hermes-Key": other, "Hermes-Parts": "1", "Hermes-Digest": wrong}
    await bus.send(subjects.document_part(other, 0), b"no zlib", headers)
    with pytest.raises(ObjectMissing):
        await documents.read(other, Note)
    assert (await documents.settle()).damaged == 2
    assert await copies(bus) == 0


async def test_a_look_that_takes_too_long_ends_and_the_next_goes_on(bus: Bus, store: ObjectStore) -> None:
    documents = StoredDocuments(bus, store, NONE)
    for number in range(3):
        await documents.write(f"manifests/1.2.{number}/b.json", Note(text="x"))
    settled = await documents.settle(timedelta(seconds=-1))
    assert (settled.looked_at, settled.unfinished) == (0, True)
    assert await copies(bus) == 3
    settled = await documents.settle()
    assert (settled.removed, settled.unfinished) == (3, False)


async def test_what_is_lost_is_put_back_at_the_start_of_a_service(bus: Bus, store: ObjectStore) -> None:
    documents = StoredDocuments(bus, store, NONE)
    await documents.write(KEY, Note(text="a"))
    store.delete(KEY)
    task = asyncio.create_task(Settler(documents).run())
    async with asyncio.timeout(10):
        while store.stat(KEY) is None:
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_copy_that_the_store_cannot_have_does_not_end_the_service(
    bus: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = DirectoryStore(tmp_path / "store")
    documents = StoredDocuments(bus, store, NONE)
    await documents.write(KEY, Note(text="a"))
    store.delete(KEY)
    blocked = tmp_path / "store" / FOLDER
    blocked.parent.mkdir()
    blocked.write_bytes(b"a file where a folder has to be")
    task = asyncio.create_task(Settler(documents, timedelta(seconds=0.1)).run())
    async with asyncio.timeout(10):
        while caplog.text.count("cannot be looked through now") < 2 and not task.done():
            await asyncio.sleep(0.02)
    assert not task.done()
    blocked.unlink()
    async with asyncio.timeout(10):
        while store.stat(KEY) is None:
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    store.close()


async def test_a_document_is_not_written_when_its_copy_is_not(bus: Bus, store: ObjectStore) -> None:
    documents = StoredDocuments(bus, store)
    await bus.js.delete_stream(subjects.DOCUMENTS)
    with pytest.raises(TransientError):
        await documents.write(KEY, Note(text="a"))


async def test_with_the_store_away_nothing_is_read_from_a_copy_and_no_copy_is_removed(bus: Bus, tmp_path: Path) -> None:
    with s3_server(tmp_path / "s3") as running:
        store = s3_store(running)
        documents = StoredDocuments(bus, store, NONE)
        await documents.write(KEY, Note(text="a"))
    with pytest.raises(StoreUnavailable):
        await documents.read(KEY, Note)
    with pytest.raises(StoreUnavailable):
        await documents.settle()
    assert await copies(bus) == 1
    store.close()

"""What every object store promises, asked of each adapter over its real server."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hermes_common.runtime.objectstore import (
    KeyInvalid,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    StoreUnavailable,
)

from .conftest import Harness

SIZES = [0, 5_000, 5_000_000]
HOSTILE = [
    "",
    "/",
    "/etc/passwd",
    "a//b",
    "a/",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a/..",
    "a\x00b",
    "a\nb",
    "a\n",
    "a b",
    "a\\b",
    "a?b=c",
    "a#b",
    "a%2e%2e/b",
    "~tmp/x",
    "ä",
    "\u2024\u2024/x",
    "*",
    "-" * 513,
    "-" * 256,
    "a;rm -rf",
    "<script>",
]


def write(folder: Path, data: bytes, name: str = "source") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", SIZES)
def test_a_file_comes_back_as_it_was_put(store: ObjectStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    before = datetime.now(UTC) - timedelta(seconds=5)
    source = write(tmp_path, data)
    store.put_file("1.2.3/4.5-abc.dcm", source)
    assert source.read_bytes() == data
    assert store.get_bytes("1.2.3/4.5-abc.dcm", size) == data
    info = store.stat("1.2.3/4.5-abc.dcm")
    assert info is not None
    assert (info.key, info.size) == ("1.2.3/4.5-abc.dcm", size)
    assert before <= info.modified <= datetime.now(UTC) + timedelta(seconds=5)


@pytest.mark.parametrize("size", SIZES)
def test_bytes_come_back_as_they_were_put(store: ObjectStore, size: int) -> None:
    data = os.urandom(size)
    store.put_bytes("manifests/1.json", data)
    assert store.get_bytes("manifests/1.json", size) == data


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_gives_exactly_what_is_asked_for(store: ObjectStore, size: int) -> None:
    data = os.urandom(size)
    store.put_bytes("a/b", data)
    with store.open("a/b") as stream:
        assert stream.size == size
        head = stream.read(132)
        assert head == data[:132]
        buffer = bytearray(70_000)
        got = bytearray(head)
        while count := stream.readinto(buffer):
            assert count == min(len(buffer), size - len(got))
            got += buffer[:count]
        assert bytes(got) == data
        assert stream.read(10) == b""
        assert stream.read() == b""


def test_a_stream_may_be_left_in_the_middle(store: ObjectStore) -> None:
    data = os.urandom(5_000_000)
    store.put_bytes("a/b", data)
    for _ in range(20):
        with store.open("a/b") as stream:
            assert stream.read(1000) == data[:1000]
    assert store.get_bytes("a/b", len(data)) == data


def test_the_callers_own_error_passes_through_a_stream(store: ObjectStore) -> None:
    store.put_bytes("a/b", b"x" * 1000)
    with pytest.raises(BrokenPipeError), store.open("a/b"):
        raise BrokenPipeError("the target went away")


def test_the_limit_of_get_bytes_is_kept(store: ObjectStore) -> None:
    store.put_bytes("a/b", b"x" * 1000)
    assert store.get_bytes("a/b", 1000) == b"x" * 1000
    with pytest.raises(ObjectTooLarge) as caught:
        store.get_bytes("a/b", 999)
    assert (caught.value.key, caught.value.size, caught.value.limit) == ("a/b", 1000, 999)


def test_putting_the_same_again_is_harmless(store: ObjectStore, tmp_path: Path) -> None:
    source = write(tmp_path, b"same bytes")
    for _ in range(3):
        store.put_file("a/b", source)
    store.put_bytes("a/b", b"same bytes")
    assert store.get_bytes("a/b", 100) == b"same bytes"
    assert [info.key for info in store.list("")] == ["a/b"]


def test_putting_again_mends_a_damaged_copy(store: ObjectStore, tmp_path: Path) -> None:
    store.put_bytes("a/b", b"damaged")
    store.put_file("a/b", write(tmp_path, b"the right bytes"))
    assert store.get_bytes("a/b", 100) == b"the right bytes"


def test_a_missing_object_is_said_to_be_missing(store: ObjectStore) -> None:
    store.put_bytes("a/b", b"x")
    for key in ("a/c", "b/b", "a", "a/b/c", "none"):
        assert store.stat(key) is None, key
        assert store.local_path(key) is None
        with pytest.raises(ObjectMissing) as caught:
            store.get_bytes(key, 10)
        assert caught.value.key == key
        with pytest.raises(ObjectMissing), store.open(key):
            pass


def test_an_empty_store_answers(store: ObjectStore) -> None:
    assert store.stat("a/b") is None
    assert list(store.list("")) == []
    store.delete("a/b")
    store.delete_many([])
    store.ping()


def test_deleting_twice_is_fine(store: ObjectStore) -> None:
    store.put_bytes("a/b", b"x")
    store.put_bytes("a/c", b"y")
    for _ in range(2):
        store.delete("a/b")
        assert store.stat("a/b") is None
    assert store.get_bytes("a/c", 1) == b"y"


def test_1200_keys_are_listed_by_prefix_and_deleted_together(store: ObjectStore) -> None:
    keys = {f"1.2.840.{number % 3}/{number:04d}.dcm" for number in range(1200)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put_bytes(key, key.encode()), sorted(keys)))
    store.put_bytes("other/x", b"")
    listed = list(store.list("1.2.840."))
    assert len(listed) == 1200
    assert {info.key for info in listed} == keys
    assert all(info.size == len(info.key) for info in listed)
    assert {info.key for info in store.list("1.2.840.1/")} == {key for key in keys if key.startswith("1.2.840.1/")}
    assert {info.key for info in store.list("1.2.840.1/00")} == {key for key in keys if key.startswith("1.2.840.1/00")}
    assert [info.key for info in store.list("other/x")] == ["other/x"]
    assert list(store.list("1.2.840.9")) == []
    assert list(store.list("none/at/all/")) == []
    store.delete_many([*keys, "never/there"])
    assert [info.key for info in store.list("")] == ["other/x"]


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_refused_everywhere(store: ObjectStore, tmp_path: Path, key: str) -> None:
    source = write(tmp_path, b"x")
    calls: list[Callable[[], object]] = [
        lambda: store.put_file(key, source),
        lambda: store.put_bytes(key, b"x"),
        lambda: store.get_bytes(key, 1),
        lambda: store.open(key).__enter__(),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.delete_many(["fine", key]),
        lambda: store.local_path(key),
    ]
    for call in calls:
        with pytest.raises(KeyInvalid):
            call()


@pytest.mark.parametrize("prefix", ["/", "/a", "../", "a/../", "a//b", "a\x00", "~", "a b"])
def test_a_hostile_prefix_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(KeyInvalid):
        store.list(prefix)


def test_no_key_of_many_is_deleted_when_one_is_invalid(store: ObjectStore) -> None:
    store.put_bytes("a/b", b"x")
    with pytest.raises(KeyInvalid):
        store.delete_many(["a/b", "../x"])
    assert store.get_bytes("a/b", 1) == b"x"


def test_eight_threads_put_at_once(store: ObjectStore, tmp_path: Path) -> None:
    sources = {
        f"series-{number % 5}/{number}.dcm": write(tmp_path, os.urandom(20_000 + number), str(number))
        for number in range(200)
    }
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: store.put_file(*item), sources.items()))
        found = list(pool.map(lambda key: store.get_bytes(key, 100_000), sources))
    for data, source in zip(found, sources.values(), strict=True):
        assert hashlib.sha256(data).digest() == hashlib.sha256(source.read_bytes()).digest()


def test_files_put_together_come_back_as_they_were(store: ObjectStore, tmp_path: Path) -> None:
    sources = {f"series-{n % 7}/{n}.dcm": write(tmp_path, os.urandom(3_000 + n), str(n)) for n in range(60)}
    with store.together() as puts:
        for key, source in sources.items():
            puts.put_file(key, source)
        with pytest.raises(OSError, match=r"none|such"):
            puts.put_file("a/b", tmp_path / "none")
        with pytest.raises(KeyInvalid):
            puts.put_file("../b", source)
    assert all(store.get_bytes(key, 100_000) == source.read_bytes() for key, source in sources.items())
    assert len(list(store.list(""))) == 60


def test_eight_threads_put_the_same_key_at_once(store: ObjectStore, tmp_path: Path) -> None:
    source = write(tmp_path, os.urandom(50_000))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.put_file("a/b", source), range(40)))
    assert store.get_bytes("a/b", 50_000) == source.read_bytes()
    assert [info.key for info in store.list("")] == ["a/b"]


def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(store: ObjectStore) -> None:
    stop = threading.Event()

    def churn(number: int) -> int:
        rounds = 0
        while not stop.is_set():
            store.put_bytes(f"deep/er/{number}", b"x")
            store.delete(f"deep/er/{number}")
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(churn, number) for number in range(4)]
        time.sleep(2)
        stop.set()
        assert all(each.result() > 0 for each in running)
    assert list(store.list("")) == []


def test_a_source_that_is_not_there_is_the_callers_error(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put_file("a/b", tmp_path / "none")
    with pytest.raises(OSError):
        store.put_file("a/b", tmp_path)
    assert store.stat("a/b") is None


@pytest.mark.timeout(180)
def test_a_store_that_goes_away_and_comes_back_works_again(harness: Harness, tmp_path: Path) -> None:
    store = harness.store
    source = write(tmp_path, os.urandom(100_000))
    store.put_file("a/b", source)
    harness.down()
    try:
        calls: list[Callable[[], object]] = [
            lambda: store.put_file("a/c", source),
            lambda: store.put_bytes("a/c", b"x"),
            lambda: store.get_bytes("a/b", 100_000),
            lambda: store.stat("a/b"),
            lambda: store.delete("a/b"),
            lambda: store.delete_many(["a/b"]),
            lambda: list(store.list("")),
            store.ping,
        ]
        for call in calls:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                call()
            assert time.monotonic() - began < 10
    finally:
        harness.up()
    store.ping()
    assert store.get_bytes("a/b", 100_000) == source.read_bytes()
    store.put_file("a/c", source)
    assert {info.key for info in store.list("")} == {"a/b", "a/c"}


@pytest.mark.timeout(180)
def test_what_was_under_way_when_the_store_died_is_all_there_after_trying_again(
    harness: Harness, tmp_path: Path
) -> None:
    store = harness.store
    source = write(tmp_path, os.urandom(200_000))
    store.ping()
    failures = 0
    lock = threading.Lock()

    def drive(number: int) -> None:
        nonlocal failures
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                store.put_file(f"s/{number}", source)
                return
            except StoreUnavailable:
                with lock:
                    failures += 1
                time.sleep(0.2)
        pytest.fail("never stored")

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(drive, number) for number in range(60)]
        harness.down()
        time.sleep(1)
        harness.up()
        for each in running:
            each.result()
    assert failures > 0
    assert {info.key for info in store.list("s/")} == {f"s/{number}" for number in range(60)}
    for number in range(60):
        assert store.get_bytes(f"s/{number}", 200_000) == source.read_bytes()

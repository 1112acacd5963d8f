"""What is read ahead of the sending thread, out of a real directory store."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_common.dicom.part10 import FileMeta, encode_file_meta
from hermes_common.manifest import ManifestInstance
from hermes_common.runtime.objectstore import StoreUnavailable
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_dispatcher.adapters.buffers import LARGEST, Buffers
from hermes_dispatcher.adapters.objects import MOST_IN_PORTION, PORTION, Item, Objects, Prepared, portions
from hermes_dispatcher.core.outcomes import NotDelivered
from hermes_dispatcher.core.window import LEAST, MOST, window

DATA = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
META = FileMeta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", "1.2.840.10008.1.2.1")


def item(position: int, octets: int = 5000, data: bytes = DATA) -> Item:
    instance = ManifestInstance(
        sop_instance_uid="1.2.3.4", sop_class_uid=META.sop_class_uid, transfer_syntax_uid=META.transfer_syntax,
        key=f"1.2.3/{position}.dcm", digest=hashlib.sha256(data).hexdigest(), octets=octets, reception_id="r",
    )  # fmt: skip
    return Item(position, "1.2", "1.2.3", instance)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryStore]:
    made = DirectoryStore(tmp_path / "objects")
    yield made
    made.close()


def test_portions_keep_every_instance_in_order_and_their_bounds() -> None:
    items = [item(number, octets) for number, octets in enumerate([5000] * 40 + [PORTION * 2] * 2 + [100_000] * 5)]
    cut = list(portions(items))
    assert [each for portion in cut for each in portion] == items
    assert len(cut[0]) == 1, "what is sent first waits for nothing else"
    assert max(map(len, cut)) == MOST_IN_PORTION
    assert all(len(one) == 1 or sum(each.instance.octets for each in one) <= PORTION for one in cut)
    assert list(portions([])) == []


@pytest.mark.parametrize("wrong", [0, 4, 60, 70_000, 1 << 31], ids=lambda length: f"group length {length}")
def test_a_data_set_is_found_whatever_the_group_length_says(store: DirectoryStore, wrong: int) -> None:
    head = encode_file_meta(META)
    told = head[:140] + wrong.to_bytes(4, "little") + head[144:]
    for number, raw in enumerate((head + DATA, told + DATA)):
        store.put_bytes(f"1.2.3/{number}.dcm", raw)
    read = dict(Objects(store, 100_000).supply([item(0), item(1)]))
    assert [each.data for each in read.values() if isinstance(each, Prepared)] == [DATA, DATA]


def test_a_store_that_goes_away_is_told_behind_what_was_read_before(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [item(number) for number in range(12)]
    for each in items:
        store.put_bytes(each.instance.key, encode_file_meta(META) + DATA)
    objects = Objects(store, 100_000)
    whole = objects.prepare

    def prepare(instance: ManifestInstance) -> Prepared | NotDelivered:
        if instance.key == items[7].instance.key:
            raise StoreUnavailable("away")
        return whole(instance)

    monkeypatch.setattr(objects, "prepare", prepare)
    stream = objects.supply(items)
    assert [next(stream)[0].position for _ in range(7)] == list(range(7))
    with pytest.raises(StoreUnavailable, match="away"):
        next(stream)


def test_files_of_instances_that_nobody_takes_are_removed(store: DirectoryStore, tmp_path: Path) -> None:
    items = [item(number) for number in range(40)]
    for each in items:
        store.put_bytes(each.instance.key, encode_file_meta(META) + DATA)
    spooled = tmp_path / "spooled"
    spooled.mkdir()
    objects = Objects(store, 0, spooled)
    stream = objects.supply(items)
    first = [next(stream)[1] for _ in range(3)]
    assert all(isinstance(each, Prepared) and each.file is not None and each.file.exists() for each in first)
    stream.close()
    for each in first:
        if isinstance(each, Prepared):
            each.close()
    deadline = time.monotonic() + 20
    while list(spooled.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(spooled.iterdir()) == []


def test_a_buffer_is_used_again_only_when_its_instance_is_closed_and_is_not_to_be_had_after_that(
    store: DirectoryStore,
) -> None:
    large = [DATA + bytes([number]) * 200_000 for number in range(6)]
    items = [item(number, 200_000, data) for number, data in enumerate(large)]
    for each, data in zip(items, large, strict=True):
        store.put_bytes(each.instance.key, encode_file_meta(META) + data)
    objects = Objects(store, 1_000_000)
    held = [found for _, found in objects.supply(items) if isinstance(found, Prepared)]
    assert [bytes(each.data) for each in held] == large
    first = held[0]
    first.close()
    first.close()
    with pytest.raises(ValueError, match="released"):
        bytes(first.data)
    again = [found for _, found in objects.supply(items[:2]) if isinstance(found, Prepared)]
    assert [bytes(each.data) for each in [*held[1:], *again]] == [*large[1:], *large[:2]]


def test_a_buffer_of_which_somebody_still_has_a_part_is_not_lent_again() -> None:
    buffers = Buffers()
    first = buffers.lend(100_000)
    first.view[:] = b"a" * 100_000
    part = memoryview(first.view)[50:60]
    first.close()
    second = buffers.lend(100_000)
    second.view[:] = b"b" * 100_000
    assert bytes(part) == b"a" * 10
    second.close()
    assert [len(memory) for memory in buffers._free] == [LARGEST], "one that nobody has is kept"
    third = buffers.lend(5)
    assert bytes(third.view) == b"b" * 5


def test_a_damaged_instance_of_a_portion_leaves_the_others_alone(store: DirectoryStore) -> None:
    items = [item(number) for number in range(5)]
    for each in items:
        store.put_bytes(each.instance.key, encode_file_meta(META) + DATA)
    damaged = replace(items[3], instance=items[3].instance.model_copy(update={"digest": "0" * 64}))
    read = dict(Objects(store, 100_000).supply([*items[:3], damaged, items[4]]))
    assert [each.position for each, found in read.items() if isinstance(found, NotDelivered)] == [3]
    assert len(read) == 5


@pytest.mark.parametrize(
    ("instances", "octets", "expected"),
    [(300, 300 * 525_000, LEAST), (20, 20 * 20_000, LEAST), (5000, 5000 * 5000, 52), (10, 10, MOST), (5, 0, LEAST)],
)
def test_a_window_is_larger_only_for_small_instances(instances: int, octets: int, expected: int) -> None:
    assert window(instances, octets) == expected

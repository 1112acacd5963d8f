"""What only the directory store has to show: links, symbolic links, full and read-only disks, leftovers."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hermes_common.runtime.objectstore import KeyInvalid, ObjectMissing, StoreDenied, StoreFull, StoreUnavailable
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.runtime.objectstore.temps import TEMPS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> Iterator[DirectoryStore]:
    made = DirectoryStore(root)
    yield made
    made.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where we may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode == 0
    )
    if not mounted:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_source_on_the_same_file_system_is_linked_not_copied(store: DirectoryStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    store.put_file("a/b", source)
    path = store.local_path("a/b")
    assert path is not None
    assert path.samefile(source)
    source.unlink()
    assert path.read_bytes() == b"x" * 1000


def test_linking_the_same_file_twice_leaves_nothing_behind(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    store.put_file("a/b", source)
    store.put_file("a/b", source)  # rename(2) between two names of one inode does nothing, and leaves both
    assert files(root) == [root / "a/b"]


def test_a_source_on_another_file_system_is_copied(store: DirectoryStore, small_disk: Path) -> None:
    source = small_disk / "source"
    source.write_bytes(os.urandom(300_000))
    store.put_file("a/b", source)
    path = store.local_path("a/b")
    assert path is not None
    assert not path.samefile(source)
    assert path.read_bytes() == source.read_bytes()


def test_a_source_that_is_a_symbolic_link_is_copied(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store.put_file("a/b", tmp_path / "link")
    assert not (root / "a/b").is_symlink()
    assert store.get_bytes("a/b", 5) == b"bytes"


def test_a_symbolic_link_in_the_store_is_never_followed(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.ping()
    (root / "evil").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    with pytest.raises(KeyInvalid):
        store.put_bytes("evil/new", b"x")
    for key in ("evil/secret", "file"):
        assert store.stat(key) is None
        assert store.local_path(key) is None
        with pytest.raises(ObjectMissing):
            store.get_bytes(key, 10)
    store.delete("evil/secret")
    assert list(store.list("")) == []
    assert [path.name for path in outside.iterdir()] == ["secret"]
    store.put_bytes("file", b"mine")
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_fifo_in_the_store_does_not_block(store: DirectoryStore, root: Path) -> None:
    store.ping()
    os.mkfifo(root / "fifo")
    with pytest.raises(ObjectMissing):
        store.get_bytes("fifo", 10)
    assert list(store.list("")) == []


def test_a_key_cannot_be_the_folder_of_another(store: DirectoryStore) -> None:
    store.put_bytes("a/b", b"x")
    for key in ("a", "a/b/c"):
        with pytest.raises(KeyInvalid):
            store.put_bytes(key, b"y")
    assert [info.key for info in store.list("")] == ["a/b"]


def test_deleting_prunes_empty_folders_and_only_those(store: DirectoryStore, root: Path) -> None:
    store.put_bytes("a/b/c", b"x")
    store.put_bytes("a/d", b"x")
    store.delete("a/b/c")
    assert not (root / "a/b").exists()
    store.delete("a/d")
    assert [path.name for path in root.iterdir()] == [TEMPS]


def test_nothing_of_a_failed_copy_is_visible_and_it_heals(small_disk: Path, tmp_path: Path) -> None:
    root = small_disk / "objects"
    store = DirectoryStore(root)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(2_000_000))
    with pytest.raises(StoreFull):
        store.put_file("a/b", source)
    with pytest.raises(StoreFull):
        store.put_bytes("a/b", source.read_bytes())
    assert files(root) == []
    assert store.stat("a/b") is None
    assert list(store.list("")) == []
    store.put_bytes("a/b", b"fits")
    with pytest.raises(StoreFull):
        store.put_file("a/b", source)
    assert store.get_bytes("a/b", 10) == b"fits"
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    store.put_file("a/b", source)
    assert store.get_bytes("a/b", 2_000_000) == source.read_bytes()
    store.close()


def test_a_read_only_disk_is_read_and_says_so_when_written(small_disk: Path) -> None:
    store = DirectoryStore(small_disk / "objects")
    store.put_bytes("a/b", b"x")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for call in (
        lambda: store.put_bytes("a/c", b"x"),
        lambda: store.delete("a/b"),
        store.ping,
    ):
        with pytest.raises(StoreDenied):
            call()
    assert store.get_bytes("a/b", 1) == b"x"
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    store.put_bytes("a/c", b"x")
    store.close()
    assert sorted(info.key for info in store.list("")) == ["a/b", "a/c"]


def test_a_read_only_disk_can_be_opened_for_reading(small_disk: Path) -> None:
    first = DirectoryStore(small_disk / "objects")
    first.put_bytes("a/b", b"x")
    first.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    second = DirectoryStore(small_disk / "objects")
    assert second.get_bytes("a/b", 1) == b"x"
    second.close()


def test_leftovers_of_a_killed_process_go_and_those_of_a_living_one_stay(root: Path) -> None:
    hold = (
        "import sys, pathlib, os\n"
        "from hermes_common.runtime.objectstore.temps import Temps\n"
        "with Temps(pathlib.Path(sys.argv[1])).name() as (folder, name):\n"
        "    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=folder))\n"
        "    print('holding', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    root.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holding\n"
        while_alive = DirectoryStore(root)
        while_alive.put_bytes("a/b", b"x")
        assert len(files(root / TEMPS)) == 1
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    while_alive.close()
    afterwards = DirectoryStore(root)
    afterwards.put_bytes("a/c", b"x")
    assert files(root / TEMPS) == []
    assert len(list((root / TEMPS).iterdir())) == 1
    afterwards.close()
    assert list((root / TEMPS).iterdir()) == []
    assert sorted(info.key for info in afterwards.list("")) == ["a/b", "a/c"]


def test_a_replaced_root_is_written_to_at_once(store: DirectoryStore, root: Path) -> None:
    store.put_bytes("a/b", b"old")
    root.rename(root.with_name("old"))
    root.mkdir()
    assert store.stat("a/b") is None
    store.put_bytes("a/b", b"new")
    assert store.get_bytes("a/b", 3) == b"new"
    assert (root.with_name("old") / "a/b").read_bytes() == b"old"


def test_no_descriptor_is_left_open(store: DirectoryStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    store.ping()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        store.put_file(f"a/{number}", source)
        store.get_bytes(f"a/{number}", 1)
        store.stat("b/c")
        next(store.list("a/"))
    store.delete_many(f"a/{number}" for number in range(20))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_every_name_is_fsynced_up_to_the_root(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    really = os.fsync

    def record(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        really(fd)

    monkeypatch.setattr(os, "fsync", record)
    store.put_bytes("a/b/c", b"x")
    assert TEMPS in synced[-4]
    assert synced[-3:] == [str(root / "a/b"), str(root / "a"), str(root)]
    assert str(root.parent) in synced


def test_files_put_together_share_the_fsync_of_their_folder(
    store: DirectoryStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ping()
    synced: list[str] = []
    really = os.fsync

    def record(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        really(fd)

    monkeypatch.setattr(os, "fsync", record)
    with store.together() as puts:
        for number in range(40):
            source = tmp_path / str(number)
            source.write_bytes(b"x")
            puts.put_file(f"a/{number}", source)
        assert str(root / "a") not in synced
        assert len(files(root / "a")) == 40
    assert synced.count(str(root / "a")) == 1
    assert synced[-2:] == [str(root / "a"), str(root)]


def test_more_folders_than_are_held_are_each_fsynced_after_their_last_file(
    store: DirectoryStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    happened: list[tuple[str, str]] = []
    replace, fsync = os.replace, os.fsync

    def note_replace(src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        happened.append(("put", str(Path(f"/proc/self/fd/{dst_dir_fd}").readlink())))
        replace(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def note_fsync(fd: int) -> None:
        happened.append(("sync", str(Path(f"/proc/self/fd/{fd}").readlink())))
        fsync(fd)

    monkeypatch.setattr(os, "replace", note_replace)
    monkeypatch.setattr(os, "fsync", note_fsync)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with store.together() as puts:
        for _ in range(2):
            for number in range(100):
                puts.put_file(f"{number}/b", source)
        assert len(list(Path("/proc/self/fd").iterdir())) < before + 30
    for number in range(100):
        folder = str(root / str(number))
        last = max(at for at, what in enumerate(happened) if what == ("put", folder))
        assert ("sync", folder) in happened[last:]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1  # the folder of temporary names


def test_an_fsync_that_failed_is_never_made_good_by_another(
    store: DirectoryStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    store.ping()
    failed: list[str] = []
    really = os.fsync

    def fail_once(fd: int) -> None:
        where = str(Path(f"/proc/self/fd/{fd}").readlink())
        if where.startswith(str(root / "1")) and not failed:
            failed.append(where)
            raise OSError(errno.EIO, "lost")
        really(fd)

    monkeypatch.setattr(os, "fsync", fail_once)

    def put_many() -> None:
        with store.together() as puts:
            for number in range(60):  # more than are held: the failure comes from a put, and must come again at the end
                with suppress(StoreUnavailable):
                    puts.put_file(f"{number}/b", source)

    with pytest.raises(StoreUnavailable):
        put_many()
    assert failed
    with store.together() as puts:
        puts.put_file("1/b", source)


def test_a_folder_that_keeps_disappearing_leaves_nothing_before_it_as_durable(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    really = os.replace

    def gone(src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if dst == "2":
            os.unlink(src, dir_fd=src_dir_fd)
        really(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "replace", gone)

    def put_both() -> None:
        with store.together() as puts:
            puts.put_file("a/1", source)
            with suppress(StoreUnavailable):
                puts.put_file("a/2", source)

    with pytest.raises(StoreUnavailable):
        put_both()


def test_a_folder_that_is_pruned_meanwhile_is_made_again(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with store.together() as puts:
        puts.put_file("a/1", source)
        store.delete("a/1")
        assert not (root / "a").exists()
        puts.put_file("a/2", source)
    assert [info.key for info in store.list("")] == ["a/2"]

"""What only the S3 store has to show: buckets, credentials, dead and hostile endpoints, kept connections."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from hermes_common.runtime.objectstore import (
    ObjectMissing,
    ObjectTooLarge,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
)
from hermes_common.runtime.objectstore.s3 import S3Store
from hermes_common.runtime.objectstore.s3_errors import from_code
from hermes_common.runtime.objectstore.s3_put import ONE_PUT

from .conftest import ACCESS_KEY, SECRET_KEY, SeaweedFS, s3_store


@contextmanager
def scripted(answer: bytes, *, hold: bool = False) -> Iterator[str]:
    """An endpoint that reads a request's head and answers ``answer``, then closes, or holds the connection open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                connection.recv(65536)
                connection.sendall(answer)
                if not hold:
                    connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    for connection in held:
        connection.close()


def quick(endpoint: str) -> S3Store:
    return S3Store(
        endpoint=endpoint,
        access_key="a",
        secret_key="b",
        bucket="bucket",
        secure=False,
        connect_timeout=timedelta(seconds=1),
        read_timeout=timedelta(seconds=1),
    )


def head(status: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()


def test_a_refused_connection_is_reported_within_seconds(refused_endpoint: str) -> None:
    with closing(quick(refused_endpoint)) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.ping()
        assert time.monotonic() - began < 5


def test_an_endpoint_that_never_answers_is_given_up() -> None:
    with scripted(b"", hold=True) as endpoint, closing(quick(endpoint)) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.ping()
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
        head("200 OK", "Content-Length: 5") + b"hello",
        head("418 Teapot", "Content-Length: 0"),
        head("503 Slow Down", "Content-Length: 0", "Retry-After: 3600"),
        head("307 Temporary Redirect", "Location: http://127.0.0.1:1/", "Content-Length: 0"),
    ],
)
def test_an_endpoint_that_is_no_store_is_unavailable(answer: bytes, tmp_path: Path) -> None:
    with scripted(answer) as endpoint, closing(quick(endpoint)) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            list(store.list(""))
        assert time.monotonic() - began < 10


def test_an_object_cut_short_never_looks_whole() -> None:
    with scripted(head("200 OK", "Content-Length: 1000") + b"x" * 400) as endpoint, closing(quick(endpoint)) as store:
        store._bucket_seen = True
        with pytest.raises(StoreUnavailable):
            store.get_bytes("a/b", 1000)


def test_an_object_that_stalls_is_given_up() -> None:
    answer = head("200 OK", "Content-Length: 1000") + b"x" * 400
    with scripted(answer, hold=True) as endpoint, closing(quick(endpoint)) as store:
        store._bucket_seen = True
        began = time.monotonic()
        with pytest.raises(StoreUnavailable), store.open("a/b") as stream:
            stream.read(1000)
        assert time.monotonic() - began < 5


def test_a_full_store_is_told_from_a_broken_one() -> None:
    assert isinstance(from_code("XMinioStorageFull", None, "a/b"), StoreFull)
    assert isinstance(from_code("Other", None, "a/b", 507), StoreFull)
    assert isinstance(from_code("SignatureDoesNotMatch", None, "a/b"), StoreDenied)
    assert isinstance(from_code("NoSuchKey", None, "a/b"), ObjectMissing)
    assert type(from_code("NoSuchBucket", None, "a/b")) is StoreUnavailable
    assert type(from_code("InternalError", None, "a/b")) is StoreUnavailable


def test_what_one_put_cannot_carry_is_refused_before_it_is_read(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(ONE_PUT + 1)
    with closing(quick("127.0.0.1:1")) as store, pytest.raises(ObjectTooLarge):
        store.put_file("a/b", sparse)


@pytest.mark.servers
def test_many_stores_create_the_missing_bucket_at_once(seaweedfs: SeaweedFS) -> None:
    bucket = f"race-{secrets.token_hex(6)}"
    stores = [s3_store(seaweedfs.endpoint, bucket) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda numbered: numbered[1].put_bytes(f"a/{numbered[0]}", b"x"), enumerate(stores)))
    assert len(list(stores[0].list(""))) == 8
    for store in stores:
        store.close()


@pytest.mark.servers
@pytest.mark.parametrize(("access", "secret"), [(ACCESS_KEY, "wrong"), ("nobody", SECRET_KEY)])
def test_wrong_keys_are_denied_and_not_repeated_to_anyone(seaweedfs: SeaweedFS, access: str, secret: str) -> None:
    store = S3Store(endpoint=seaweedfs.endpoint, access_key=access, secret_key=secret, bucket="keys-test", secure=False)
    for call in (store.ping, lambda: store.put_bytes("a/b", b"x"), lambda: store.stat("a/b")):
        with pytest.raises(StoreDenied) as caught:
            call()
        assert secret not in str(caught.value)
    assert secret not in repr(store)
    store.close()


@pytest.mark.servers
def test_a_bucket_that_vanishes_is_made_again(seaweedfs: SeaweedFS) -> None:
    with closing(s3_store(seaweedfs.endpoint, f"gone-{secrets.token_hex(6)}")) as store:
        store.put_bytes("a/b", b"x")
        store.delete("a/b")
        store._client.remove_bucket(store._bucket)
        store.put_bytes("a/c", b"x")
        assert store.get_bytes("a/c", 1) == b"x"


@pytest.mark.servers
def test_connections_are_kept(seaweedfs: SeaweedFS) -> None:
    with closing(s3_store(seaweedfs.endpoint, f"keep-{secrets.token_hex(6)}")) as store:
        store.ping()
        for number in range(10):
            store.put_bytes(f"a/{number}", b"x" * 10_000)
            with store.open(f"a/{number}") as stream:
                while stream.read(3000):
                    pass
            assert store.stat("a/none") is None
        host, port = seaweedfs.endpoint.split(":")
        assert store._pool.connection_from_host(host, int(port), "http").num_connections == 1


@pytest.mark.servers
def test_memory_does_not_grow_with_the_file(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1_000_000) * 64)
    with closing(s3_store(seaweedfs.endpoint, f"mem-{secrets.token_hex(6)}")) as store:
        store.ping()
        tracemalloc.start()
        store.put_file("a/b", source)
        with store.open("a/b") as stream:
            while stream.read(256 * 1024):
                pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8_000_000

"""The object store over S3: MinIO, SeaweedFS, AWS, Ceph.

Everything but a PUT goes through ``minio``; see ``s3_put`` for why. Time limits hold for each socket operation: 5 s to
connect, 60 s for an answer to move; a call tries at most three times to connect and twice to get an answer.
"""

from __future__ import annotations

import io
import os
import re
import stat as stat_bits
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from hermes_common.runtime.objectstore.errors import ObjectMissing, ObjectTooLarge, StoreUnavailable
from hermes_common.runtime.objectstore.interface import ObjectInfo, ObjectStream, Puts
from hermes_common.runtime.objectstore.keys import check_key, prefix_folder
from hermes_common.runtime.objectstore.s3_errors import MISSING, NO_BUCKET, from_code, translated
from hermes_common.runtime.objectstore.s3_put import ONE_PUT, PutBody, Signer, send
from hermes_common.runtime.objectstore.streams import CountedStream

_BLOCK = 256 * 1024
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class S3Store:
    """An ``ObjectStore`` in one bucket, which is created when it is missing.

    ``endpoint`` is ``host:port``. ``ca_file`` replaces the system's certificate authorities. ``threads`` is how many
    connections are kept. Raises ``ValueError`` for arguments that cannot be meant. Nothing is contacted yet.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        access_key: str,
        secret_key: str,
        bucket: str,
        region: str = "us-east-1",
        secure: bool = True,
        ca_file: Path | None = None,
        threads: int = 16,
        connect_timeout: timedelta = timedelta(seconds=5),
        read_timeout: timedelta = timedelta(seconds=60),
    ) -> None:
        if not endpoint or urlsplit(f"//{endpoint}").netloc != endpoint or "@" in endpoint:
            raise ValueError("S3 endpoint must be host:port, without a scheme or a path")
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"S3 bucket {bucket!r} is not a bucket name (3 to 63 of a-z 0-9 . -)")
        if not access_key or not secret_key:
            raise ValueError("S3 access key and secret key must not be empty")
        self._bucket = bucket
        self._signer = Signer(endpoint, access_key, secret_key, region=region, secure=secure)
        self._pool = urllib3.PoolManager(
            maxsize=threads,
            blocksize=_BLOCK,
            timeout=urllib3.Timeout(connect=connect_timeout.total_seconds(), read=read_timeout.total_seconds()),
            cert_reqs="CERT_REQUIRED",
            ca_certs=None if ca_file is None else str(ca_file),
            retries=urllib3.Retry(
                total=3,
                connect=2,
                read=1,
                status=2,
                redirect=False,
                backoff_factor=0.2,
                status_forcelist=[500, 502, 503, 504],
                raise_on_status=False,
                allowed_methods=None,  # deleting many is a POST; all our requests can be repeated
                respect_retry_after_header=False,  # it could ask for an hour
            ),
        )
        self._client = Minio(endpoint, access_key, secret_key, secure=secure, region=region, http_client=self._pool)
        self._bucket_seen = False

    def __repr__(self) -> str:
        return f"S3Store(bucket={self._bucket!r})"

    def put_file(self, key: str, path: Path) -> None:
        check_key(key)
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat_bits.S_ISREG(status.st_mode):
                raise OSError(f"{path} is not a regular file")
            self._put(key, file, status.st_size)

    @contextmanager
    def together(self) -> Iterator[Puts]:
        yield self  # each PUT is answered when it is done

    def put_bytes(self, key: str, data: bytes) -> None:
        self._put(check_key(key), io.BytesIO(data), len(data))

    def get_bytes(self, key: str, limit: int) -> bytes:
        with self.open(key) as stream:
            if stream.size > limit:
                raise ObjectTooLarge(key, stream.size, limit)
            return stream.read()

    @contextmanager
    def open(self, key: str) -> Iterator[ObjectStream]:
        check_key(key)
        with self._in_bucket(key):
            response = self._client.get_object(self._bucket, key)

        def some(n: int) -> bytes:
            with translated(key):
                return response.read1(n, decode_content=False)

        try:
            length = response.headers.get("content-length", "")
            if not length.isdecimal():
                raise StoreUnavailable(f"S3 did not say how large object {key!r} is")
            stream = CountedStream(key, int(length), some)
            yield stream
            if stream.exhausted:
                response.drain_conn()  # the end of an empty body, so that the connection is kept
        finally:
            response.close()
            response.release_conn()

    def stat(self, key: str) -> ObjectInfo | None:
        check_key(key)
        try:
            with self._in_bucket(key):
                found = self._client.stat_object(self._bucket, key)
        except ObjectMissing:
            self._find_bucket()  # a HEAD has no body: it may be the bucket that is missing
            return None
        return ObjectInfo(key, found.size or 0, _utc(found.last_modified))

    def delete(self, key: str) -> None:
        check_key(key)
        try:
            with self._in_bucket(key):
                self._client.remove_object(self._bucket, key)
        except ObjectMissing:
            return

    def delete_many(self, keys: Iterable[str]) -> None:
        doomed = [DeleteObject(check_key(key)) for key in keys]
        with self._in_bucket():
            errors = [error for error in self._client.remove_objects(self._bucket, doomed) if error.code not in MISSING]
        for error in errors:
            raise from_code(error.code, error.message, error.name or "")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        prefix_folder(prefix)
        return self._list(prefix)

    def ping(self) -> None:
        self._bucket_seen = False
        with self._in_bucket():
            return

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def close(self) -> None:
        self._pool.clear()

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._in_bucket():
            found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        while True:
            with self._in_bucket():
                entry = next(found, None)
            if entry is None:
                return
            name = entry.object_name or ""
            if not entry.is_dir and not name.endswith("/"):
                yield ObjectInfo(name, entry.size or 0, _utc(entry.last_modified))

    def _put(self, key: str, body: PutBody, size: int) -> None:
        if size > ONE_PUT:
            raise ObjectTooLarge(key, size, ONE_PUT)
        signed = self._signer.sign(self._bucket, key, body, size)
        with self._in_bucket(key):
            send(self._pool, signed, body)

    @contextmanager
    def _in_bucket(self, key: str = "") -> Iterator[None]:
        """Translates errors, makes sure of the bucket before the first request, and again after it was missing."""
        if not self._bucket_seen:
            self._find_bucket()
        with translated(key):
            try:
                yield
            except S3Error as exc:
                if exc.code == NO_BUCKET:
                    self._bucket_seen = False
                raise

    def _find_bucket(self) -> None:
        with translated():
            if not self._client.bucket_exists(self._bucket):
                try:
                    self._client.make_bucket(self._bucket)
                except S3Error:
                    if not self._client.bucket_exists(self._bucket):  # else another process was faster
                        raise
        self._bucket_seen = True


def _utc(moment: datetime | None) -> datetime:
    if moment is None:
        raise StoreUnavailable("S3 did not say when the object was written")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

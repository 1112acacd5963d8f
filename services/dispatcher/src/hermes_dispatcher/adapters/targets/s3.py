"""A bucket of an S3 store as a target: one object for each instance, under a key made of the template.

The digest of the data set is kept as metadata. An object of that digest that is there already counts as delivered;
other bytes under the same key are left alone, and the instance goes beside them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final, cast

from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from hermes_common.targets import S3Target
from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.adapters.targets.feeding import beside, name_of, one_by_one, part10
from hermes_dispatcher.adapters.targets.http import Http
from hermes_dispatcher.adapters.targets.interface import Permit, Report
from hermes_dispatcher.adapters.targets.steps import Steps, TroubleError, reach
from hermes_dispatcher.core.outcomes import Delivered, NotDelivered, Outcome, Trouble

DIGEST: Final = "hermes-sha256"
"""Metadata with the SHA-256 of the data set."""

_MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject"})
_CLOSED: Final = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoSuchBucket",
        "PermanentRedirect",
        "AllAccessDisabled",
    }
)
_NEVER: Final = frozenset({"EntityTooLarge", "KeyTooLongError", "InvalidObjectName", "InvalidObjectState"})


class S3Sender:
    """Puts objects, one at a time."""

    def __init__(self, target: S3Target, slowest: int) -> None:
        """``slowest``: octets a second that the target has to take at least (:func:`http.slowest_of`)."""
        self._target = target
        self._slowest = slowest

    def send(self, items: Sequence[Item], supply: Supply, report: Report, permit: Permit) -> NotDelivered | None:
        """Send them; see :class:`~hermes_dispatcher.adapters.targets.interface.Sender`."""
        target = self._target
        try:
            http = Http(target.tls, target.connect_timeout, target.response_timeout, self._slowest)
        except TroubleError as error:
            return error.outcome
        permit.killed_by(http.kill)
        client = self._client(http)
        try:
            return one_by_one(
                items, supply, report, permit, lambda item, prepared: self._put(http, client, item, prepared)
            )
        finally:
            permit.killed_by(None)
            http.close()

    def test(self, steps: Steps) -> None:
        """Resolve, connect, TLS, and ask for the bucket."""
        target = self._target
        limit = min(target.connect_timeout, steps.limit)
        http = steps.take("settings", lambda: Http(target.tls, limit, steps.limit), lambda _: "usable")
        host, _, port = target.endpoint.partition(":")
        tls = http.manager.connection_pool_kw["ssl_context"] if target.secure else None
        number = int(port) if port else (443 if target.secure else 80)
        reach(steps, host, number, tls).close()
        try:
            steps.take(
                "look for the bucket",
                lambda: self._find_bucket(http),
                lambda _: f"the store lets us in and has {target.bucket}",
            )
        finally:
            http.close()

    def _client(self, http: Http) -> Minio:
        target = self._target
        return Minio(
            target.endpoint,
            target.access_key,
            target.secret_key.get_secret_value(),
            secure=target.secure,
            region=target.region,
            http_client=http.manager,
        )

    def _find_bucket(self, http: Http) -> None:
        with self._translated(http, 0):
            if not self._client(http).bucket_exists(self._target.bucket):
                raise TroubleError(Trouble.REJECTED, f"there is no bucket {self._target.bucket}; make it")

    def _put(self, http: Http, client: Minio, item: Item, prepared: Prepared) -> Outcome:
        digest = item.instance.digest
        key = name_of(self._target.key_template, item, prepared)
        there = self._digest_of(http, client, key)
        if there is not None and there != digest:
            key = beside(key, digest)
            there = self._digest_of(http, client, key)
        if there != digest:
            octets, chunks = part10(prepared)
            with self._translated(http, octets):
                client.put_object(
                    self._target.bucket,
                    key,
                    cast(BinaryIO, Reader(chunks)),
                    octets,
                    content_type="application/dicom",
                    metadata={DIGEST: digest},
                )
        return Delivered(note=f"as {key}")

    def _digest_of(self, http: Http, client: Minio, key: str) -> str | None:
        """Return the digest of what lies under a key, an empty text if it is not one of ours, None if nothing does."""
        try:
            with self._translated(http, 0):
                found = client.stat_object(self._target.bucket, key)
        except _MissingError:
            return None
        metadata = found.metadata or {}
        return str(metadata.get(f"x-amz-meta-{DIGEST}", ""))

    @contextmanager
    def _translated(self, http: Http, octets: int) -> Iterator[None]:
        try:
            with http.within(octets):
                yield
        except S3Error as error:
            raise self._trouble(error) from error
        except (ServerError, InvalidResponseError) as error:
            raise TroubleError(Trouble.BUSY, f"the store failed: {error}") from error
        except MinioException as error:
            raise TroubleError(Trouble.BUSY, f"the store did something unexpected: {error}") from error

    def _trouble(self, error: S3Error) -> Exception:
        code = error.code or ""
        words = f"{code}: {error.message or ''}"
        if code in _MISSING:
            return _MissingError()
        if code in _CLOSED:
            return TroubleError(Trouble.REJECTED, f"the store does not let us in: {words}; check keys and bucket")
        if code in _NEVER:
            return TroubleError(Trouble.REFUSED, f"the store refuses this object: {words}")
        return TroubleError(Trouble.BUSY, f"the store cannot now: {words}")


class _MissingError(Exception):
    """There is no such object."""


class Reader:
    """Chunks as a file that can be read once, in pieces of any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` octets; fewer only at the end."""
        pieces: list[bytes | memoryview] = []
        want = size
        while want:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk)
            piece = self._rest if want < 0 else self._rest[:want]
            self._rest = self._rest[len(piece) :]
            pieces.append(piece)
            want -= len(piece) if want > 0 else 0
        return b"".join(pieces)

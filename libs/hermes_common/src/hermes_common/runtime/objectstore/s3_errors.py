"""Foreign errors of the S3 client, translated. Codes: the S3 API reference, MinIO's ``X…`` codes, HTTP status 507."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError

from hermes_common.runtime.objectstore.errors import (
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

NO_BUCKET = "NoSuchBucket"
MISSING = frozenset({"NoSuchKey", "NoSuchObject", "NoSuchVersion"})
_FULL = frozenset({"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientCapacity"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "AccountProblem",
        "AuthorizationHeaderMalformed",  # the region is wrong
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "MethodNotAllowed",
        "PermanentRedirect",  # the region is wrong
        "RequestTimeTooSkewed",  # a clock is wrong
        "SignatureDoesNotMatch",
    }
)
_INSUFFICIENT_STORAGE = 507


def from_code(code: str | None, message: str | None, key: str, status: int | None = None) -> StoreError:
    """The error for an S3 error code about ``key`` (empty: about the bucket)."""
    if key and code in MISSING:
        return ObjectMissing(key)
    said = f"S3 answered {code}: {(message or '')[:200]}" + (f" (object {key!r})" if key else "")
    if code in _FULL or status == _INSUFFICIENT_STORAGE:
        return StoreFull(said)
    if code in _DENIED:
        return StoreDenied(said)
    return StoreUnavailable(said)


@contextmanager
def translated(key: str = "") -> Iterator[None]:
    """Raises the errors of this package for those of minio and urllib3 in its body."""
    try:
        yield
    except S3Error as exc:
        raise from_code(exc.code, exc.message, key, exc.response.status) from exc
    except ServerError as exc:
        raise from_code(f"HTTP {exc.status_code}", None, key, exc.status_code) from exc
    except InvalidResponseError as exc:
        raise StoreUnavailable("the endpoint does not answer as S3 does: " + str(exc)[:200]) from exc
    except MinioException as exc:
        raise StoreUnavailable(f"S3 client: {str(exc)[:200]}") from exc
    except HTTPError as exc:
        raise StoreUnavailable(f"S3 not reachable: {str(exc)[:300]}") from exc
    except (ParseError, ValueError) as exc:
        raise StoreUnavailable("the endpoint answered XML that S3 does not write") from exc

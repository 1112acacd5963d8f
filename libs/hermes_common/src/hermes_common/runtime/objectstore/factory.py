"""Which store the settings ask for: ``HERMES_OBJECT_STORE`` and ``HERMES_S3_*`` as plain values."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.runtime.objectstore.interface import ObjectStore


def open_store(
    object_store: str,
    *,
    s3_endpoint: str = "",
    s3_access_key: str = "",
    s3_secret_key: str = "",
    s3_bucket: str = "",
    s3_region: str = "us-east-1",
    s3_secure: bool = True,
    s3_ca_file: Path | None = None,
    threads: int = 16,
) -> ObjectStore:
    """The store that ``object_store`` names: ``s3`` or ``file:///path``; contacts nothing yet.

    ``threads`` is how many threads use it at once. Raises ``ValueError``, in words for the operator, on settings that
    cannot be meant; it never repeats a secret.
    """
    if object_store == "s3":
        from hermes_common.runtime.objectstore.s3 import S3Store  # only where there is S3: its client takes a while

        return S3Store(
            endpoint=s3_endpoint,
            access_key=s3_access_key,
            secret_key=s3_secret_key,
            bucket=s3_bucket,
            region=s3_region,
            secure=s3_secure,
            ca_file=s3_ca_file,
            threads=threads,
        )
    return DirectoryStore(_directory(object_store))


def _directory(url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
        raise ValueError(f"object store must be 's3' or 'file:///path', not {url!r}")
    path = Path(unquote(parts.path))
    if not path.is_absolute() or path == Path("/") or "\0" in str(path) or ".." in path.parts:
        raise ValueError(f"object store {url!r} must name a folder by its absolute path")
    return path

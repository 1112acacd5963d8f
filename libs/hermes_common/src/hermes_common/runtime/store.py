"""The object store of the settings."""

from hermes_common.runtime.objectstore import ObjectStore, open_store
from hermes_common.runtime.settings import ObjectStoreSettings


def store_of(settings: ObjectStoreSettings, threads: int = 16) -> ObjectStore:
    """Return the store that the settings name; nothing is contacted yet."""
    return open_store(
        settings.object_store,
        s3_endpoint=settings.s3_endpoint,
        s3_access_key=settings.s3_access_key.get_secret_value(),
        s3_secret_key=settings.s3_secret_key.get_secret_value(),
        s3_bucket=settings.s3_bucket,
        s3_region=settings.s3_region,
        s3_secure=settings.s3_secure,
        threads=threads,
    )

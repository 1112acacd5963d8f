"""The object store behind one interface: ``S3Store`` for any S3, ``DirectoryStore`` for a site of one machine."""

from hermes_common.runtime.objectstore.errors import (
    KeyInvalid,
    ObjectMissing,
    ObjectTooLarge,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from hermes_common.runtime.objectstore.factory import open_store
from hermes_common.runtime.objectstore.interface import ObjectInfo, ObjectStore, ObjectStream, Puts

__all__ = [
    "KeyInvalid",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "ObjectStream",
    "ObjectTooLarge",
    "Puts",
    "StoreDenied",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "open_store",
]

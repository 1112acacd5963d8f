"""The manifests of deliveries, as the router wrote them."""

from pydantic import ValidationError

from hermes_common.manifest import Manifest
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.objectstore import KeyInvalid, ObjectMissing, ObjectTooLarge


class ManifestUnusableError(Exception):
    """The manifest of a delivery is missing from the store or cannot be read; the message says which."""


class Manifests:
    """Reads manifests out of the store, or out of their copies where it has lost them."""

    def __init__(self, stored: StoredDocuments) -> None:
        self._stored = stored

    async def manifest(self, key: str) -> Manifest:
        """Return a manifest; :class:`ManifestUnusableError`, or TransientError with the store or the bus away."""
        try:
            return await self._stored.read(key, Manifest)
        except (ObjectMissing, ObjectTooLarge, KeyInvalid) as error:
            raise ManifestUnusableError(f"the manifest cannot be had: {error}") from error
        except ValidationError as error:
            raise ManifestUnusableError(f"the manifest {key} cannot be read: {error.error_count()} mistakes") from error

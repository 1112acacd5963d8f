"""The volume on which the object store keeps its data, where the cleaner can see it."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Volume:
    """How much is free on a volume. A folder that is not there yet has the volume of the first one above it."""

    def __init__(self, folder: Path | None, *, frees_late: bool = False) -> None:
        self._folder = folder
        self.frees_late = frees_late
        """Whether what is deleted becomes free only some time later, as in stores that compact their files."""

    def free(self) -> int | None:
        """Return the octets that are free; None where nothing can be seen. ``OSError`` if the volume is away."""
        if self._folder is None:
            return None
        there = next(folder for folder in (self._folder, *self._folder.parents) if folder.exists())
        return shutil.disk_usage(there).free


def volume_of(object_store: str, volume: str) -> Volume:
    """Return the volume that the settings name: ``HERMES_STORE_VOLUME``, or the folder of a directory store."""
    if volume:
        return Volume(Path(volume), frees_late=True)
    if object_store.startswith("file:"):
        return Volume(Path(unquote(urlsplit(object_store).path)))
    return Volume(None)

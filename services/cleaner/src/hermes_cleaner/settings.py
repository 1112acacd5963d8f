"""Settings of the cleaner, from the environment."""

from hermes_common.runtime.settings import ObjectStoreSettings, RuntimeSettings


class Settings(RuntimeSettings, ObjectStoreSettings):
    """What the cleaner needs: the bus and the object store."""

    store_volume: str = ""
    """A folder on the volume on which an S3 store of this machine keeps its data, for its free space; a directory store
    needs none."""

"""Settings of the cleaner, from the environment."""

from hermes_common.runtime.settings import ObjectStoreSettings, RuntimeSettings


class Settings(RuntimeSettings, ObjectStoreSettings):
    """What the cleaner needs: the bus and the object store."""

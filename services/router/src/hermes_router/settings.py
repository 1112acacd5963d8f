"""Settings of the router, from the environment."""

from hermes_common.runtime.settings import ObjectStoreSettings, RuntimeSettings


class Settings(RuntimeSettings, ObjectStoreSettings):
    """What the router needs: the bus and the object store."""

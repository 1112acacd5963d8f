"""Settings of the bookkeeper, from the environment."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hermes_common.runtime.settings import DatabaseSettings, RuntimeSettings, SealingSettings


class Settings(RuntimeSettings, DatabaseSettings, SealingSettings):
    """What the bookkeeper needs: the bus, the database, and the key of the channels' addresses."""

    model_config = SettingsConfigDict(env_prefix="HERMES_", extra="ignore", env_ignore_empty=True)

    bookkeeper_batch: Annotated[int, Field(ge=1, le=5000)] = 500
    """Events recorded in one transaction, at most."""

"""How much room there is: asked by the bookkeeper, answered by every service that writes to a disk of its own."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ASK = "hermes.ask.room"
"""Subject of the request; everyone who has a disk answers with :class:`Room`."""


class Volume(BaseModel):
    """A volume of a disk."""

    model_config = ConfigDict(frozen=True)

    what: str
    """What lies on it: ``spool`` or ``store``."""
    free: Annotated[int, Field(ge=0)]
    """Bytes that we may still write."""
    total: Annotated[int, Field(ge=0)]


class Room(BaseModel):
    """What one process says about its disks."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: str
    host: str
    spool_pending: Annotated[int, Field(ge=0)] = 0
    """Bytes that wait in the spool for the object store."""
    spool_limit: Annotated[int, Field(ge=0)] = 0
    """Bytes that may wait; 0: there is no spool."""
    volumes: list[Volume] = []

"""Small pictures of stored instances: asked by the web service, made by a dispatcher, which reads the store anyway."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from hermes_common.manifest import ManifestInstance

ASK: Final = "hermes.ask.thumbnail"
"""Subject of the request; a dispatcher answers with :class:`Thumbnail`."""
LONGEST_SIDE: Final = 256
"""Pixels of the longer side; a smaller image keeps its size."""
MOST_OCTETS: Final = 400_000
"""Of a picture: an answer has to fit a message of the bus (1 MB). 256 x 256 colours are half of it, uncompressed."""


class NoPicture(StrEnum):
    """Why there is no picture."""

    NO_IMAGE = "no_image"
    """The object has no pixels: a report, a plan, a waveform."""
    UNREADABLE = "unreadable"
    """The data set or its pixels cannot be decoded, or what decodes them ended."""
    TOO_LARGE = "too_large"
    """Decoding it would take more memory than is allowed."""
    GONE = "gone"
    """The object is not in the store any longer."""
    DAMAGED = "damaged"
    """The bytes in the store are not those that were received."""
    UNAVAILABLE = "unavailable"
    """The store is away, everything is busy, or it took too long: asking again later may help."""


class ThumbnailAsked(BaseModel):
    """A request for the picture of one instance."""

    model_config = ConfigDict(frozen=True)

    instance: ManifestInstance


class Thumbnail(BaseModel):
    """A picture as PNG, or why there is none."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    why_not: NoPicture | None = None
    reason: str = ""
    """For people, and without anything out of the data set but its UIDs."""
    png: Annotated[bytes, Field(max_length=MOST_OCTETS)] = b""
    frame: int = 1
    """Which frame it shows, counted from 1."""
    frames: int = 1
    dispatcher: str = ""

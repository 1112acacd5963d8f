"""Events of the cleaner about the object store: too full, made room in, looked through."""

from typing import Annotated, ClassVar

from pydantic import Field

from hermes_common.events.base import Event, Time
from hermes_common.ids import Uid


class _StoreEvent(Event):
    entity: ClassVar[str] = "store"


class StorePressed(_StoreEvent):
    """The object store is over its watermark, and nothing that is done may be removed: a person has to make room."""

    verb: ClassVar[str] = "pressed"

    episode: str
    """Of this crossing of the watermark, until ``store.relieved``."""
    since: Time
    excess: int
    """Octets that have to go."""
    stored: int | None = None
    free: int | None = None
    reason: str


class StoreCleaned(_StoreEvent):
    """Series that were done went before their retention, because the object store was over its watermark."""

    verb: ClassVar[str] = "cleaned"

    episode: str
    series: int
    octets: int
    examples: Annotated[list[Uid], Field(max_length=100)] = []
    """The first of them; each has a ``series.deleted`` of its own."""
    reason: str


class StoreRelieved(_StoreEvent):
    """The object store is below its watermark again."""

    verb: ClassVar[str] = "relieved"

    episode: str
    stored: int | None = None
    free: int | None = None


class StoreSwept(_StoreEvent):
    """The object store was looked through for objects that nothing names and records whose objects are not there."""

    verb: ClassVar[str] = "swept"

    objects: int
    octets: int
    orphans: int = 0
    """Objects that nothing names, of any age."""
    orphan_octets: int = 0
    missing: int = 0
    """Instances that a live record names and the store does not have."""
    examples: Annotated[list[str], Field(max_length=20)] = []
    """Keys of the first that are missing."""
    removed: int = 0
    removed_octets: int = 0
    actor: str = ""
    """Who asked for it, where a person did."""
    report_key: str = ""

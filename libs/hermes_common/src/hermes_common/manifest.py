"""The manifest: the list of the instances of one batch of a series, as an object in the store."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hermes_common.events.base import Sender, Tags, Time
from hermes_common.ids import Uid


class ManifestInstance(BaseModel):
    """One instance of a batch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sop_instance_uid: Uid
    sop_class_uid: str
    transfer_syntax_uid: str
    key: str
    digest: str
    """Hexadecimal SHA-256 of the data set."""
    octets: int
    reception_id: str
    same_as: str = ""
    """For a redundant one: the key of the object with the same bytes that is kept."""


class Manifest(BaseModel):
    """The instances of a batch, in the order in which they were received.

    ``instances`` are what is sent. ``redundant`` were received a second time with the same bytes, ``superseded`` are
    older bytes under the UID of a newer instance: both are kept until the series is deleted, and neither is sent.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Annotated[int, Field(ge=1)] = 1
    batch_id: str
    batch: Annotated[int, Field(ge=1)]
    series_uid: Uid
    study_uid: Uid
    instances: list[ManifestInstance]
    redundant: list[ManifestInstance] = []
    superseded: list[ManifestInstance] = []
    through_seq: int
    """Sequence in the event stream of the last reception that this batch covers."""
    first_received_at: Time
    last_received_at: Time
    senders: list[Sender] = []
    tags: Tags = {}

    def receptions(self) -> list[ManifestInstance]:
        """Return everything that this manifest accounts for: each has an object of its own."""
        return [*self.instances, *self.redundant, *self.superseded]

"""Events of the receiver: associations and instances."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hermes_common.durations import Duration
from hermes_common.events.base import Event, Sender, Tags, Time
from hermes_common.ids import Uid, uid_token


class _Association(Event):
    entity: ClassVar[str] = "association"

    association_id: str
    sender: Sender


class AssociationOpened(_Association):
    """An association was accepted."""

    verb: ClassVar[str] = "opened"

    contexts: int = 0
    """Presentation contexts accepted."""
    protocol: Literal["dimse", "stow"] = "dimse"
    """By which service: C-STORE and its like, or STOW-RS, where one request counts as an association."""
    tls: str = ""
    """TLS version and cipher suite; empty for a plain connection."""
    certificate: str = ""
    """Subject of the verified client certificate."""
    user: str = ""
    """Name of the user whose identity was verified (PS3.7 D.3.3.7), or of the API token."""
    implementation: str = ""
    """Implementation version name and class UID of the peer, as it says."""


class AssociationClosed(_Association):
    """An association was released by its sender."""

    verb: ClassVar[str] = "closed"

    instances: int
    """Instances answered with Success."""
    refused: int = 0
    """Instances answered with a failure status."""
    octets: int = 0
    duration: Duration
    instances_per_second: float = 0.0
    octets_per_second: float = 0.0


class AssociationAborted(AssociationClosed):
    """An association ended without a release: abort, lost connection, a limit."""

    verb: ClassVar[str] = "aborted"

    reason: str


class AssociationRejected(_Association):
    """An association was not accepted (PS3.8 9.3.4)."""

    verb: ClassVar[str] = "rejected"

    reason: str
    transient: bool = False
    """Whether the sender was told that it may try again."""
    protocol: Literal["dimse", "stow"] = "dimse"
    tls: str = ""
    certificate: str = ""


class InstanceStored(Event):
    """An instance is in the object store. The reception id is the id of the event, however often it is said."""

    entity: ClassVar[str] = "instance"
    verb: ClassVar[str] = "stored"

    reception_id: str
    association_id: str
    series_uid: Uid
    study_uid: Uid
    sop_instance_uid: Uid
    sop_class_uid: str
    transfer_syntax_uid: str
    key: str
    digest: str
    """Hexadecimal SHA-256 of the data set as it came."""
    octets: int
    """Size of the object, file meta information included."""
    received_at: Time
    sender: Sender
    tags: Tags
    warnings: list[str] = []

    def token(self) -> str:
        return uid_token(self.series_uid)


class InstanceQuarantined(Event):
    """Bytes that cannot be taken as an instance were answered with a failure and kept aside, with the reason."""

    entity: ClassVar[str] = "instance"
    verb: ClassVar[str] = "quarantined"

    reception_id: str
    association_id: str
    key: str
    reason: str
    status: Annotated[int, Field(ge=0, le=0xFFFF)]
    """DIMSE status that the sender was given."""
    octets: int
    received_at: Time
    sender: Sender
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    """As the command named it: text of the sender, not to be trusted as a UID."""


class InstanceDownloaded(Event):
    """A person took the bytes that lie in quarantine under ``reception_id`` as a file."""

    entity: ClassVar[str] = "instance"
    verb: ClassVar[str] = "downloaded"

    reception_id: str
    actor: str
    address: str = ""


class InstanceResubmitted(Event):
    """A person had bytes that lie in quarantine received again; what lies there stays."""

    entity: ClassVar[str] = "instance"
    verb: ClassVar[str] = "resubmitted"

    reception_id: str
    """Under which they lie there; what they became has a reception id of its own."""
    actor: str
    address: str = ""
    stored: bool
    """Whether they are an instance now."""
    reason: str = ""
    """Why not."""


class InstanceRefused(Event):
    """An instance was answered with a failure status and nothing of it was kept: the sender still has it."""

    entity: ClassVar[str] = "instance"
    verb: ClassVar[str] = "refused"

    association_id: str
    sop_instance_uid: str
    status: Annotated[int, Field(ge=0, le=0xFFFF)]
    reason: str
    sender: Sender

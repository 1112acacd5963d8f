"""What every event is: a fact with a permanent name, in CloudEvents 1.0 binary mode.

The law of compatibility: a published event type keeps its name for ever. Fields may be added with a default; none is
renamed, removed, or given another meaning or unit: that takes a new type (``hermes.v2.…``). Readers ignore fields
that they do not know. ``tests/contract`` holds the schemas and golden samples that guard this.
"""

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from hermes_common.ids import Uid


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Time = Annotated[AwareDatetime, AfterValidator(_utc)]
"""An instant, always with a time zone, kept in UTC."""

Tags = dict[str, list[str]]
"""DICOM keyword, ``(gggg,eeee)`` or ``A.B`` -> values as text; an empty list is a tag that is present and empty."""


class Value(BaseModel):
    """A part of an event; readers ignore what they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(Value):
    """A fact. ``entity`` and ``verb`` make the type; :meth:`token` is the last part of the subject, if any."""

    entity: ClassVar[str]
    verb: ClassVar[str]

    @classmethod
    def type(cls) -> str:
        """Return the permanent name of this type of event."""
        return f"hermes.v1.{cls.entity}.{cls.verb}"

    def token(self) -> str | None:
        """Return the last token of the subject, or None."""
        return None

    def subject(self) -> str:
        """Return the subject this event is published on."""
        token = self.token()
        return self.type() if token is None else f"{self.type()}.{token}"


class Sender(Value):
    """Who sent an instance: calling and called AE title (PS3.8 9.3.2) and network address."""

    calling_aet: str
    called_aet: str
    address: str


class SeriesRef(Value):
    """The series that an event is about."""

    series_uid: Uid
    study_uid: Uid | None = None


class Envelope(BaseModel):
    """An event with its CloudEvents attributes, as it is published and consumed."""

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(min_length=1, max_length=200)]
    source: str
    time: Time
    traceparent: str | None = None
    event: Event

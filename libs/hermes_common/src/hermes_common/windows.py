"""The hours of a day in which deliveries of the priority ``off_peak`` are made."""

from datetime import datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PlainSerializer, field_validator

from hermes_common.documents import Document

Clock = Annotated[time, PlainSerializer(lambda value: value.strftime("%H:%M"), return_type=str, when_used="json")]
"""A time of day as clocks show it: ``19:00``."""


def check_zone(value: str) -> str:
    """Return the name of a time zone; raise ``ValueError`` if there is none of that name."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {value!r}; write one such as Europe/Vienna or UTC") from error
    return value


class OffPeak(Document):
    """A window of every day, and whole days of the week. It may reach over midnight; equal ends mean the whole day."""

    start: Clock = time(19, 0)
    end: Clock = time(6, 0)
    days: Annotated[tuple[Annotated[int, Field(ge=0, le=6)], ...], Field(max_length=7)] = (5, 6)
    """Days of the week that belong to it as a whole, 0 is Monday."""
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    """Name in the IANA time zone database, such as ``Europe/Vienna``."""

    @field_validator("start", "end")
    @classmethod
    def _is_plain(cls, value: time) -> time:
        if value.tzinfo is not None or value.second or value.microsecond:
            raise ValueError("write a time of day such as 19:00")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return check_zone(value)

    def is_open(self, now: datetime) -> bool:
        """Return whether deliveries that can wait are made at that instant."""
        local = now.astimezone(ZoneInfo(self.timezone))
        if local.weekday() in self.days:
            return True
        at = timedelta(hours=local.hour, minutes=local.minute)
        start, end = (timedelta(hours=value.hour, minutes=value.minute) for value in (self.start, self.end))
        return start <= at < end if start < end else at >= start or at < end

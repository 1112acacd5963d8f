"""The picture of an instance as somebody may see it, and how their browser may keep it."""

from dataclasses import dataclass
from typing import Final, cast

from hermes_common.config import Kind, Policies
from hermes_common.thumbnails import NoPicture, Thumbnail
from hermes_web.errors import StateConflictError
from hermes_web.features.thumbnails.queries import Subject, subject_of_instance, subject_of_series
from hermes_web.web import Web

VERSION: Final = 1
"""Counts up when pictures are made in another way: what browsers have kept is then asked for again."""
KEEP: Final = "private, no-cache"
"""Only the browser of who may see it keeps a picture, and asks before it shows it again: the right may have ended."""
OFF: Final = "Small pictures are switched off"


@dataclass(frozen=True, slots=True)
class Asked:
    """An instance of which somebody may see the picture, and the entity tag of that (RFC 9110 8.8.3)."""

    subject: Subject
    etag: str


async def are_on(web: Web) -> bool:
    """Return whether pictures are shown at all; raises TransientError with the bus away."""
    return cast(Policies, (await web.config.parsed(Kind.POLICIES))[1]).thumbnails


async def find(web: Web, uid: str, reception_id: str | None) -> Asked:
    """Return what is asked for: of one instance, or of the one in the middle of a series.

    Raises :class:`NotFoundError`, or :class:`StateConflictError` where pictures are switched off.
    """
    if not await are_on(web):
        raise StateConflictError(OFF, "An administrator can switch them on under Policies.")
    if reception_id is None:
        subject = await web.database.run(subject_of_series, uid)
    else:
        subject = await web.database.run(subject_of_instance, uid, reception_id)
    return Asked(subject, f'"{subject.instance.digest[:32]}.{VERSION}"')


async def thumbnail(web: Web, asked: Asked) -> Thumbnail:
    """Return the picture, or why there is none."""
    if asked.subject.is_deleted:
        return Thumbnail(why_not=NoPicture.GONE, reason="the images of the series were deleted")
    return await web.thumbnails.get(asked.subject.instance)


def is_kept(asked: Asked, if_none_match: str | None) -> bool:
    """Return whether the browser has the picture already. What was deleted is not confirmed to it any longer."""
    named = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return asked.etag in named and not asked.subject.is_deleted

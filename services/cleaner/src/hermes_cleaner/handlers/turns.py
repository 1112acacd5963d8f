"""Taking turns: of all cleaners, one does what is due, and says in a record when it is due next."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from hermes_common import subjects
from hermes_common.records import SweepRecord, WatermarkRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import ConflictError

FURTHEST = timedelta(hours=1)
"""A turn of less than this is not put off for longer."""

Record = TypeVar("Record", WatermarkRecord, SweepRecord)


async def take(
    bus: Bus, key: str, model: type[Record], every: timedelta, *, at_once: bool = False
) -> tuple[Record, int] | None:
    """Return the record, moved on to the next turn, with its revision; None if it is not due, or somebody else's turn.

    ``every`` is also how long the others wait for this cleaner to say when the next turn is. A time that is further
    away than any that is ever set was set by a clock that has been set back since: it counts as due.
    """
    loaded, at = await bus.load(subjects.STATE, key, model), now()
    try:
        if loaded is None:
            record = model(next_at=at + every)
            return record, await bus.create(subjects.STATE, key, record)
        record, revision = loaded
        if at < record.next_at <= at + max(every, FURTHEST) and not at_once:
            return None
        record = record.model_copy(update={"next_at": at + every})
        return record, await bus.update(subjects.STATE, key, record, revision)
    except ConflictError:
        return None


async def note(bus: Bus, key: str, model: type[Record], change: Callable[[Record], Record]) -> Record:
    """Change the record, whoever else does; return it."""
    for _ in range(20):
        loaded = await bus.load(subjects.STATE, key, model)
        before, revision = loaded if loaded is not None else (model(next_at=now()), None)
        changed = change(before)
        try:
            if revision is None:
                await bus.create(subjects.STATE, key, changed)
            else:
                await bus.update(subjects.STATE, key, changed, revision)
        except ConflictError:
            continue
        return changed
    raise ConflictError(f"{key}: 20 attempts to change it failed")


def soon(at: datetime | None, span: timedelta) -> bool:
    """Whether something was done within ``span`` before now; a time in the future is none."""
    return at is not None and timedelta(0) <= now() - at < span

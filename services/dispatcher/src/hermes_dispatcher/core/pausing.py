"""Pauses: what the configuration says against what has been said, and what is to be said now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hermes_common.config import Targets
from hermes_common.records import PauseRecord


@dataclass(frozen=True, slots=True)
class Began:
    """A pause is to be said."""

    record: PauseRecord


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a pause is to be said; ``by_itself`` when its time was over."""

    record: PauseRecord
    by_itself: bool


def changes(targets: Targets, said: Mapping[str, PauseRecord], now: datetime) -> list[Began | Ended]:
    """Return what is to be said, ends before beginnings."""
    ended: list[Began | Ended] = []
    began: list[Began | Ended] = []
    present = {target.slug: target for target in targets.targets}
    for slug, record in said.items():
        target = present.get(slug)
        pause = None if target is None else target.pause
        is_same = pause is not None and pause.since == record.since
        until = pause.until if pause is not None and is_same else record.until
        is_over = until is not None and until <= now
        if is_over or not is_same:
            ended.append(Ended(record, by_itself=is_over))
    for slug, target in present.items():
        pause = target.pause
        known = said.get(slug)
        if pause is None or (pause.until is not None and pause.until <= now):
            continue
        if known is None or known.since != pause.since:
            began.append(
                Began(
                    PauseRecord(
                        target=slug, since=pause.since, actor=pause.actor, reason=pause.reason, until=pause.until
                    )
                )
            )
    return ended + began

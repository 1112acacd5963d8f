"""The first steps of a new installation: which are done follows from what there is: they can be left and resumed."""

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """What is to be done, in this order."""

    SOURCE = "source"
    TARGET = "target"
    RULE = "rule"
    SERIES = "series"


@dataclass(frozen=True, slots=True)
class Found:
    """What there is. ``tested`` is whether a target passed its test or took a delivery."""

    sources: int
    targets: int
    tested: bool
    rules: int
    series: int


def done_steps(found: Found) -> frozenset[Step]:
    """Return the steps that are done."""
    facts = {
        Step.SOURCE: found.sources > 0,
        Step.TARGET: found.targets > 0 and found.tested,
        Step.RULE: found.rules > 0,
        Step.SERIES: found.series > 0,
    }
    return frozenset(step for step, is_done in facts.items() if is_done)


def next_step(done: frozenset[Step]) -> Step | None:
    """Return the first step that is not done, or None."""
    return next((step for step in Step if step not in done), None)

"""Whether a study is complete: nothing comes any more, and what the policies ask for is there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from hermes_common.config import AfterWait, StudyCompletion, StudyCondition
from hermes_common.records import BatchRef, SeriesRecord, StudyRecord
from hermes_common.rules import CompiledRule, Context, RuleError, Verdict, compile_rule

SOONEST = timedelta(seconds=1)
LATEST = timedelta(hours=1)
"""A study that waits is looked at again after this long at the latest, whatever clocks do."""


@dataclass(frozen=True, slots=True)
class Member:
    """A series of a study. ``record`` is None while it has no batch, or once it is deleted."""

    series_uid: str
    record: SeriesRecord | None
    receiving: bool = False
    """Whether instances have come that are in no batch yet."""

    @property
    def batches(self) -> tuple[BatchRef, ...]:
        """The batches that have something to be decided."""
        return () if self.record is None else tuple(batch for batch in self.record.batches if batch.instances)


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing of the study is undecided."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It is not complete; look again at ``until``. The reason is for people."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """It is not complete, and waits for a person or for what is missing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Complete:
    """It is complete. The reason is for people."""

    reason: str


Judgement = Nothing | Wait | Hold | Complete


def judge(
    record: StudyRecord,
    members: Sequence[Member],
    missing: Sequence[str],
    instances: int,
    policy: StudyCompletion,
    now: datetime,
) -> Judgement:
    """Return whether a study is complete.

    ``missing``: the conditions of the policy that are not met, in words. ``instances``: distinct SOP instances in its
    batches. An instant in the far future means that a clock was set back: it holds nothing up.
    """
    undecided = [batch for member in members for batch in member.batches if batch.awaits_study]
    if not undecided:
        return Nothing()
    if record.forced is not None:
        return Complete(f"{record.forced.actor} said that it is complete")
    receiving = sum(member.receiving for member in members)
    last = max(batch.received_at or batch.decided_at for batch in undecided)
    quiet_until = last + policy.quiet_period
    all_there = record.expected is not None and instances >= record.expected
    quiet = now >= quiet_until or last > now + LATEST
    if (quiet or all_there) and not receiving and not missing:
        all_of_them = f"all {record.expected} instances are there (NumberOfStudyRelatedInstances)"
        return Complete(f"nothing has come for {_seconds(policy.quiet_period)}" if quiet else all_of_them)
    deadline = record.opened_at + policy.max_wait
    lacks = [*missing, *([f"{receiving} of its series are still being received"] if receiving else [])]
    if now >= deadline:
        return _too_late(policy, lacks)
    if lacks:
        until = min(deadline, now + policy.quiet_period if receiving else deadline)
        return Wait(_soon(until, now), "; ".join(lacks))
    return Wait(_soon(min(quiet_until, deadline), now), f"nothing must come for {_seconds(policy.quiet_period)}")


def may_end(judgement: Judgement, record: StudyRecord, members: Sequence[Member]) -> bool:
    """Return whether a study that was judged without its contents has to be judged with them."""
    if isinstance(judgement, Wait):
        there = sum(batch.instances for member in members for batch in member.batches)
        return record.expected is not None and there >= record.expected
    return not isinstance(judgement, Nothing)


def _too_late(policy: StudyCompletion, lacks: Sequence[str]) -> Hold | Complete:
    waited = f"the maximum wait of {_seconds(policy.max_wait)} has passed"
    if lacks and policy.then is AfterWait.HOLD:
        return Hold(f"{waited}: {'; '.join(lacks)}")
    return Complete(f"{waited}: {'; '.join(lacks)}" if lacks else waited)


def _soon(until: datetime, now: datetime) -> datetime:
    return min(max(until, now + SOONEST), now + LATEST)


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"


def unmet(conditions: Iterable[StudyCondition], study: Context, now: datetime) -> list[str]:
    """Return in words what the conditions that apply to a study ask for and is not there.

    A condition that cannot be evaluated is not met, and says so: then the maximum wait ends it.
    """
    found = []
    for condition in conditions:
        try:
            if not _applies(condition, study, now):
                continue
            if condition.series is not None and len(study.series) < condition.series:
                found.append(f"{condition.name}: {len(study.series)} of {condition.series} series are there")
            for text in condition.required:
                required = _compiled(text, "series")
                if not any(required.evaluate(Context(tags), now) is Verdict.MATCH for tags in study.series):
                    found.append(f"{condition.name}: no series is {text}")
        except RuleError as error:
            found.append(f"{condition.name}: it cannot be evaluated: {error}")
    return found


def _applies(condition: StudyCondition, study: Context, now: datetime) -> bool:
    if not condition.when.strip():
        return True
    return _compiled(condition.when, "study").evaluate(study, now) is Verdict.MATCH


@lru_cache(maxsize=500)
def _compiled(text: str, scope: str) -> CompiledRule:
    return compile_rule(text, scope)

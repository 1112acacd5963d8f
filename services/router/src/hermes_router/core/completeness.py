"""Whether a study is complete: nothing comes any more, and what the policies ask for is there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from hermes_common.config import AfterWait, Rule, RuleState, Scope, StudyCompletion, StudyCondition
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


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a condition asks for and is not there; how long it is waited for, and what is done then."""

    words: str
    max_wait: timedelta
    then: AfterWait


def judge(
    record: StudyRecord,
    members: Sequence[Member],
    missing: Sequence[Lack],
    instances: int,
    policy: StudyCompletion,
    now: datetime,
    performed: int | None = None,
) -> Judgement:
    """Return whether a study is complete.

    ``missing``: what the conditions of policies and rules ask for and is not there. ``instances``: distinct SOP
    instances in its batches. ``performed``: how many its procedure steps have made, if all of them are completed and
    all of it is there (:func:`hermes_router.core.performing.all_of`). An instant in the far future means that a clock
    was set back: it holds nothing up.
    """
    undecided = [batch for member in members for batch in member.batches if batch.awaits_study]
    if not undecided:
        return Nothing()
    if record.forced is not None:
        what = "discarded it" if record.forced.discard else "said that it is complete"
        return Complete(f"{record.forced.actor} {what}")
    receiving = sum(member.receiving for member in members)
    last = max(batch.received_at or batch.decided_at for batch in undecided)
    quiet_until = last + policy.quiet_period
    counted = record.expected is not None and instances >= record.expected
    all_there = counted or performed is not None
    quiet = now >= quiet_until or last > now + LATEST
    if (quiet or all_there) and not receiving and not missing:
        all_of_them = (
            f"all {record.expected} instances are there (NumberOfStudyRelatedInstances)"
            if counted
            else f"MPPS: its procedure steps are completed and all {performed} instances that they name are there"
        )
        return Complete(f"nothing has come for {_seconds(policy.quiet_period)}" if quiet else all_of_them)
    lacks = [*missing, *_still_received(receiving, policy)]
    waited_for = [lack for lack in lacks if now < record.opened_at + lack.max_wait]
    if waited_for:
        until = min(record.opened_at + lack.max_wait for lack in waited_for)
        until = min(until, now + policy.quiet_period) if receiving else until
        return Wait(_soon(until, now), _words(waited_for))
    deadline = record.opened_at + policy.max_wait
    if not (quiet or all_there) and now < deadline:
        until = min(quiet_until, deadline, now + policy.quiet_period)  # our clock may be behind that of the receiver
        return Wait(_soon(until, now), f"nothing must come for {_seconds(policy.quiet_period)}")
    return _too_late(lacks) if lacks else Complete(f"the maximum wait of {_seconds(policy.max_wait)} has passed")


def _still_received(receiving: int, policy: StudyCompletion) -> list[Lack]:
    words = f"{receiving} of its series are still being received"
    return [Lack(words, policy.max_wait, policy.then)] if receiving else []


def may_end(judgement: Judgement, record: StudyRecord, members: Sequence[Member], performed: int | None = None) -> bool:
    """Return whether a study that was judged without its contents has to be judged with them.

    ``performed`` is as in :func:`judge`, by what batches say of their size: it may be too much, and never too little.
    """
    if isinstance(judgement, Wait):
        there = sum(at_most_there(members).values())
        return performed is not None or (record.expected is not None and there >= record.expected)
    return not isinstance(judgement, Nothing)


def at_most_there(members: Iterable[Member]) -> dict[str, int]:
    """Return how many instances there are of each series at most: what came twice, with other bytes, counts twice."""
    return {member.series_uid: sum(batch.instances for batch in member.batches) for member in members}


def _too_late(lacks: Sequence[Lack]) -> Hold | Complete:
    """Return what becomes of a study that has waited as long as it may; if anything asks for a person, it is held."""
    holding = [lack for lack in lacks if lack.then is AfterWait.HOLD]
    telling = holding or lacks
    longest = max(lack.max_wait for lack in telling)
    reason = f"the maximum wait of {_seconds(longest)} has passed: {_words(telling)}"
    return Hold(reason) if holding else Complete(reason)


def _words(lacks: Sequence[Lack]) -> str:
    return "; ".join(lack.words for lack in lacks)


def _soon(until: datetime, now: datetime) -> datetime:
    return min(max(until, now + SOONEST), now + LATEST)


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"


def conditions_of(policy: StudyCompletion, rules: Iterable[Rule]) -> list[StudyCondition]:
    """Return the conditions of the policies, and those of the active rules about studies that need something."""
    return [
        *policy.conditions,
        *(
            StudyCondition(name=f"rule {rule.slug}", when=rule.expression, **dict(rule.needs))
            for rule in rules
            if rule.needs is not None and rule.state is RuleState.ACTIVE and rule.scope is Scope.STUDY
        ),
    ]


def unmet(conditions: Iterable[StudyCondition], policy: StudyCompletion, study: Context, now: datetime) -> list[Lack]:
    """Return what the conditions that apply to a study ask for and is not there.

    A condition that cannot be evaluated is not met, and says so: then the maximum wait ends it.
    """
    return [
        Lack(
            f"{condition.name}: {words}",
            policy.max_wait if condition.max_wait is None else condition.max_wait,
            policy.then if condition.then is None else condition.then,
        )
        for condition in conditions
        for words in _lacking(condition, study, now)
    ]


def _lacking(condition: StudyCondition, study: Context, now: datetime) -> list[str]:
    """Return in words what one condition asks for and is not there."""
    found = []
    try:
        if not _applies(condition, study, now):
            return []
        if condition.series is not None and len(study.series) < condition.series:
            found.append(f"{len(study.series)} of {condition.series} series are there")
        for text in condition.required:
            required = _compiled(text, "series")
            if not any(required.evaluate(Context(tags), now) is Verdict.MATCH for tags in study.series):
                found.append(f"no series is {text}")
    except RuleError as error:
        found.append(f"it cannot be evaluated: {error}")
    return found


def _applies(condition: StudyCondition, study: Context, now: datetime) -> bool:
    if not condition.when.strip():
        return True
    return _compiled(condition.when, "study").evaluate(study, now) is Verdict.MATCH


@lru_cache(maxsize=500)
def _compiled(text: str, scope: str) -> CompiledRule:
    return compile_rule(text, scope)

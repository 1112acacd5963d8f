"""A study may be complete: the rules about it are applied to each of its series, once.

What is undecided is written in the records of its series (``awaits_study``), so whoever looks finds it. The record of
the study, changed by compare-and-set, is the moment of decision (ADR-0003): it names an object that says what follows
for each series, and that is done until it has been done for all of them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from prometheus_client import Counter
from pydantic import ValidationError

from hermes_common import subjects
from hermes_common.commands import SeriesCommand, StudyCommand
from hermes_common.events import MppsSet, StudyCompleted, StudyHeld
from hermes_common.ids import derived_id, token_uid
from hermes_common.records import PendingCommand, SeriesState, StudyRecord, StudyState
from hermes_common.rules import Context
from hermes_common.rules.facts import study_fields
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome, Park, RetryAfter
from hermes_common.runtime.crashpoints import crash_point
from hermes_router.adapters.documents import Documents
from hermes_router.core import completeness, lifecycle, performing, planning, rounds, studies
from hermes_router.core.batching import rule_fields
from hermes_router.handlers.deciding import Decider, report_failures
from hermes_router.handlers.joining import Studies
from hermes_router.handlers.performing import Steps
from hermes_router.handlers.together import together

log = logging.getLogger(__name__)

STUDIES = Counter("hermes_studies_total", "Times that a study was decided", ["outcome", "kind"])

CONSUMER = Consumer(
    stream=subjects.TIMERS,
    durable="router-studies",
    subjects=("hermes.due.study.*",),
    max_ack_pending=64,
)

COMMANDS = Consumer(
    stream=subjects.WORK,
    durable="router-study-commands",
    subjects=(subjects.STUDY_COMMANDS,),
    max_ack_pending=64,
)

AT_A_TIME = 8
"""Series of one study that are read or changed at a time."""

MOST_WAITS = 60
"""How often a command waits (5 s each) for a study of which nothing is there yet."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What rules see of a study."""

    series: Sequence[rounds.Series]
    study: Context
    there: Mapping[str, int]
    """Distinct SOP instances of each series."""

    @property
    def instances(self) -> int:
        """How many there are in all."""
        return sum(self.there.values())


class StudyDecider:
    """Handles ``hermes.due.study`` and :class:`StudyCommand`."""

    def __init__(
        self,
        bus: Bus,
        config: ConfigView,
        documents: Documents,
        decider: Decider,
        records: Studies,
        steps: Steps,
    ) -> None:
        self._bus = bus
        self._config = config
        self._documents = documents
        self._decider = decider
        self._records = records
        self._steps = steps
        steps.on_completed(self.performed)

    async def performed(self, step: MppsSet) -> None:
        """Have the studies of a completed step looked at."""
        for study_uid in step.studies:
            loaded = await self._records.load(study_uid)
            if loaded is not None and loaded[0].state is not StudyState.COMPLETE:
                await self._records.look_soon(study_uid)

    async def handle(self, message: Message) -> Outcome:
        """Look at a study whose timer is due."""
        await self._config.loaded.wait()
        await self.look(token_uid(message.subject.rsplit(".", 1)[-1]))
        return Done()

    async def look(self, study_uid: str) -> None:
        """Judge a study now, and do what follows."""
        loaded = await self._records.load(study_uid)
        if loaded is None:
            return
        record, revision = loaded
        if record.pending is not None:
            record, revision = await self._say(record, revision, record.pending)
        members = await self._members(record)
        policy = self._config.policies.completion.study
        judgement, contents = completeness.judge(record, members, [], 0, policy, now()), None
        steps = await self._steps.of_study(study_uid)
        at_most = performing.all_of(steps, completeness.at_most_there(members))
        if completeness.may_end(judgement, record, members, at_most):  # only then is it worth reading everything
            contents = await self._contents(members)
            conditions = completeness.conditions_of(policy, self._config.rules[1].rules)
            missing = completeness.unmet(conditions, policy, contents.study, now())
            performed = performing.all_of(steps, contents.there)
            judgement = completeness.judge(record, members, missing, contents.instances, policy, now(), performed)
        match judgement:
            case completeness.Nothing():
                if (changed := studies.over(record, now())) is not record:
                    await self._records.store(changed, revision)
            case completeness.Wait(until, reason):
                changed = studies.waiting(record, StudyState.OPEN, reason, until, now())
                if changed is not record:
                    await self._records.store(changed, revision)
                await self._records.look_at(study_uid, until)
            case completeness.Hold(reason):
                changed = studies.waiting(record, StudyState.HELD, reason, None, now())
                if changed is not record:
                    await self._records.store(changed, revision)
                await self._held(changed)
            case completeness.Complete(reason):
                contents = contents or await self._contents(members)
                await self._decide(record, revision, contents, reason)
            case never:
                assert_never(never)

    async def command(self, message: Message) -> Outcome:
        """Carry out what a person asks for with a study, once."""
        try:
            command = StudyCommand.model_validate_json(message.data)
        except ValidationError as error:
            return Park(f"not a command: {error.errors()[0]['msg']}")
        await self._config.loaded.wait()
        loaded = await self._records.load(command.study_uid)
        if loaded is None:
            if message.attempt < MOST_WAITS:
                return RetryAfter(timedelta(seconds=5), "nothing of the study is there yet")
            log.warning("command %s: study %s is not there", command.action, command.study_uid)
            return Done()
        record, revision = loaded
        match command.action:
            case "complete" | "discard":
                if command.command_id not in record.commands:
                    is_discarded = command.action == "discard"
                    wish = studies.forced(record, command.command_id, command.actor, now(), discard=is_discarded)
                    await self._records.store(wish, revision)
                await self.look(command.study_uid)
            case "route":
                await together(partial(self._route, command), record.series, AT_A_TIME)
            case _:
                assert_never(command.action)
        return Done()

    # -- what there is

    async def _members(self, record: StudyRecord) -> list[completeness.Member]:
        async def member(series_uid: str) -> completeness.Member:
            loaded = await self._decider.load(series_uid)
            newest = await self._bus.last_sequence(subjects.EVENTS, subjects.instances_of(series_uid))
            found = None if loaded is None else loaded[0]
            receiving = newest > (0 if found is None else found.through_seq)
            if found is not None and found.study_uid != record.study_uid:
                return completeness.Member(series_uid, None)
            open_ = found is not None and found.state is SeriesState.OPEN
            return completeness.Member(series_uid, found if open_ else None, receiving)

        return await together(member, record.series, AT_A_TIME)

    async def _contents(self, members: Sequence[completeness.Member]) -> Contents:
        """Return what rules see of the series that have a batch, and what was decided on each batch."""
        there = [member for member in members if member.batches]
        read = await together(self._read, there, AT_A_TIME)
        fields_of = [series.fields for series, _, _ in read]
        counts = {series.member.series_uid: count for series, count, _ in read}
        latest = max(read, key=lambda each: each[2])[0].fields if read else {}
        study = Context(study_fields(fields_of, sum(counts.values()), latest), fields_of)
        return Contents([series for series, _, _ in read], study, counts)

    async def _read(self, member: completeness.Member) -> tuple[rounds.Series, int, datetime]:
        """Return a series, how many distinct instances it has, and when the last of them came."""
        manifests = await self._documents.manifests(member.batches)
        before = {batch.batch_id: await self._documents.decisions_on(batch) for batch in member.batches}
        fields = rule_fields(manifests, manifests[-1].last_received_at.astimezone())
        instances = {item.sop_instance_uid for manifest in manifests for item in manifest.instances}
        last = max(manifest.last_received_at for manifest in manifests)
        return rounds.Series(member, fields, before), len(instances), last

    # -- the decision, and what follows

    async def _decide(self, record: StudyRecord, revision: int, contents: Contents, reason: str) -> None:
        rules_revision, document, rules = self._decider.rules.current()
        completion = self._config.policies.completion
        moment = rounds.Moment(new_id(), rules_revision, document, rules, self._config.targets, now())
        case = rounds.Case(
            record=record,
            series=contents.series,
            study=contents.study,
            instances=contents.instances,
            policy=completion.study,
            late=completion.late,
            previous=await self._documents.round(record.decision_key) if record.decision_key else None,
            reason=reason,
        )
        found = rounds.decide_study(case, moment)
        if found.kind == "rules":
            report_failures({rule.slug: rule.reason for rule in found.rules if rule.status == "failed"}, found.revision)
        key = await self._documents.write_round(found)
        crash_point("router.study-written")
        pending = PendingCommand(command_id=found.decision_id, decision_key=key)
        changed = studies.decided(record, found.round, pending, moment.at)
        revision = await self._records.store(changed, revision)
        crash_point("router.study-decided")
        STUDIES.labels(found.outcome, found.kind).inc()
        log.info("study %s: %d series, decided as %s: %s", record.study_uid, len(found.series), found.outcome, reason)
        await self._say(changed, revision, pending)

    async def _say(self, record: StudyRecord, revision: int, pending: PendingCommand) -> tuple[StudyRecord, int]:
        """Apply a decision to every series, and say that the study is complete; again, as often as needed."""
        found = await self._documents.round(pending.decision_key)
        await together(partial(self._apply, found), found.series, AT_A_TIME)
        event = StudyCompleted(
            study_uid=found.study_uid,
            round=found.round,
            reason=found.reason,
            series=len(found.series),
            opened_at=found.opened_at,
            outcome=found.outcome,
            kind=found.kind,
            revision=found.revision,
            rules=planning.rules_for_event(found.rules),
            targets=[asked.target for asked in found.asked],
            batches=sum(len(series.batches) for series in found.series),
            instances=found.instances,
            routed=found.routed,
            quiet_period=found.quiet_period,
            problems=found.problems,
            held=found.held,
            actor=found.actor,
            key=pending.decision_key,
        )
        await self._bus.publish(event, derived_id("study", found.decision_id), found.decided_at)
        crash_point("router.study-said")
        record = studies.said(record, now())
        return record, await self._records.store(record, revision)

    async def _apply(self, found: rounds.StudyRound, series: rounds.SeriesRound) -> None:
        """Put a decision into the record of a series, once, and say it."""
        loaded = await self._decider.load(series.series_uid)
        if loaded is None or loaded[0].state is not SeriesState.OPEN:
            return
        record, revision = loaded
        present = {batch.batch_id for batch in record.batches}
        decisions = {each.batch_id: each for each in series.decisions if each.batch_id in present}
        undecided = any(batch.awaits_study for batch in record.batches if batch.batch_id in series.batches)
        if found.decision_id in record.commands or not (decisions or undecided):
            return
        if decisions:
            await self._documents.write_decisions(series.series_uid, found.decision_id, list(decisions.values()))
        changed = lifecycle.with_study(record, found.decision_id, series.batches, decisions, now())
        revision = await self._decider.store(changed, revision)
        crash_point("router.study-applied")
        await self._decider.say_pending(changed, revision)

    async def _held(self, record: StudyRecord) -> None:
        event = StudyHeld(
            study_uid=record.study_uid,
            round=record.round + 1,
            reason=record.waiting,
            series=len(record.series),
            opened_at=record.opened_at,
        )
        held_id = derived_id("study-held", record.study_uid, record.opened_at.isoformat(), record.waiting)
        await self._bus.publish(event, held_id)

    async def _route(self, command: StudyCommand, series_uid: str) -> None:
        """Ask for one series what a person asked for the study."""
        of_series = SeriesCommand(
            command_id=derived_id("route", command.command_id, series_uid),
            actor=command.actor,
            reason=command.reason,
            series_uid=series_uid,
            action="route",
            targets=command.targets,
        )
        await self._bus.enqueue(subjects.SERIES_COMMANDS, of_series, of_series.command_id)

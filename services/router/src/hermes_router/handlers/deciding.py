"""A series has been quiet: what came since the last time becomes a batch, and the rules say where it goes.

The live record of the series, changed by compare-and-set, is the moment of decision. Before it, everything can be
done again with nothing to undo; after it, everything follows from the record and is said until it has been said.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

from prometheus_client import Counter

from hermes_common import subjects
from hermes_common.config import Late, RuleSet
from hermes_common.durations import format_duration
from hermes_common.events import Decision, InstanceStored, decode
from hermes_common.ids import token_uid
from hermes_common.keys import decision_key
from hermes_common.manifest import Manifest
from hermes_common.records import BatchRef, SeriesRecord, SeriesState
from hermes_common.rules import CompiledRuleSet, Context, Status, decide, decide_series
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome, RetryAfter
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.tracing import Attributes, digest, span, traceparent
from hermes_router.adapters.documents import Documents
from hermes_router.core import lifecycle, planning
from hermes_router.core.batching import Reception, next_batch, rule_fields
from hermes_router.core.completeness import SOONEST
from hermes_router.core.quiet import Waited, distinct_instances, expected_of_study, quiet_for, read_note
from hermes_router.core.studies import MOST_SERIES
from hermes_router.handlers.joining import Studies
from hermes_router.handlers.saying import Speaker

log = logging.getLogger(__name__)

DECISIONS = Counter("hermes_decisions_total", "Batches decided", ["outcome", "kind"])
RULE_FAILURES = Counter("hermes_rule_failures_total", "Evaluations that failed, of rules that act or run dry", ["rule"])

CONSUMER = Consumer(
    stream=subjects.TIMERS,
    durable="router-decider",
    subjects=("hermes.due.series.*",),
    max_ack_pending=256,
)


def report_failures(reasons: Mapping[str, str], revision: int) -> None:
    """Count and log rules that could not be evaluated; ``reasons`` by slug."""
    for slug, reason in reasons.items():
        RULE_FAILURES.labels(slug).inc()
        log.error("rule %s of revision %d could not be evaluated: %s", slug, revision, reason)


TOO_MANY = f"the study has more than {MOST_SERIES} series: rules about studies are not applied to this one"


class Rules:
    """The rules of the present revision, of both scopes, compiled once."""

    def __init__(self, config: ConfigView) -> None:
        self._config = config
        self._compiled: tuple[int, RuleSet, CompiledRuleSet] | None = None

    def current(self) -> tuple[int, RuleSet, CompiledRuleSet]:
        """Return the revision and its rules, as they are and compiled."""
        revision, rules = self._config.rules
        if self._compiled is None or self._compiled[0] != revision:
            self._compiled = (revision, rules, CompiledRuleSet.compile_all(rules.rules))
        return self._compiled


class Decider:
    """Handles ``hermes.due.series``, and what commands need of it."""

    def __init__(self, bus: Bus, config: ConfigView, documents: Documents, studies: Studies) -> None:
        self._bus = bus
        self._config = config
        self._documents = documents
        self._studies = studies
        self.rules = Rules(config)
        self._speaker = Speaker(bus, config)

    async def handle(self, message: Message) -> Outcome:
        """Decide what is undecided of one series."""
        await self._config.loaded.wait()
        series_uid = token_uid(message.subject.rsplit(".", 1)[-1])
        loaded = await self.load(series_uid)
        if loaded is not None and loaded[0].state is SeriesState.DELETING:
            return RetryAfter(timedelta(seconds=5), "the series is being deleted")
        after = 0 if loaded is None else loaded[0].through_seq
        receptions: list[Reception] = []
        contexts: dict[str | None, None] = {}
        async for stored in self._bus.read(subjects.EVENTS, subjects.instances_of(series_uid), after):
            envelope = decode(stored.headers, stored.data)
            if isinstance(envelope.event, InstanceStored):
                receptions.append(Reception(stored.sequence, envelope.event))
                contexts[envelope.traceparent] = None
        newest = await self._bus.last_sequence(subjects.EVENTS, subjects.instances_of(series_uid))
        if newest > max((each.sequence for each in receptions), default=after):
            return RetryAfter(timedelta(seconds=1), "the stream has more than could be read")
        if receptions:
            first, *others = contexts  # one for each association that the instances came over
            attributes: Attributes = {"series": digest(series_uid), "instances": len(receptions)}
            with span("series completed", attributes, first, others):
                await self._take(series_uid, loaded, receptions, read_note(message.data))
        return Done()

    async def load(self, series_uid: str) -> tuple[SeriesRecord, int] | None:
        """Return the record of a series with its revision, with everything said that follows from it."""
        loaded = await self._bus.load(subjects.STATE, subjects.series_state(series_uid), SeriesRecord)
        if loaded is None or loaded[0].state is not SeriesState.OPEN:
            return loaded
        record, revision = loaded
        for batch in record.batches:
            if not batch.said:
                record, revision = await self._say(record, revision, batch)
        if record.pending is not None:
            record, revision = await self.say_pending(record, revision)
        return record, revision

    async def store(self, record: SeriesRecord, revision: int | None) -> int:
        """Write the record of a series over the given revision (None: there is none yet); return the new one."""
        key = subjects.series_state(record.series_uid)
        if revision is None:
            return await self._bus.create(subjects.STATE, key, record)
        return await self._bus.update(subjects.STATE, key, record, revision)

    def evaluate(self, batch_id: str, manifests: list[Manifest], key: str, *, in_study: bool) -> Decision:
        """Return what the rules about series of the present revision say of a series; ``deferred`` if its study may."""
        revision, document, rules = self.rules.current()
        at = now()
        context = Context(rule_fields(manifests, manifests[-1].last_received_at.astimezone()))
        said = decide_series(rules, context, at) if in_study else decide(rules.about("series"), context, at)
        failed = (result for result in said.results if result.status is Status.FAILED)
        report_failures({result.slug: result.reason for result in failed}, revision)
        decision = planning.by_rules(said, batch_id, revision, document, self._config.targets, at, key)
        if in_study or not rules.about("study").entries:
            return decision
        return decision.model_copy(update={"problems": [*decision.problems, TOO_MANY]})

    async def say_pending(self, record: SeriesRecord, revision: int) -> tuple[SeriesRecord, int]:
        """Publish what follows from the command that last changed the record."""
        if record.pending is None:
            return record, revision
        command = record.pending
        batches = {batch.batch_id: batch for batch in record.batches}
        for decision in await self._documents.decisions(command.decision_key):
            batch = batches[decision.batch_id]
            [manifest] = await self._documents.manifests((batch,))
            await self._speaker.decided(manifest, batch, decision, command.command_id)
        record = lifecycle.command_done(record, now())
        return record, await self.store(record, revision)

    # -- one batch

    async def _take(
        self, series_uid: str, loaded: tuple[SeriesRecord, int] | None, receptions: list[Reception], waited: Waited
    ) -> None:
        record, revision = loaded if loaded is not None else (None, None)
        batches = record.batches if record is not None and record.state is SeriesState.OPEN else ()
        earlier = await self._documents.manifests(batches)
        if await self._is_too_early(series_uid, receptions, earlier, waited):
            return
        manifest = next_batch(new_id(), len(batches) + 1, receptions, earlier)
        if manifest is None:
            if record is not None:
                through = max(reception.sequence for reception in receptions)
                await self.store(lifecycle.skipped(record, through, now()), revision)
            return
        decision, in_study = None, False
        if manifest.instances:
            begun = record is not None and record.state is SeriesState.OPEN
            study_uid = record.study_uid if record is not None and begun else manifest.study_uid
            in_study = await self._studies.join(study_uid, series_uid)
            decision = await self._decide(manifest, batches, earlier, in_study=in_study)
            await self._documents.write_decisions(series_uid, manifest.batch_id, [decision])
            crash_point("router.decision-written")
        await self._documents.write_manifest(manifest)
        crash_point("router.manifest-written")
        waited = self._waited(manifest, waited)
        changed = lifecycle.with_batch(record, manifest, decision, now(), waited, in_study=in_study)
        revision = await self.store(changed, revision)
        crash_point("router.decided")
        if decision is not None:
            DECISIONS.labels(decision.outcome, decision.kind).inc()
            log.info(
                "series %s: batch %d of %d instances is %s",
                series_uid,
                manifest.batch,
                len(manifest.instances),
                decision.outcome,
            )
        await self._publish(changed, revision, changed.batches[-1], manifest, earlier, decision)

    async def _is_too_early(
        self, series_uid: str, receptions: list[Reception], earlier: list[Manifest], waited: Waited
    ) -> bool:
        """Whether a wait was cut short although not all instances are there; then the rest of it is waited for."""
        if waited.expected is None:
            return False
        before = (item.sop_instance_uid for manifest in earlier for item in manifest.instances)
        there = distinct_instances([reception.event for reception in receptions], before)
        if there >= waited.expected:
            return False
        whole = waited.model_copy(update={"shortened_by": "", "expected": None})
        period = whole.quiet_period or self._config.policies.completion.quiet_period
        due = max(max(each.event.received_at for each in receptions) + period, now() + SOONEST)
        note = {"quiet_period": format_duration(period), "quiet_for": whole.quiet_for}
        due = min(due, now() + period)  # a clock may have been set back
        await self._bus.arm_after(subjects.series_timer(series_uid), subjects.series_due(series_uid), due, note)
        return True

    def _waited(self, manifest: Manifest, waited: Waited) -> Waited:
        """Return how long the series had to be quiet; by the present policies if its timer does not say."""
        if waited.quiet_period is not None or not manifest.senders:
            return waited
        modalities = manifest.tags.get("Modality", ())
        sources = self._config.sources
        quiet = quiet_for(self._config.policies.completion, sources, manifest.senders[-1], modalities)
        return waited.model_copy(update={"quiet_period": quiet.period, "quiet_for": quiet.used})

    async def _decide(
        self, manifest: Manifest, batches: tuple[BatchRef, ...], earlier: list[Manifest], *, in_study: bool
    ) -> Decision:
        key = decision_key(manifest.series_uid, manifest.batch_id)
        previous = next((batch for batch in reversed(batches) if batch.outcome in ("routed", "discarded")), None)
        decisions = [] if previous is None else await self._documents.decisions_on(previous)
        if decisions and self._config.policies.completion.late is Late.AS_BEFORE:
            return planning.like_before(decisions, manifest.batch_id, now(), key)
        attributes: Attributes = {"batch": manifest.batch_id, "revision": self.rules.current()[0]}
        with span("routing decision", attributes, traceparent.get()):
            said = self.evaluate(manifest.batch_id, [*earlier, manifest], key, in_study=in_study)
        return planning.with_those_by_hand(said, decisions)

    async def _say(self, record: SeriesRecord, revision: int, batch: BatchRef) -> tuple[SeriesRecord, int]:
        position = record.batches.index(batch)
        *earlier, manifest = await self._documents.manifests(record.batches[: position + 1])
        decision = (await self._documents.decisions(batch.decision_key))[0] if batch.decision_key else None
        return await self._publish(record, revision, batch, manifest, earlier, decision)

    async def _publish(
        self,
        record: SeriesRecord,
        revision: int,
        batch: BatchRef,
        manifest: Manifest,
        earlier: list[Manifest],
        decision: Decision | None,
    ) -> tuple[SeriesRecord, int]:
        await self._speaker.completed(manifest, batch, earlier)
        crash_point("router.completed-said")
        if decision is not None:
            await self._speaker.decided(manifest, batch, decision)
        if batch.awaits_study:
            await self._studies.batched(record.study_uid, record.series_uid, expected_of_study(manifest.tags))
        crash_point("router.said")
        record = lifecycle.said(record, batch.batch_id, now())
        revision = await self.store(record, revision)
        crash_point("router.over")
        return record, revision

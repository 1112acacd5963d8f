"""What follows from a decision: live records of deliveries, work for the dispatchers, events.

All of it may be done again, any number of times, with the effect of once: records are created only if they do not
exist, and events and work carry derived ids.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from hermes_common import subjects
from hermes_common.commands import DeliveryWork
from hermes_common.events import (
    Decision,
    DeliveryQueued,
    Event,
    PlannedDelivery,
    SeriesCompleted,
    SeriesDeferred,
    SeriesDiscarded,
    SeriesRouted,
    SeriesUnmatched,
)
from hermes_common.ids import derived_id
from hermes_common.manifest import Manifest
from hermes_common.records import BatchRef, DeliveryRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.errors import ConflictError
from hermes_common.runtime.tracing import traceparent
from hermes_router.core.batching import conflicts
from hermes_router.core.planning import for_event


class Speaker:
    """Publishes what a record says has been decided."""

    def __init__(self, bus: Bus, config: ConfigView) -> None:
        self._bus = bus
        self._config = config

    async def completed(self, manifest: Manifest, batch: BatchRef, earlier: Sequence[Manifest]) -> None:
        """Say that a series was quiet and which batch came of it."""
        event = SeriesCompleted(
            series_uid=manifest.series_uid,
            study_uid=manifest.study_uid,
            batch_id=manifest.batch_id,
            batch=manifest.batch,
            manifest_key=batch.manifest_key,
            through_seq=batch.through_seq,
            instances=batch.instances,
            octets=batch.octets,
            duplicates=len(manifest.redundant),
            conflicts=conflicts(manifest, earlier),
            first_received_at=manifest.first_received_at,
            last_received_at=manifest.last_received_at,
            quiet_period=batch.quiet_period
            if batch.quiet_period is not None
            else self._config.policies.completion.quiet_period,
            quiet_for=batch.quiet_for,
            shortened_by=batch.shortened_by,
            senders=manifest.senders,
            tags=manifest.tags,
        )
        await self._bus.publish(event, derived_id("completed", manifest.batch_id), batch.decided_at)

    async def decided(self, manifest: Manifest, batch: BatchRef, decision: Decision, command_id: str = "") -> None:
        """Say a decision, and put its deliveries to work."""
        event_id = derived_id("decided", manifest.batch_id, command_id)
        await self._bus.publish(_decided(manifest, batch, decision), event_id, decision.decided_at)
        crash_point("router.decision-said")
        await asyncio.gather(*(self._queue(manifest, batch, decision, planned) for planned in decision.deliveries))

    async def _queue(self, manifest: Manifest, batch: BatchRef, decision: Decision, planned: PlannedDelivery) -> None:
        at = now()
        record = DeliveryRecord(
            delivery_id=planned.delivery_id,
            series_uid=manifest.series_uid,
            study_uid=manifest.study_uid,
            batch_id=manifest.batch_id,
            target=planned.target,
            manifest_key=batch.manifest_key,
            instances=batch.instances,
            octets=batch.octets,
            priority=planned.priority,
            rules=tuple(planned.rules),
            actor=decision.actor,
            trace=traceparent.get(),
            created_at=at,
            updated_at=at,
        )
        with contextlib.suppress(ConflictError):  # it exists: this was said before
            await self._bus.create(subjects.STATE, subjects.delivery_state(planned.delivery_id), record)
        crash_point("router.delivery-recorded")
        event = DeliveryQueued(
            series_uid=manifest.series_uid,
            study_uid=manifest.study_uid,
            delivery_id=planned.delivery_id,
            batch_id=manifest.batch_id,
            target=planned.target,
            manifest_key=batch.manifest_key,
            instances=batch.instances,
            octets=batch.octets,
            priority=planned.priority,
            rules=planned.rules,
            actor=decision.actor,
        )
        await self._bus.publish(event, derived_id("queued", planned.delivery_id), decision.decided_at)
        crash_point("router.delivery-said")
        work = DeliveryWork(delivery_id=planned.delivery_id)
        await self._bus.enqueue(
            subjects.delivery_work(planned.target, planned.priority.value), work, f"{planned.delivery_id}.0"
        )
        crash_point("router.delivery-queued")


def _decided(manifest: Manifest, batch: BatchRef, decision: Decision) -> Event:
    kinds = {
        "routed": SeriesRouted,
        "unmatched": SeriesUnmatched,
        "discarded": SeriesDiscarded,
        "deferred": SeriesDeferred,
    }
    return kinds[decision.outcome](
        series_uid=manifest.series_uid,
        study_uid=manifest.study_uid,
        batch=batch.batch,
        decision=for_event(decision),
    )

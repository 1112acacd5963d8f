"""Who the instances of a delivery were when they were sent: where they were changed, what its events say."""

import contextlib
from collections.abc import Sequence

import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from hermes_common import subjects
from hermes_common.dicom.commitment import Reference
from hermes_common.events import DeliveryProgressed, decode
from hermes_common.manifest import ManifestInstance
from hermes_common.records import DeliveryRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.targets import AnyTarget

_LIMIT = 5.0
_BATCH = 200
_IDLE = 60.0


async def references(
    bus: Bus, record: DeliveryRecord, target: AnyTarget, instances: Sequence[ManifestInstance]
) -> list[Reference]:
    """Return SOP class and instance of each position, as it was sent; BusUnavailableError if that cannot be read.

    What the target has changed now does not tell what was changed then; records of an earlier release do not tell.
    """
    sent: dict[int, str] = {}
    if record.is_altered or (target.changes is not None and not target.changes.does_nothing):
        sent = await _sent(bus, record)
    return [
        Reference(instance.sop_class_uid, sent.get(position, instance.sop_instance_uid))
        for position, instance in enumerate(instances)
    ]


async def _sent(bus: Bus, record: DeliveryRecord) -> dict[int, str]:
    """Return the SOP instance UIDs that were sent last, by position."""
    found: dict[int, str] = {}
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_TIME,
        opt_start_time=record.created_at,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=_IDLE,
        mem_storage=True,
        num_replicas=1,
    )
    subject = f"{DeliveryProgressed.type()}.{record.target}"
    try:
        reader = await bus.js.pull_subscribe(subject, stream=subjects.EVENTS, config=config)
        try:
            left = int((await reader.consumer_info()).num_pending or 0)
            while left:
                for message in await reader.fetch(min(_BATCH, left), timeout=_LIMIT):
                    left = int(message.metadata.num_pending)
                    event = decode(message.headers or {}, message.data).event
                    if isinstance(event, DeliveryProgressed) and event.delivery_id == record.delivery_id:
                        found |= {
                            outcome.index: (outcome.sent or outcome).sop_instance_uid
                            for outcome in event.outcomes
                            if outcome.result == "delivered"
                        }
        finally:
            with contextlib.suppress(nats.errors.Error):
                await reader.unsubscribe()
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
        raise BusUnavailableError(f"what was sent cannot be read back: {error or type(error).__name__}") from error
    return found

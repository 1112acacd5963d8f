"""Which receptions become the next batch of a series, and which of them are sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hermes_common.events import InstanceStored, Sender, Tags
from hermes_common.manifest import Manifest, ManifestInstance
from hermes_common.rules.facts import MOST_VALUES, merged_tags, received_facts, series_facts


@dataclass(frozen=True, slots=True)
class Reception:
    """One ``instance.stored`` event, with its sequence in the stream."""

    sequence: int
    event: InstanceStored


def next_batch(
    batch_id: str, batch: int, receptions: Sequence[Reception], earlier: Sequence[Manifest]
) -> Manifest | None:
    """Return the manifest of the next batch of a series, or None if every reception is in an earlier one.

    A reception counts once, however often it is announced. An instance with the bytes that it last had is redundant;
    with other bytes it is sent, and the older ones of this batch are superseded.
    """
    accounted = {item.key for manifest in earlier for item in manifest.receptions()}
    fresh: dict[str, Reception] = {}
    for reception in sorted(receptions, key=lambda each: each.sequence):
        if reception.event.key not in accounted:
            fresh.setdefault(reception.event.key, reception)
    if not fresh:
        return None
    current = {item.sop_instance_uid: (item.digest, item.key) for manifest in earlier for item in manifest.instances}
    newest: dict[str, ManifestInstance] = {}
    redundant: list[ManifestInstance] = []
    superseded: list[ManifestInstance] = []
    for reception in fresh.values():
        item = _item(reception.event)
        digest, key = current.get(item.sop_instance_uid, ("", ""))
        if digest == item.digest:
            redundant.append(item.model_copy(update={"same_as": key}))
            continue
        current[item.sop_instance_uid] = (item.digest, item.key)
        older = newest.pop(item.sop_instance_uid, None)
        if older is not None:
            superseded.append(older)
        newest[item.sop_instance_uid] = item
    events = [reception.event for reception in fresh.values()]
    return Manifest(
        batch_id=batch_id,
        batch=batch,
        series_uid=events[-1].series_uid,
        study_uid=events[-1].study_uid,
        instances=list(newest.values()),
        redundant=redundant,
        superseded=superseded,
        through_seq=max(reception.sequence for reception in receptions),
        first_received_at=min(event.received_at for event in events),
        last_received_at=max(event.received_at for event in events),
        senders=_senders(events),
        tags=merged_tags(_by_number(events)),
    )


def conflicts(manifest: Manifest, earlier: Sequence[Manifest]) -> int:
    """Return how many of the instances to send came with other bytes before, in this batch or an earlier one."""
    others = {item.sop_instance_uid for item in manifest.superseded}
    others |= {item.sop_instance_uid for before in earlier for item in before.instances}
    return sum(item.sop_instance_uid in others for item in manifest.instances)


def rule_fields(manifests: Sequence[Manifest], received: datetime) -> Tags:
    """Return what rules see of a series: its tags over all batches, and the facts of docs/rules.md.

    ``received`` is when its last instance came, in the zone whose hours people mean.
    """
    senders = [sender for manifest in manifests for sender in manifest.senders]
    instances = {item.sop_instance_uid: item.octets for manifest in manifests for item in manifest.instances}
    facts = series_facts(
        (sender.calling_aet for sender in senders),
        (sender.called_aet for sender in senders),
        (sender.address for sender in senders),
        len(instances),
        sum(instances.values()),
    )
    return {**merged_tags(manifest.tags for manifest in manifests), **facts, **received_facts(received)}


def _item(event: InstanceStored) -> ManifestInstance:
    return ManifestInstance(
        sop_instance_uid=event.sop_instance_uid,
        sop_class_uid=event.sop_class_uid,
        transfer_syntax_uid=event.transfer_syntax_uid,
        key=event.key,
        digest=event.digest,
        octets=event.octets,
        reception_id=event.reception_id,
    )


def _by_number(events: Sequence[InstanceStored]) -> list[Tags]:
    """Return the tags of the receptions in the order of their instance numbers, those without one last."""

    def number(tags: Tags) -> tuple[bool, float]:
        try:
            return False, float(tags.get("InstanceNumber", [""])[0])
        except (ValueError, IndexError):
            return True, 0.0

    return sorted((event.tags for event in events), key=number)


def _senders(events: Sequence[InstanceStored]) -> list[Sender]:
    seen = {(e.sender.calling_aet, e.sender.called_aet, e.sender.address): e.sender for e in events}
    return list(seen.values())[:MOST_VALUES]

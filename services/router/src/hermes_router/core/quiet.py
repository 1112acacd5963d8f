"""How long a series has to be quiet, and what is known of how much of it is to come."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_common.config import SHORTEST_QUIET, Completion, Sources
from hermes_common.durations import Duration
from hermes_common.events import InstanceStored, Sender, Tags

MPPS = "MPPS"
"""Who names a number of instances where a performed procedure step does, that is completed."""

MOST_EXPECTED = 1_000_000
"""A larger number of instances is taken as a mistake of the sender."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """A quiet period, and which entry of the policies it is from; empty for the general one."""

    period: timedelta
    used: str = ""


class Waited(BaseModel):
    """What a timer was armed with. Every field is optional: a timer of an earlier release says nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    quiet_period: Duration | None = None
    quiet_for: str = ""
    shortened_by: str = ""
    """Why it was armed for less than the quiet period."""
    expected: int | None = None
    """How many instances have to be there for that to hold."""


def read_note(body: bytes) -> Waited:
    """Return what a timer was armed with."""
    try:
        return Waited.model_validate_json(body)
    except ValidationError:
        return Waited()


def quiet_for(completion: Completion, sources: Sources, sender: Sender, modalities: Iterable[str]) -> Quiet:
    """Return the quiet period of the first entry that fits, or the general one."""
    source = sources.find(sender.calling_aet, sender.called_aet, sender.address)
    slug = None if source is None else source.slug
    known = {modality.strip() for modality in modalities}
    for entry in completion.quiet_periods:
        if entry.source is not None and entry.source != slug:
            continue
        if entry.called_aet is not None and entry.called_aet.strip() != sender.called_aet.strip():
            continue
        if entry.modality is not None and entry.modality not in known:
            continue
        used = [f"source {entry.source}"] if entry.source is not None else []
        used += [f"called AE title {entry.called_aet.strip()}"] if entry.called_aet is not None else []
        used += [f"modality {entry.modality}"] if entry.modality is not None else []
        return Quiet(entry.quiet_period, ", ".join(used))
    return Quiet(completion.quiet_period)


def expected_of_series(tags: Tags) -> tuple[int, str] | None:
    """Return how many instances the sender says that a series has, and in which attribute; None if it does not say.

    ImagesInAcquisition (0020,1002) counts only where there is no more than one acquisition.
    """
    if (number := _largest(tags, "NumberOfSeriesRelatedInstances")) is not None:
        return number, "NumberOfSeriesRelatedInstances"
    if len(tags.get("AcquisitionNumber", ())) == 1 and (number := _largest(tags, "ImagesInAcquisition")) is not None:
        return number, "ImagesInAcquisition"
    return None


def shortened(period: timedelta, named_by: str) -> timedelta:
    """Return how long to wait when as many instances are there as an attribute names, at least a second.

    A series may have another acquisition to come, so its number of images shortens the wait by half only. Once a
    modality has said that it is done with a step, and what of a series it has made, there is nothing to wait for.
    """
    if named_by == MPPS:
        return timedelta(0)
    return max(SHORTEST_QUIET, period / 2) if named_by == "ImagesInAcquisition" else SHORTEST_QUIET


def why_shortened(expected: int, named_by: str) -> str:
    """Return in words why less is waited for."""
    if named_by == MPPS:
        return f"MPPS: the procedure step is completed and all {expected} instances that it names are there"
    return f"the association is closed and all {expected} instances are there ({named_by})"


def expected_of_study(tags: Tags) -> int | None:
    """Return how many instances the sender says that a study has (0020,1208)."""
    return _largest(tags, "NumberOfStudyRelatedInstances")


def distinct_instances(receptions: Sequence[InstanceStored], earlier: Iterable[str]) -> int:
    """Return how many SOP instances there are among receptions and those of earlier batches."""
    return len({event.sop_instance_uid for event in receptions} | set(earlier))


def _largest(tags: Mapping[str, Sequence[str]], name: str) -> int | None:
    numbers = [int(text) for value in tags.get(name, ()) if (text := value.strip()).isascii() and text.isdigit()]
    fit = [number for number in numbers if 0 < number <= MOST_EXPECTED]
    return max(fit) if fit else None

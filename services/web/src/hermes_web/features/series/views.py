"""Series as they are shown."""

from datetime import datetime
from typing import Any

from hermes_common.events import Decision
from hermes_web.features.deliveries.views import AttemptView, DeliveryItem
from hermes_web.features.paging import View


class SeriesItem(View):
    """One row of the list."""

    series_uid: str
    study_uid: str
    state: str
    instances: int
    octets: int
    duplicates: int
    conflicts: int
    batches: int
    calling_aet: str
    called_aet: str
    address: str
    modality: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_description: str
    series_description: str
    rules_revision: int | None = None
    first_received_at: datetime
    last_received_at: datetime
    completed_at: datetime | None = None
    decided_at: datetime | None = None
    ended_at: datetime | None = None
    deleted_at: datetime | None = None


class BatchView(View):
    """One batch."""

    batch_id: str
    batch: int
    instances: int
    octets: int
    duplicates: int
    conflicts: int
    first_received_at: datetime
    last_received_at: datetime
    completed_at: datetime
    quiet_period: str = ""
    quiet_for: str = ""
    shortened_by: str = ""

    @property
    def waited(self) -> str:
        """How long had to be waited, by which entry of the policies, and why it was less, in words."""
        of = f" for {self.quiet_for}" if self.quiet_for else ""
        parts = (f"{self.quiet_period}{of}" if self.quiet_period else "", self.shortened_by)
        return "; ".join(part for part in parts if part)


class SeriesDetail(SeriesItem):
    """Everything about a series but its instances."""

    tags: dict[str, list[str]]
    problems: list[Any]
    batch_list: list[BatchView]
    decisions: list[Decision]
    deliveries: list[DeliveryItem]
    attempts: list[AttemptView]


class InstanceItem(View):
    """One reception of an instance."""

    reception_id: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    digest: str
    octets: int
    duplicate: bool
    warnings: list[Any]
    calling_aet: str
    address: str
    received_at: datetime
    stored_at: datetime


class TimelineEntry(View):
    """Something that happened to a series; ``end`` where it took time."""

    at: datetime
    end: datetime | None = None
    kind: str
    what: str
    detail: str = ""
    state: str = ""
    about: str = ""


class EventItem(View):
    """An event of the bus, as it was recorded."""

    id: str
    seq: int
    type: str
    subject: str
    source: str
    time: datetime
    data: dict[str, Any]

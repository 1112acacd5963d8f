"""Deliveries as they are shown."""

from datetime import datetime

from hermes_web.features.paging import View


class DeliveryItem(View):
    """One row of the list."""

    delivery_id: str
    series_uid: str
    study_uid: str
    batch_id: str
    target: str
    state: str
    priority: str
    rules: list[str]
    instances: int
    octets: int
    delivered: int
    attempt: int
    reason: str
    actor: str
    next_attempt_at: datetime | None = None
    queued_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime


class AttemptView(View):
    """One attempt."""

    delivery_id: str
    attempt: int
    dispatcher: str
    endpoint: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: str
    missing: int | None = None
    reason: str


class OutcomeView(View):
    """The last outcome of one instance at one target."""

    delivery_id: str
    index: int
    sop_instance_uid: str
    result: str
    status: int | None = None
    reason: str
    attempt: int
    at: datetime


class DeliveryDetail(DeliveryItem):
    """A delivery with its attempts and the outcome of its instances; those without one have not been sent yet."""

    attempts: list[AttemptView]
    outcomes: list[OutcomeView]
    outcomes_next: int | None = None
    """``after`` of the next outcomes, or null."""
    unsent: int
    """Instances of which no attempt has said anything."""

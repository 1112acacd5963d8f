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
    commitment: str = ""
    """What came of asking the target to keep it: empty, ``requested``, ``committed`` or ``failed``."""
    commitment_uid: str = ""
    """Transaction UID of the last request."""
    commitment_at: datetime | None = None
    commitment_reason: str = ""
    committed: int = 0
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
    sent_sop_instance_uid: str = ""
    """What was sent instead of what was received; empty if it was not changed on the way."""
    sent_series_uid: str = ""
    sent_study_uid: str = ""
    sent_transfer_syntax_uid: str = ""
    sent_digest: str = ""


class UncommittedView(View):
    """An instance that the target does not keep, with the Failure Reason (0008,1197)."""

    index: int
    sop_instance_uid: str
    code: int
    reason: str


class DeliveryDetail(DeliveryItem):
    """A delivery with its attempts and the outcome of its instances; those without one have not been sent yet."""

    attempts: list[AttemptView]
    outcomes: list[OutcomeView]
    uncommitted: list[UncommittedView] = []
    """The first 500 instances that the target, asked for storage commitment, does not keep."""
    outcomes_next: int | None = None
    """``after`` of the next outcomes, or null."""
    unsent: int
    """Instances of which no attempt has said anything."""

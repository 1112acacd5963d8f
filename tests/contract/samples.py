"""One sample of every event. The golden files were made of them once, and are kept for ever: see test_events.py."""

from datetime import UTC, datetime, timedelta

from hermes_common import events
from hermes_common.config import Action, Kind, Priority, RuleState
from hermes_common.events import Envelope, Event

AT = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
SERIES = {"series_uid": "1.2.826.0.1.3680043.10.1", "study_uid": "1.2.826.0.1.3680043.10"}
SENDER = events.Sender(calling_aet="CT01", called_aet="HERMES", address="10.0.0.7")
ASSOCIATION = {"association_id": "0195d3a0-0000-7000-8000-000000000001", "sender": SENDER}
DELIVERY = {**SERIES, "delivery_id": "5b1f0f3e-0000-5000-8000-000000000001", "batch_id": "b-1", "target": "pacs"}
RECEPTION = "0195d3a0000070008000000000000001"
COMMITMENT = {
    **ASSOCIATION,
    "request_id": "0195d3a0000070008000000000000002",
    "transaction_uid": "1.2.826.0.1.3680043.10.99",
    "instances": 300,
}
STEP = {
    **ASSOCIATION,
    "sop_instance_uid": "1.2.826.0.1.3680043.10.77",
    "study_uid": SERIES["study_uid"],
    "studies": [SERIES["study_uid"]],
    "modality": "CT",
}
USER = {"user": "anna", "actor": "admin", "address": "10.0.0.9", "detail": "role viewer"}
SERVICE = {"service": "router", "instance": "router@host.17", "version": "0.1.0"}

DECISION = events.Decision(
    batch_id="b-1",
    kind="rules",
    outcome="routed",
    revision=4,
    rules=[
        events.RuleOutcome(
            slug="ct-to-pacs",
            name="CT to the PACS",
            state=RuleState.ACTIVE,
            action=Action.ROUTE,
            status="fired",
            verdict="match",
            targets=["pacs"],
            expression='Modality == "CT"',
            clauses=[events.Clause(text='Modality == "CT"', start=0, end=16, outcome="true", seen=["CT"])],
        )
    ],
    deliveries=[
        events.PlannedDelivery(
            delivery_id=DELIVERY["delivery_id"], target="pacs", priority=Priority.NORMAL, rules=["ct-to-pacs"]
        )
    ],
    problems=[],
    decided_at=AT,
    key="manifests/1.2.826.0.1.3680043.10.1/b-1.decision.json",
)

CLOSED = {"instances": 3, "refused": 1, "octets": 1500, "duration": timedelta(seconds=2.5)}
UNFINISHED = {"attempt": 2, "missing": 1, "reason": "connection refused"}

SAMPLES: list[Event] = [
    events.AssociationOpened(**ASSOCIATION, contexts=2),
    events.AssociationClosed(**ASSOCIATION, **CLOSED),
    events.AssociationAborted(**ASSOCIATION, **CLOSED, reason="the connection was lost"),
    events.CommitmentRequested(**COMMITMENT),
    events.CommitmentReported(**COMMITMENT, committed=299, failed=1, where="same association"),
    events.CommitmentFailed(**COMMITMENT, reason="the peer rejected the association", attempts=12),
    events.MppsCreated(**STEP, status="IN PROGRESS"),
    events.MppsSet(
        **STEP,
        status="COMPLETED",
        series=[
            events.PerformedSeries(series_uid="1.2.826.0.1.3680043.10.1", images=300, others=1),
            events.PerformedSeries(series_uid="1.2.826.0.1.3680043.10.3", images=0),
        ],
        change=2,
    ),
    events.AssociationRejected(**ASSOCIATION, reason="no source allows calling AE title 'CT01' from 10.0.0.7"),
    events.InstanceStored(
        reception_id=RECEPTION,
        association_id=ASSOCIATION["association_id"],
        **SERIES,
        sop_instance_uid="1.2.826.0.1.3680043.10.1.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        key=f"1.2.826.0.1.3680043.10.1/1.2.826.0.1.3680043.10.1.1-{'0' * 16}-{RECEPTION}.dcm",
        digest="0" * 64,
        octets=526000,
        received_at=AT,
        sender=SENDER,
        tags={"Modality": ["CT"], "PatientName": ["Müller^Jürgen"], "ContrastBolusAgent": []},
        warnings=["SpecificCharacterSet is unknown"],
    ),
    events.InstanceDownloaded(reception_id=RECEPTION, actor="admin", address="192.0.2.7"),
    events.InstanceResubmitted(
        reception_id=RECEPTION, actor="admin", address="192.0.2.7", stored=False, reason="the UIDs are missing"
    ),
    events.InstanceQuarantined(
        reception_id=RECEPTION,
        association_id=ASSOCIATION["association_id"],
        key=f"quarantine/{RECEPTION}.bin",
        reason="SeriesInstanceUID is missing",
        status=0xC001,
        octets=1000,
        received_at=AT,
        sender=SENDER,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid="not a uid",
    ),
    events.InstanceRefused(
        association_id=ASSOCIATION["association_id"],
        sop_instance_uid="1.2.3",
        status=0xA700,
        reason="the spool is full",
        sender=SENDER,
    ),
    events.SeriesCompleted(
        **SERIES,
        batch_id="b-1",
        batch=1,
        manifest_key="manifests/1.2.826.0.1.3680043.10.1/b-1.json",
        through_seq=4711,
        instances=300,
        octets=157_800_000,
        duplicates=1,
        conflicts=0,
        first_received_at=AT,
        last_received_at=AT + timedelta(seconds=9),
        quiet_period=timedelta(seconds=10),
        senders=[SENDER],
        tags={"Modality": ["CT"]},
    ),
    events.SeriesRouted(**SERIES, batch=1, decision=DECISION),
    events.SeriesUnmatched(
        **SERIES, batch=1, decision=DECISION.model_copy(update={"outcome": "unmatched", "deliveries": []})
    ),
    events.SeriesDeferred(
        **SERIES, batch=1, decision=DECISION.model_copy(update={"outcome": "deferred", "deliveries": []})
    ),
    events.SeriesDiscarded(
        **SERIES, batch=1, decision=DECISION.model_copy(update={"outcome": "discarded", "deliveries": []})
    ),
    events.SeriesRecovered(**SERIES, actor="anna", targets=["pacs"]),
    events.SeriesDeleted(**SERIES, objects=301, octets=157_900_000, reason="the retention has passed"),
    events.StudyCompleted(
        study_uid=SERIES["study_uid"],
        round=1,
        reason="nothing has come for 60 s",
        series=4,
        opened_at=AT,
        outcome="routed",
        kind="rules",
        revision=4,
        rules=DECISION.rules,
        targets=["pacs"],
        batches=4,
        instances=1200,
        quiet_period=timedelta(seconds=60),
        problems=[],
        held=False,
        actor="",
        key="studies/1.2.826.0.1.3680043.10/0195d3a0-0000-7000-8000-000000000002.json",
    ),
    events.StudyHeld(
        study_uid=SERIES["study_uid"],
        round=2,
        reason="the maximum wait of 7200 s has passed: thorax: 1 of 2 series are there",
        series=1,
        opened_at=AT,
    ),
    events.AuditAnchored(sequence=4711, hash="9f" * 32, key_id="a1b2c3d4"),
    events.StorePressed(
        episode="0195d3a0-0000-7000-8000-000000000009",
        since=AT,
        excess=20_000_000_000,
        stored=920_000_000_000,
        free=30_000_000_000,
        reason="the object store is too full by 20.0 GB, and nothing more that is done may be removed",
    ),
    events.StoreCleaned(
        episode="0195d3a0-0000-7000-8000-000000000009",
        series=2,
        octets=1_500_000_000,
        examples=[SERIES["series_uid"]],
        reason="2 series that were done went early (1.5 GB)",
    ),
    events.StoreRelieved(episode="0195d3a0-0000-7000-8000-000000000009", stored=800_000_000_000),
    events.StoreSwept(
        objects=301,
        octets=157_900_000,
        orphans=1,
        orphan_octets=526_000,
        missing=1,
        examples=["1.2.826.0.1.3680043.10.1/x.dcm"],
        actor="admin",
        report_key="sweeps/0195d3a0-0000-7000-8000-000000000010.json",
    ),
    events.DeliveryQueued(
        **DELIVERY,
        manifest_key="manifests/1.2.826.0.1.3680043.10.1/b-1.json",
        instances=300,
        octets=157_800_000,
        priority=Priority.URGENT,
        rules=["ct-to-pacs"],
        actor="",
    ),
    events.DeliveryStarted(**DELIVERY, attempt=1, missing=300, dispatcher="dispatcher@host.18"),
    events.DeliveryProgressed(
        **DELIVERY,
        attempt=1,
        outcomes=[
            events.InstanceOutcome(
                index=0, sop_instance_uid="1.2.826.0.1.3680043.10.1.1", result="delivered", status=0, at=AT
            ),
            events.InstanceOutcome(
                index=1,
                sop_instance_uid="1.2.826.0.1.3680043.10.1.2",
                result="failed",
                status=0xA700,
                reason="out of resources",
                at=AT,
            ),
        ],
    ),
    events.DeliverySucceeded(**DELIVERY, attempt=2, instances=300),
    events.DeliveryRetrying(**DELIVERY, **UNFINISHED, next_attempt_at=AT + timedelta(minutes=1)),
    events.DeliveryWaiting(**DELIVERY, **UNFINISHED),
    events.DeliveryFailed(**DELIVERY, **UNFINISHED),
    events.DeliveryCancelled(**DELIVERY, actor="anna", reason="wrong target"),
    events.DeliveryHeld(**DELIVERY, actor="anna", reason="the patient is to be looked up first"),
    events.DeliveryReleased(**DELIVERY, actor="anna", reason="looked up"),
    events.DeliveryRestarted(**DELIVERY, actor="anna", reason="the PACS is back", scope="all"),
    events.DeliveryDismissed(**DELIVERY, actor="anna", reason="sent by hand"),
    events.TargetDown(target="pacs", outage="o-1", reason="connect to port 104 (TCP): connection refused"),
    events.TargetUp(target="pacs", outage="o-1", down_since=AT - timedelta(minutes=5)),
    events.TargetEndpointDown(
        target="pacs", endpoint="PACS2@pacs2:104", outage="o-2", reason="connect to port 104 (TCP): connection refused"
    ),
    events.TargetEndpointUp(
        target="pacs", endpoint="PACS2@pacs2:104", outage="o-2", down_since=AT - timedelta(minutes=5)
    ),
    events.TargetPaused(target="pacs", actor="anna", reason="maintenance", until=AT + timedelta(hours=1)),
    events.TargetResumed(target="pacs", actor="anna", reason="done", paused_since=AT),
    events.ConfigChanged(
        kind=Kind.POLICIES,
        revision=2,
        author="anna",
        comment="slower scanner",
        before={"completion": {"quiet_period": "10s"}},
        after={"completion": {"quiet_period": "30s"}},
    ),
    events.UserLoggedIn(**USER),
    events.UserLoginFailed(**USER),
    events.UserLoggedOut(**USER),
    events.UserCreated(**USER),
    events.UserChanged(**USER),
    events.UserDisabled(**USER),
    events.ExportMade(
        actor="anna",
        query="modality:MR knee",
        format="csv",
        columns=["series_uid", "SliceThickness"],
        masked=True,
        address="192.0.2.7",
    ),
    events.ServiceStarted(**SERVICE),
    events.ServiceStopped(**SERVICE, reason="SIGTERM"),
    events.ServiceCrashed(**SERVICE, reason="signal SIGKILL", last_lines=["one", "two"]),
    events.CommitmentAnswered(
        transaction_uid="2.25.7",
        delivery_id=DELIVERY["delivery_id"],
        target="pacs",
        committed=["1.2.826.0.1.3680043.10.1.1"],
        failed=[events.NotKept(sop_instance_uid="1.2.826.0.1.3680043.10.1.2", reason=0x0112)],
        where="same association",
    ),
    events.DeliveryCommitmentRequested(**DELIVERY, transaction_uid="2.25.7", instances=2, tries=1),
    events.DeliveryCommitted(**DELIVERY, transaction_uid="2.25.7", instances=2),
    events.DeliveryUncommitted(
        **DELIVERY,
        transaction_uid="2.25.7",
        committed=1,
        refused=1,
        reason="1 of 2 instances are not kept",
        failures=[
            events.Uncommitted(
                index=1, sop_instance_uid="1.2.826.0.1.3680043.10.1.2", code=0x0112, reason="no such object instance"
            )
        ],
    ),
    events.AlertRaised(
        alert_id="a-1", kind="delivery_failed", about="pacs", severity="critical", message="300 instances are missing"
    ),
    events.AlertCleared(alert_id="a-1", kind="delivery_failed", about="pacs", reason="delivered"),
    events.MessageParked(
        consumer="router-decider",
        original_subject="hermes.due.series.1-2",
        stream_sequence=17,
        reason="ValueError: no",
        attempts=8,
    ),
]


def envelope(event: Event) -> Envelope:
    """Return a sample with fixed attributes."""
    return Envelope(
        id="0195d3a0-0000-7000-8000-00000000000f",
        source="sample@host.1",
        time=AT,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        event=event,
    )

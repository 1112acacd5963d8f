"""Rows of every table of the history, as the bookkeeper would write them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hermes_common import ledger

SERIES = "1.2.826.0.1.3680043.2.1125.1"
FAILED = "1.2.826.0.1.3680043.2.1125.2"
UNMATCHED = "1.2.826.0.1.3680043.2.1125.3"
DELIVERY = "0e7a7c5e-5f1b-5d0e-9a65-000000000001"
FAILED_DELIVERY = "0e7a7c5e-5f1b-5d0e-9a65-000000000002"
QUEUED_DELIVERY = "0e7a7c5e-5f1b-5d0e-9a65-000000000003"


def sample_rows(words: str = "", now: datetime | None = None) -> list[tuple[Any, list[dict[str, Any]]]]:
    """Return rows of every table; ``words`` replaces what a sender could have written."""
    at = (now or datetime.now(UTC)) - timedelta(minutes=3)
    sender = {"calling_aet": words or "MR01", "called_aet": words or "HERMES", "address": words or "10.1.2.3"}
    return [
        (
            ledger.series,
            [
                _series(SERIES, "delivered", at, words),
                _series(FAILED, "failed", at, words),
                _series(UNMATCHED, "unmatched", at, words),
            ],
        ),
        (ledger.batches, [_batch(uid, at) for uid in (SERIES, FAILED, UNMATCHED)]),
        (ledger.instances, [_instance(SERIES, n, at, sender, words) for n in range(3)]),
        (ledger.decisions, [_decision(SERIES, at, words), _decision(FAILED, at, words)]),
        (
            ledger.deliveries,
            [
                _delivery(DELIVERY, SERIES, "succeeded", at, words),
                _delivery(FAILED_DELIVERY, FAILED, "failed", at, words),
                _delivery(QUEUED_DELIVERY, FAILED, "queued", at, words, target="archive"),
            ],
        ),
        (ledger.attempts, [_attempt(DELIVERY, "succeeded", at, ""), _attempt(FAILED_DELIVERY, "failed", at, words)]),
        (
            ledger.instance_deliveries,
            [_outcome(DELIVERY, n, at, words) for n in range(3)]
            + [
                {
                    **_outcome(FAILED_DELIVERY, 0, at, words),
                    "result": "failed",
                    "status": 0xA700,
                    "reason": words or "out of resources",
                }
            ],
        ),
        (
            ledger.associations,
            [
                {
                    "association_id": "a1",
                    "state": "closed",
                    **sender,
                    "instances": 3,
                    "refused": 0,
                    "octets": 1_575_000,
                    "reason": words,
                    "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
                    "certificate": words or "CN=ct-1",
                    "identity": words or "ann",
                    "implementation": words or "CT_1 1.2.3",
                    "opened_at": at,
                    "closed_at": at,
                    "last_seq": 1,
                }
            ],
        ),
        (
            ledger.quarantine,
            [
                {
                    "reception_id": "ab" * 16,
                    "association_id": "a1",
                    "key": "quarantine/" + "ab" * 16 + ".bin",
                    "reason": words or "the data set ends in the middle of an element",
                    "status": 0xC000,
                    "octets": 20480,
                    **sender,
                    "sop_class_uid": words,
                    "sop_instance_uid": words or "1.2.3",
                    "received_at": at,
                    "seq": 9,
                }
            ],
        ),
        (
            ledger.audit,
            [
                {
                    "event_id": "e1",
                    "time": at,
                    "actor": words or "admin",
                    "action": "user.logged_in",
                    "about": words or "admin",
                    "address": words or "10.0.0.9",
                    "detail": {"comment": words or "x"},
                }
            ],
        ),
        (
            ledger.services,
            [
                {
                    "instance": "router@node1.42",
                    "service": "router",
                    "version": "0.1.0",
                    "state": "started",
                    "reason": words,
                    "started_at": at,
                    "ended_at": None,
                    "last_seq": 3,
                },
                {
                    "instance": "cleaner@node1.43",
                    "service": "cleaner",
                    "version": "0.1.0",
                    "state": "crashed",
                    "reason": words or "exit code 1",
                    "started_at": at,
                    "ended_at": at,
                    "last_seq": 4,
                },
            ],
        ),
        (
            ledger.alerts,
            [
                {
                    "alert_id": "delivery_failed/pacs",
                    "kind": "delivery_failed",
                    "about": words or "pacs",
                    "severity": "critical",
                    "message": words or "1 delivery to pacs failed",
                    "reason": "",
                    "raised_at": at,
                    "last_seq": 5,
                }
            ],
        ),
    ]


def _series(uid: str, state: str, at: datetime, words: str) -> dict[str, Any]:
    return {
        "series_uid": uid,
        "study_uid": "1.2.826.0.1.3680043.2.1125",
        "state": state,
        "instances": 3,
        "octets": 1_575_000,
        "duplicates": 1,
        "conflicts": 1 if state == "failed" else 0,
        "batches": 1,
        "calling_aet": words or "MR01",
        "called_aet": words or "HERMES",
        "address": words or "10.1.2.3",
        "modality": words or "MR",
        "patient_id": words or "4711",
        "patient_name": words or "DOE^JANE",
        "accession_number": words or "A-2001",
        "study_description": words or "MR brain with contrast",
        "series_description": words or f"t1_mprage {state}",
        "rules_revision": 1,
        "tags": {
            "Modality": [words or "MR"],
            "ImageType": ["ORIGINAL", words or "PRIMARY"],
            "PatientComments": [],
            "PatientName": [words or "DOE^JANE"],
            "StudyDescription": [words or "MR brain with contrast"],
            "SeriesDescription": [words or f"t1_mprage {state}"],
            "StationName": [words or "山田^3T"],
            "SliceThickness": ["1.5"],
        },
        "problems": [words] if words else [],
        "first_received_at": at,
        "last_received_at": at + timedelta(seconds=4),
        "completed_at": at + timedelta(seconds=14),
        "decided_at": at + timedelta(seconds=14),
        "ended_at": at + timedelta(seconds=20) if state == "delivered" else None,
        "last_seq": 1,
    }


def _batch(uid: str, at: datetime) -> dict[str, Any]:
    return {
        "batch_id": f"batch-{uid}",
        "series_uid": uid,
        "batch": 1,
        "manifest_key": "m",
        "instances": 3,
        "octets": 1_575_000,
        "duplicates": 1,
        "conflicts": 0,
        "first_received_at": at,
        "last_received_at": at + timedelta(seconds=4),
        "completed_at": at + timedelta(seconds=14),
    }


def _instance(uid: str, number: int, at: datetime, sender: dict[str, str], words: str) -> dict[str, Any]:
    return {
        "reception_id": f"{number:032x}",
        "series_uid": uid,
        "study_uid": "1.2.826.0.1.3680043.2.1125",
        "sop_instance_uid": f"{uid}.{number}",
        "sop_class_uid": words or "1.2.840.10008.5.1.4.1.1.4",
        "transfer_syntax_uid": words or "1.2.840.10008.1.2.1",
        "key": f"k{number}",
        "digest": "0" * 64,
        "octets": 525_000,
        "association_id": "a1",
        **sender,
        "duplicate": number == 2,
        "warnings": [words or "odd length"] if number == 1 else [],
        "received_at": at + timedelta(seconds=number),
        "stored_at": at + timedelta(seconds=number),
        "seq": number + 1,
    }


def _decision(uid: str, at: datetime, words: str) -> dict[str, Any]:
    clause = {
        "text": 'Modality == "MR"',
        "start": 0,
        "end": 16,
        "outcome": "true",
        "seen": [words or "MR"],
        "reason": words,
    }
    missing = {
        "text": "SliceThickness <= 1.5",
        "start": 21,
        "end": 42,
        "outcome": "unknown",
        "reason": words or "missing",
    }
    rule = {
        "slug": "brain",
        "name": words or "MR brain",
        "state": "active",
        "status": "fired",
        "verdict": "match",
        "targets": ["pacs"],
        "expression": words or 'Modality == "MR"',
        "clauses": [clause],
        "reason": words,
    }
    thin = {
        **rule,
        "slug": "thin",
        "name": words or "Thin slices",
        "status": "unknown",
        "verdict": "unknown",
        "clauses": [missing],
    }
    when = at + timedelta(seconds=14)
    decision = {
        "batch_id": f"batch-{uid}",
        "kind": "rules",
        "outcome": "routed",
        "revision": 1,
        "rules": [rule, thin],
        "deliveries": [
            {"delivery_id": DELIVERY if uid == SERIES else FAILED_DELIVERY, "target": "pacs", "rules": ["brain"]}
        ],
        "problems": [words] if words else [],
        "actor": "",
        "decided_at": when.isoformat(),
    }
    return {
        "event_id": f"decision-{uid}",
        "batch_id": f"batch-{uid}",
        "series_uid": uid,
        "kind": "rules",
        "outcome": "routed",
        "revision": 1,
        "actor": "",
        "decision": decision,
        "decided_at": when,
        "seq": 7,
    }


def _delivery(key: str, uid: str, state: str, at: datetime, words: str, target: str = "pacs") -> dict[str, Any]:
    done = state == "succeeded"
    return {
        "delivery_id": key,
        "series_uid": uid,
        "study_uid": "1.2.826.0.1.3680043.2.1125",
        "batch_id": f"batch-{uid}",
        "target": target,
        "state": state,
        "priority": "normal",
        "rules": ["brain"],
        "instances": 3,
        "octets": 1_575_000,
        "delivered": 3 if done else 0,
        "attempt": 0 if state == "queued" else 1,
        "reason": (words or "the peer answered 0xA700: out of resources") if state == "failed" else "",
        "actor": words,
        "queued_at": at + timedelta(seconds=14),
        "started_at": None if state == "queued" else at + timedelta(seconds=15),
        "ended_at": None if state == "queued" else at + timedelta(seconds=20),
        "updated_at": at + timedelta(seconds=20),
        "last_seq": 8,
    }


def _attempt(key: str, result: str, at: datetime, reason: str) -> dict[str, Any]:
    began = at + timedelta(seconds=15)
    return {
        "delivery_id": key,
        "attempt": 1,
        "dispatcher": "dispatcher@node1.44",
        "started_at": began,
        "ended_at": began + timedelta(seconds=5),
        "result": result,
        "missing": 0 if result == "succeeded" else 3,
        "reason": reason,
    }


def _outcome(key: str, index: int, at: datetime, words: str) -> dict[str, Any]:
    return {
        "delivery_id": key,
        "index": index,
        "sop_instance_uid": f"{SERIES}.{index}",
        "result": "delivered",
        "status": 0,
        "reason": words,
        "attempt": 1,
        "at": at + timedelta(seconds=16),
        "seq": 20 + index,
    }

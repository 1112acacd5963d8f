"""Streams, buckets, subjects and durable consumers of the bus: the one place that spells them.

No patient data, no AE title and no free text becomes part of a subject: only UIDs as tokens, slugs and ids.
"""

import hashlib

from hermes_common.ids import check_slug, uid_token

# Streams
EVENTS = "HERMES"
WORK = "HERMES_WORK"
TIMERS = "HERMES_TIMERS"
PARKED = "HERMES_PARKED"
DOCUMENTS = "HERMES_DOCUMENTS"

# Key-value buckets
STATE = "hermes_state"
CONFIG = "hermes_config"
HELD = "hermes_held"

# Subjects of the streams
EVENTS_ALL = "hermes.v1.>"
WORK_ALL = "hermes.work.>"
TIMERS_ALL = "hermes.timer.>"
DUE_ALL = "hermes.due.>"
PARKED_ALL = "hermes.parked.>"
DOCUMENTS_ALL = "hermes.document.>"

DOCUMENT_PARTS = "hermes.document.*.*.*"
"""Every part of every copy of a document."""

DOCUMENT_HEADS = "hermes.document.*.*.0"
"""The first part of every copy of a document."""

INSTANCE_STORED = "hermes.v1.instance.stored"
ASSOCIATION_CLOSED = "hermes.v1.association.closed"
MPPS_SET = "hermes.v1.mpps.set"

RECORDED = "hermes.recorded"
"""What the history has as of now (:class:`hermes_common.news.Recorded`); in no stream."""

PRIORITIES = ("urgent", "normal", "off_peak")
"""Tokens of the queues of a target, most urgent first."""

SERIES_COMMANDS = "hermes.work.command.series"
STUDY_COMMANDS = "hermes.work.command.study"
DELIVERY_COMMANDS = "hermes.work.command.delivery"


def check_token(priority: str) -> str:
    """Return the token of a priority; ValueError for any other text."""
    if priority not in PRIORITIES:
        raise ValueError(f"{priority!r} is no priority")
    return priority


def event_type(entity: str, verb: str) -> str:
    """Return the permanent name of an event type, which is also the beginning of its subject."""
    return f"hermes.v1.{entity}.{verb}"


def instances_of(series_uid: str) -> str:
    """Return the subject that every stored instance of a series is announced on."""
    return f"{INSTANCE_STORED}.{uid_token(series_uid)}"


def series_timer(series_uid: str) -> str:
    """Return the subject of the schedule that waits for a series to be quiet."""
    return f"hermes.timer.series.{uid_token(series_uid)}"


def series_due(series_uid: str) -> str:
    """Return the subject on which the server says that a series has been quiet."""
    return f"hermes.due.series.{uid_token(series_uid)}"


def study_timer(study_uid: str) -> str:
    """Return the subject of the schedule that waits for a study to be complete."""
    return f"hermes.timer.study.{uid_token(study_uid)}"


def study_due(study_uid: str) -> str:
    """Return the subject on which the server says that a study is to be looked at."""
    return f"hermes.due.study.{uid_token(study_uid)}"


def retention_timer(series_uid: str) -> str:
    """Return the subject of the schedule that waits for the retention of a series to pass."""
    return f"hermes.timer.retention.{uid_token(series_uid)}"


def retention_due(series_uid: str) -> str:
    """Return the subject on which the server says that the retention of a series may have passed."""
    return f"hermes.due.retention.{uid_token(series_uid)}"


def delivery_timer(delivery_id: str) -> str:
    """Return the subject of the schedule that waits for the next attempt of a delivery."""
    return f"hermes.timer.delivery.{delivery_id}"


def delivery_due(delivery_id: str) -> str:
    """Return the subject on which the server says that a delivery may be tried again."""
    return f"hermes.due.delivery.{delivery_id}"


def commitment_timer(delivery_id: str) -> str:
    """Return the subject of the schedule that waits for what a target says about keeping a delivery."""
    return f"hermes.timer.commitment.{delivery_id}"


def commitment_due(delivery_id: str) -> str:
    """Return the subject on which the server says that the storage commitment of a delivery is to be looked at."""
    return f"hermes.due.commitment.{delivery_id}"


def delivery_work(target: str, priority: str = "normal") -> str:
    """Return the subject of the work queue of one target and priority; that of normal work has no token of its own."""
    queue = f"hermes.work.delivery.{check_slug(target)}"
    return queue if priority == "normal" else f"{queue}.{check_token(priority)}"


def target_state(target: str) -> str:
    """Return the key of the record of an outage of a target."""
    return f"target.{check_slug(target)}"


def endpoint_state(target: str, token: str) -> str:
    """Return the key of the record of an outage of one endpoint; ``token`` stands for its address, or is ``*``."""
    return f"endpoint.{check_slug(target)}.{token}"


def target_pause(target: str) -> str:
    """Return the key of the record of a pause that has been said."""
    return f"pause.{check_slug(target)}"


def target_places(target: str) -> str:
    """Return the key of the record of who sends to a target at the moment."""
    return f"places.{check_slug(target)}"


def held_instance(sop_instance_uid: str) -> str:
    """Return the key of the record that says where the newest reception of an instance is stored."""
    return uid_token(sop_instance_uid)


def transaction(transaction_uid: str) -> str:
    """Return the key, in the bucket :data:`HELD`, of the record of a storage commitment that was asked of a target."""
    return f"transaction.{uid_token(transaction_uid)}"


def step(sop_instance_uid: str) -> str:
    """Return the key, in the bucket :data:`HELD`, of the record of a performed procedure step."""
    return f"mpps.{uid_token(sop_instance_uid)}"


def steps_of(study_uid: str) -> str:
    """Return the subjects that everything about the performed procedure steps of a study is announced on."""
    return f"hermes.v1.mpps.*.{uid_token(study_uid)}"


def series_state(series_uid: str) -> str:
    """Return the key of the live record of a series."""
    return f"series.{uid_token(series_uid)}"


def study_state(study_uid: str) -> str:
    """Return the key of the live record of a study."""
    return f"study.{uid_token(study_uid)}"


def document_part(key: str, part: int | str) -> str:
    """Return the subject of a part of the copy of the document under ``key``; ``*`` for all its parts."""
    folder, _, name = key.rpartition("/")
    return f"hermes.document.{_hashed(folder)}.{_hashed(name)}.{part}"


def documents_of(folder: str) -> str:
    """Return the subjects of all parts of the copies of documents whose key is ``<folder>/<name>``."""
    return f"hermes.document.{_hashed(folder)}.*.*"


def documents_gone(folder: str) -> str:
    """Return the subject on which is said up to where the copies of a folder are void."""
    return f"hermes.document.{_hashed(folder)}.gone"


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def delivery_state(delivery_id: str) -> str:
    """Return the key of the live record of a delivery."""
    return f"delivery.{delivery_id}"


CLEANER_WATERMARK = "cleaner.watermark"
"""Key of the record of the room in the object store."""

CLEANER_SWEEP = "cleaner.sweep"
"""Key of the record of the last sweep for orphans."""

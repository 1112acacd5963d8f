"""The streams and buckets of Hermes. Whichever service comes first makes them; making them again changes nothing."""

from typing import Any

from nats.js.api import (
    DiscardPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from hermes_common import subjects

_DAY = 86400.0

DOCUMENTS_MAX_BYTES = 1023 * 1024**2
"""Octets of copies of documents; beyond them the oldest go, which the store has had for the longest.

The server sets them aside, and makes no other stream where nothing is left: less than the least store that we give it.
"""

DOCUMENTS_LEAST_BYTES = 16 * 1024**2


def streams(replicas: int, events_max_bytes: int, events_max_days: int) -> list[StreamConfig]:
    """Return the streams: events, work, timers, parked messages, copies of documents.

    ``discard: new``: a full stream refuses the publisher, and never drops what it accepted.
    Copies may be dropped: the store has had the oldest for the longest.
    """
    common: dict[str, Any] = {"storage": StorageType.FILE, "num_replicas": replicas, "discard": DiscardPolicy.NEW}
    return [
        StreamConfig(
            name=subjects.EVENTS,
            description="What happened: every event of Hermes",
            subjects=[subjects.EVENTS_ALL],
            retention=RetentionPolicy.LIMITS,
            max_age=events_max_days * _DAY,
            max_bytes=events_max_bytes,
            duplicate_window=120,
            allow_direct=True,
            deny_delete=True,
            **common,
        ),
        StreamConfig(
            name=subjects.WORK,
            description="What is to be done: deliveries by target, and commands",
            subjects=[subjects.WORK_ALL],
            retention=RetentionPolicy.WORK_QUEUE,
            duplicate_window=120,
            **common,
        ),
        StreamConfig(
            name=subjects.TIMERS,
            description="Schedules, and the messages they become when they are due; one of each per subject",
            subjects=[subjects.TIMERS_ALL, subjects.DUE_ALL],
            retention=RetentionPolicy.WORK_QUEUE,
            max_msgs_per_subject=1,
            allow_msg_schedules=True,
            allow_msg_ttl=True,
            allow_direct=True,
            **{**common, "discard": DiscardPolicy.OLD},  # schedules ask for it; no limit is set, so nothing is dropped
        ),
        StreamConfig(
            name=subjects.PARKED,
            description="Messages that could not be worked on, with the reason, until somebody looks",
            subjects=[subjects.PARKED_ALL],
            retention=RetentionPolicy.LIMITS,
            allow_direct=True,
            **common,
        ),
        StreamConfig(
            name=subjects.DOCUMENTS,
            description="Copies of manifests, decisions and rounds, until the object store surely has them",
            subjects=[subjects.DOCUMENTS_ALL],
            retention=RetentionPolicy.LIMITS,
            max_msgs_per_subject=1,
            max_bytes=DOCUMENTS_MAX_BYTES,
            allow_direct=True,
            allow_msg_ttl=True,
            **{**common, "discard": DiscardPolicy.OLD},  # a full stream of copies must not keep series from decisions
        ),
    ]


def smaller(stream: StreamConfig) -> StreamConfig | None:
    """Return the stream of copies of documents with half its bound, at the end with the server's; None for any other.

    Its bound is set aside by the server, and no service may fail to start for want of room for copies.
    """
    if stream.name != subjects.DOCUMENTS or stream.max_bytes is None or stream.max_bytes < 0:
        return None
    half = stream.max_bytes // 2
    return stream.evolve(max_bytes=half if half >= DOCUMENTS_LEAST_BYTES else -1)


def buckets(replicas: int, held_max_days: int) -> list[KeyValueConfig]:
    """Return the key-value buckets: live records, configuration with its history, where instances are held."""
    return [
        KeyValueConfig(bucket=subjects.STATE, description="Live records", history=1, replicas=replicas),
        KeyValueConfig(
            bucket=subjects.HELD,
            description="Where each instance is stored, by SOP instance UID, for storage commitment",
            history=1,
            ttl=held_max_days * _DAY,
            replicas=replicas,
        ),
        KeyValueConfig(bucket=subjects.CONFIG, description="Configuration documents", history=64, replicas=replicas),
    ]

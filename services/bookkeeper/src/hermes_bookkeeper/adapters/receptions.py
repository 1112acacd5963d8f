"""Receptions in the ledger: their rows, which of them are duplicates, and the counts of their series.

Counts change by the difference that the SOP instances of a batch make, so that a series of 20,000 instances costs no
more per batch than a small one. They are sums over SOP instances, taken under the lock of all bookkeepers: exact.
"""

from collections.abc import Collection, Sequence

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case

from hermes_bookkeeper.adapters import sql
from hermes_bookkeeper.core.said import Row
from hermes_bookkeeper.core.series import Counts, Receptions, Span
from hermes_common import ledger

_TALLY = """
SELECT series_uid, count(*), sum(octets), sum(duplicates), count(*) FILTER (WHERE digests > 1)
FROM (
    SELECT series_uid, coalesce(sum(octets) FILTER (WHERE NOT duplicate), 0) AS octets,
           count(*) FILTER (WHERE duplicate) AS duplicates, count(DISTINCT digest) AS digests
    FROM ledger.instances WHERE sop_instance_uid = ANY(%s) AND series_uid = ANY(%s)
    GROUP BY series_uid, sop_instance_uid
) AS each
GROUP BY series_uid"""
_ALL = """
SELECT series_uid, count(*), sum(octets), sum(duplicates), count(*) FILTER (WHERE digests > 1), min(first), max(last)
FROM (
    SELECT series_uid, coalesce(sum(octets) FILTER (WHERE NOT duplicate), 0) AS octets,
           count(*) FILTER (WHERE duplicate) AS duplicates, count(DISTINCT digest) AS digests,
           min(received_at) AS first, max(received_at) AS last
    FROM ledger.instances WHERE series_uid = ANY(%s) GROUP BY series_uid, sop_instance_uid
) AS each
GROUP BY series_uid"""
_MARK = """
UPDATE ledger.instances AS i SET duplicate = r.later
FROM (
    SELECT reception_id, row_number() OVER (
        PARTITION BY series_uid, sop_instance_uid, digest ORDER BY seq, reception_id) > 1 AS later
    FROM ledger.instances WHERE sop_instance_uid = ANY(%s) AND series_uid = ANY(%s)
) AS r
WHERE i.reception_id = r.reception_id AND i.duplicate <> r.later"""
_COUNTS = """
SELECT series_uid, instances, octets, duplicates, conflicts, first_received_at, last_received_at
FROM ledger.series AS s WHERE series_uid = ANY(%s) AND instances > 0
AND EXISTS (SELECT FROM ledger.instances AS i WHERE i.series_uid = s.series_uid)"""
_EDGES = """
SELECT s.uid, f.study_uid, f.calling_aet, f.called_aet, f.address, coalesce(e.data -> 'tags', '{}'), l.seq, n.seq
FROM unnest(%s) AS s (uid)
CROSS JOIN LATERAL (SELECT * FROM ledger.instances WHERE series_uid = s.uid ORDER BY seq LIMIT 1) AS f
CROSS JOIN LATERAL (SELECT seq FROM ledger.instances WHERE series_uid = s.uid ORDER BY seq DESC LIMIT 1) AS l
CROSS JOIN LATERAL (
    SELECT seq FROM ledger.instances WHERE series_uid = s.uid AND NOT duplicate ORDER BY seq DESC LIMIT 1) AS n
LEFT JOIN ledger.events AS e ON e.id = f.reception_id"""

Counted = dict[str, tuple[Counts, Span]]
"""Series UID -> counts and span of its receptions."""


def add(cursor: Cursor, rows: Sequence[Row], touched: Collection[str]) -> Counted:
    """Take down receptions, and return the counts of the touched series that have any, with these."""
    counted = _counted(cursor, touched)
    if not rows:
        return counted
    sops = list({row["sop_instance_uid"] for row in rows})
    uids = list({row["series_uid"] for row in rows})
    before = _tally(cursor, sops, uids)
    sql.upsert(cursor, ledger.instances, rows, sql.first_said)
    cursor.execute(_MARK, [sops, uids])
    after = _tally(cursor, sops, uids)
    for row in rows:
        span = Span(row["received_at"], row["received_at"])
        known = counted.get(row["series_uid"])
        counted[row["series_uid"]] = (Counts(), span) if known is None else (known[0], known[1].joined(span))
    for uid in uids:
        counts, span = counted[uid]
        counted[uid] = (counts.changed(before.get(uid, Counts()), after[uid]), span)
    return counted


def load(cursor: Cursor, counted: Counted) -> dict[str, Receptions]:
    """Return what the receptions of series say."""
    if not counted:
        return {}
    cursor.execute(_EDGES, [list(counted)])
    found = {}
    for uid, study_uid, calling, called, address, tags, last_seq, new_seq in cursor:
        counts, span = counted[uid]
        found[uid] = Receptions(counts, span, study_uid, calling, called, address, tags, last_seq, new_seq)
    return found


def counted_again(cursor: Cursor, touched: Collection[str]) -> Counted:
    """Return the counts of series from all their receptions, whatever their rows say."""
    cursor.execute(_ALL, [list(touched)])
    return {
        uid: (Counts(count, int(octets), int(dups), conflicts), Span(first, last))
        for uid, count, octets, dups, conflicts, first, last in cursor
    }


def _counted(cursor: Cursor, touched: Collection[str]) -> Counted:
    cursor.execute(_COUNTS, [list(touched)])
    return {
        uid: (Counts(instances, octets, duplicates, conflicts), Span(first, last))
        for uid, instances, octets, duplicates, conflicts, first, last in cursor
    }


def _tally(cursor: Cursor, sops: Sequence[str], uids: Sequence[str]) -> dict[str, Counts]:
    cursor.execute(_TALLY, [sops, uids])
    return {uid: Counts(count, int(octets), int(dups), conflicts) for uid, count, octets, dups, conflicts in cursor}

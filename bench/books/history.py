# ruff: noqa: E501, S608  # the statements are constants of this file
"""A long history, made inside PostgreSQL: series of ten instances over a year, the events in parts of a month.

The tables are those of the migrations; the secondary indexes are dropped while rows come in and made by the
bookkeeper's own ``build_indexes`` afterwards. Every name, identifier and text is made up from a number.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case
from pydantic import SecretStr

from hermes_bookkeeper.adapters.indexes import build_indexes
from hermes_bookkeeper.adapters.migrate import migrate
from hermes_bookkeeper.adapters.partitions import close_month

PER_SERIES = 10
MONTHS = 12
UID = "1.2.826.0.1.3680043.10.1561."
STUDY = "1.2.826.0.1.3680043.10.1562."

SERIES = f"""
INSERT INTO ledger.series (series_uid, study_uid, state, instances, octets, batches, calling_aet, called_aet, address,
  modality, patient_id, patient_name, accession_number, study_description, series_description, tags, first_received_at,
  last_received_at, completed_at, decided_at, ended_at, rules_revision, last_seq)
SELECT '{UID}' || n, '{STUDY}' || n / 4, state, {PER_SERIES}, {PER_SERIES} * 525000, 1, aet, 'HERMES', '10.1.2.' || n % 50,
  modality, patient, name, 'A' || n / 4, study, described,
  jsonb_build_object('Modality', jsonb_build_array(modality), 'PatientID', jsonb_build_array(patient), 'PatientName',
    jsonb_build_array(name), 'StudyDescription', jsonb_build_array(study), 'SeriesDescription',
    jsonb_build_array(described), 'ProtocolName', jsonb_build_array('protocol_' || n % 300), 'BodyPartExamined',
    jsonb_build_array(body), 'ImageType', '["ORIGINAL", "PRIMARY"]'::jsonb, 'SliceThickness', '["1.5"]'::jsonb,
    'StationName', jsonb_build_array('station' || n % 50), 'Manufacturer', '["ACME"]'::jsonb, 'AccessionNumber',
    jsonb_build_array('A' || n / 4), 'PatientSex', '["F"]'::jsonb, 'StudyDate', jsonb_build_array('20260101')),
  t, t + interval '20 s', t + interval '30 s', t + interval '30 s', t + interval '40 s', 1, n * 20
FROM (SELECT n, %(start)s + n * %(step)s AS t, 'MR' || lpad((n % 50)::text, 2, '0') AS aet,
  CASE WHEN n % 5000 = 7 THEN 'OT' ELSE (ARRAY['CT', 'MR', 'US', 'CR'])[1 + n % 4] END AS modality,
  CASE WHEN n % 50 = 0 THEN 'unmatched' WHEN n % 500 = 1 THEN 'failed' WHEN n > %(last)s - 200 THEN 'routed'
    WHEN n % 5 > 0 AND n < %(last)s * 0.9 THEN 'deleted' ELSE 'delivered' END AS state,
  'P' || lpad((n / 8)::text, 7, '0') AS patient, 'FAMILY' || n / 8 % 7000 || '^GIVEN' || n / 8 % 300 AS name,
  (ARRAY['brain', 'knee', 'chest', 'abdomen'])[1 + n / 4 % 4] AS body,
  (ARRAY['brain', 'knee', 'chest', 'abdomen'])[1 + n / 4 % 4] || ' study ' || n / 4 % 200 AS study,
  (ARRAY['t1', 't2', 'flair', 'dwi', 'scout'])[1 + n % 5] || '_series/' || n % 1000 AS described
  FROM generate_series(%(first)s, %(last)s) AS n) AS made
"""
INSTANCES = f"""
INSERT INTO ledger.instances (reception_id, series_uid, study_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid,
  key, digest, octets, association_id, calling_aet, called_aet, address, received_at, stored_at, seq)
SELECT 'r' || lpad((n * {PER_SERIES} + i)::text, 35, '0'), '{UID}' || n, '{STUDY}' || n / 4, '{UID}' || n || '.' || i,
  '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', '{UID}' || n || '/' || i || '.dcm',
  md5(n::text || i), 525000, 'a' || n / 4, 'MR' || lpad((n % 50)::text, 2, '0'), 'HERMES', '10.1.2.' || n % 50,
  %(start)s + n * %(step)s + i * interval '1 s', %(start)s + n * %(step)s + i * interval '1 s', n * 20 + i
FROM generate_series(%(first)s, %(last)s) AS n, generate_series(0, {PER_SERIES - 1}) AS i
"""
EVENTS = f"""
INSERT INTO ledger.events (id, seq, type, subject, source, time, series_uid, delivery_id, about, data, recorded_at)
SELECT 'r' || lpad((n * {PER_SERIES} + i)::text, 35, '0'), n * 20 + i, 'hermes.v1.instance.stored',
  'hermes.v1.instance.stored', 'receiver', t, '{UID}' || n, NULL, NULL, '{{"tags": {{}}}}'::jsonb, t
FROM generate_series(%(first)s, %(last)s) AS n, generate_series(0, {PER_SERIES - 1}) AS i,
  LATERAL (SELECT %(start)s + n * %(step)s AS t) AS at
UNION ALL
SELECT md5(n || kind), n * 20 + 10 + i, 'hermes.v1.' || kind, 'hermes.v1.' || kind, 'router', t, '{UID}' || n,
  CASE WHEN i > 1 THEN 'd' || n || 'pacs' END, NULL, '{{"batch": 1}}'::jsonb, t
FROM generate_series(%(first)s, %(last)s) AS n,
  (VALUES (0, 'series.completed'), (1, 'series.routed'), (2, 'delivery.queued'), (3, 'delivery.succeeded')) AS k (i, kind),
  LATERAL (SELECT %(start)s + n * %(step)s AS t) AS at
"""
BATCHES = f"""
INSERT INTO ledger.batches (batch_id, series_uid, batch, manifest_key, instances, octets, duplicates, conflicts,
  first_received_at, last_received_at, completed_at, seq)
SELECT 'b' || n, '{UID}' || n, 1, 'manifests/' || n, {PER_SERIES}, 5250000, 0, 0, t, t, t, n * 20 + 10
FROM (SELECT n, %(start)s + n * %(step)s AS t FROM generate_series(%(first)s, %(last)s) AS n) AS made
"""
DECISIONS = f"""
INSERT INTO ledger.decisions (event_id, batch_id, series_uid, kind, outcome, revision, decision, decided_at, seq)
SELECT md5(n || 'series.routed'), 'b' || n, '{UID}' || n, 'rules', 'routed', 1, jsonb_build_object('batch_id', 'b' || n,
  'kind', 'rules', 'outcome', 'routed', 'revision', 1, 'decided_at', t, 'deliveries', '[]'::jsonb), t, n * 20 + 11
FROM (SELECT n, %(start)s + n * %(step)s AS t FROM generate_series(%(first)s, %(last)s) AS n) AS made
"""
DELIVERIES = f"""
INSERT INTO ledger.deliveries (delivery_id, series_uid, study_uid, batch_id, target, state, priority, rules, instances,
  octets, delivered, attempt, reason, queued_at, started_at, ended_at, updated_at, last_seq)
SELECT 'd' || n || target, '{UID}' || n, '{STUDY}' || n / 4, 'b' || n, target,
  CASE WHEN n % 500 = 1 THEN 'failed' WHEN n > %(last)s - 200 THEN 'queued' ELSE 'succeeded' END, 'normal',
  jsonb_build_array('rule-' || n % 1000), {PER_SERIES}, 5250000, CASE WHEN n % 500 = 1 THEN 0 ELSE {PER_SERIES} END, 1,
  CASE WHEN n % 500 = 1 THEN 'the peer answered 0xA700: refused: out of resources' ELSE '' END,
  t, t, CASE WHEN n > %(last)s - 200 THEN NULL ELSE t + interval '5 s' END, t + interval '5 s', n * 20 + 12
FROM (SELECT n, %(start)s + n * %(step)s AS t FROM generate_series(%(first)s, %(last)s) AS n) AS made,
  LATERAL (VALUES ('pacs'), (CASE WHEN n % 2000 = 3 THEN 'seldom' ELSE 'archive' END)) AS targets (target)
WHERE n % 50 > 0
"""
ATTEMPTS = """
INSERT INTO ledger.attempts (delivery_id, attempt, dispatcher, started_at, ended_at, result, missing, reason)
SELECT 'd' || n || target, 1, 'd1', t, t + interval '5 s', CASE WHEN n % 500 = 1 THEN 'failed' ELSE 'succeeded' END, 0, ''
FROM (SELECT n, %(start)s + n * %(step)s AS t FROM generate_series(%(first)s, %(last)s) AS n) AS made,
  LATERAL (VALUES ('pacs'), (CASE WHEN n % 2000 = 3 THEN 'seldom' ELSE 'archive' END)) AS targets (target)
WHERE n % 50 > 0
"""
OUTCOMES = f"""
INSERT INTO ledger.instance_deliveries (delivery_id, index, sop_instance_uid, result, status, attempt, at, seq)
SELECT 'd' || n || 'pacs', i, '{UID}' || n || '.' || i, 'delivered', 0, 1, %(start)s + n * %(step)s, n * 20 + 13
FROM generate_series(%(first)s, %(last)s) AS n, generate_series(0, {PER_SERIES - 1}) AS i
WHERE n > %(last)s - 3000 AND n % 50 > 0
"""
ASSOCIATIONS = """
INSERT INTO ledger.associations (association_id, state, calling_aet, called_aet, address, instances, octets, opened_at,
  closed_at, last_seq)
SELECT 'a' || n, CASE WHEN n % 1000 = 9 THEN 'rejected' ELSE 'closed' END, 'MR' || lpad((n % 50)::text, 2, '0'),
  'HERMES', '10.1.2.' || n % 50, 40, 21000000, t, t + interval '30 s', n * 80
FROM (SELECT n, %(start)s + n * 4 * %(step)s AS t FROM generate_series(%(first)s / 4, %(last)s / 4) AS n) AS made
ON CONFLICT DO NOTHING
"""
QUARANTINE = """
INSERT INTO ledger.quarantine (reception_id, association_id, key, reason, status, octets, calling_aet, received_at, seq)
SELECT 'q' || n, 'a' || n, 'quarantine/' || n, 'it ends inside an element', 49152, 1000, 'MR01', %(start)s + n * %(step)s, n
FROM generate_series(%(first)s, %(last)s) AS n WHERE n % 200 = 5
"""
AUDIT = """
INSERT INTO ledger.audit (event_id, time, actor, action, about)
SELECT 'u' || n, %(start)s + n * %(step)s, 'user' || n % 7, 'user.logged_in', 'user' || n % 7
FROM generate_series(%(first)s, %(last)s) AS n WHERE n % 20 = 5
"""
ALERTS = """
INSERT INTO ledger.alerts (alert_id, kind, about, severity, message, raised_at, cleared_at, last_seq)
SELECT 'l' || n, 'delivery_failed', 'pacs/d' || n, 'critical', 'a delivery failed', %(start)s + n * %(step)s,
  CASE WHEN n < %(last)s - 20000 THEN %(start)s + n * %(step)s + interval '1 h' END, n
FROM generate_series(%(first)s, %(last)s) AS n WHERE n % 500 = 1
"""
STATEMENTS = (
    SERIES,
    INSTANCES,
    BATCHES,
    DECISIONS,
    DELIVERIES,
    ATTEMPTS,
    OUTCOMES,
    ASSOCIATIONS,
    QUARANTINE,
    AUDIT,
    ALERTS,
)


def fill(url: SecretStr, series: int, *, within: float = 3600.0, say: bool = True) -> bool:
    """Make the tables and fill them with ``series`` series of ten instances over the last year.

    No month is begun after ``within`` seconds; the next call goes on with it. Return whether all is there.
    """
    begun = time.monotonic()
    migrate(url)
    with connected(url) as cursor:
        cursor.execute("SET synchronous_commit = off; SET work_mem = '256MB'; SET maintenance_work_mem = '512MB'")
        cursor.execute("CREATE TABLE IF NOT EXISTS filled (month int PRIMARY KEY, until timestamptz NOT NULL)")
        cursor.execute("SELECT count(*), coalesce(min(until), now() - interval '50 s') FROM filled")
        [(done, until)] = cursor.fetchall()
        if done == 0:
            _drop_indexes(cursor)
        for month in range(done, MONTHS):
            if time.monotonic() - begun > within:
                return False
            start = time.monotonic()
            _month(cursor, month, series, until)
            if say:
                print(f"month {month + 1} of {MONTHS} in {time.monotonic() - start:.0f} s", flush=True)
    start = time.monotonic()
    if start - begun > within:
        return False
    asyncio.run(build_indexes(url))
    with connected(url) as cursor:
        cursor.execute("VACUUM ANALYZE")
    if say:
        print(f"indexes and statistics in {time.monotonic() - start:.0f} s", flush=True)
    return True


@contextlib.contextmanager
def connected(url: SecretStr) -> Iterator[Cursor]:
    """A cursor of a connection of its own, every statement by itself."""
    with contextlib.closing(psycopg2.connect(url.get_secret_value().replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _month(cursor: Cursor, month: int, series: int, until: datetime) -> None:
    span = timedelta(days=364)
    times = {"start": until - span, "step": span / series}
    part = {"first": series * month // MONTHS + 1, "last": series * (month + 1) // MONTHS, **times}
    cursor.execute("BEGIN")
    cursor.execute(EVENTS, part)
    for statement in STATEMENTS:
        cursor.execute(statement.replace(" % ", " %% "), part)  # the modulus, not a parameter
    if month + 1 < MONTHS:
        close_month(cursor, datetime.now(UTC))
    cursor.execute("INSERT INTO filled VALUES (%s, %s)", [month, until])
    cursor.execute("COMMIT")


def _drop_indexes(cursor: Cursor) -> None:
    """Drop the secondary indexes, but those of the events, which every month has its own of."""
    cursor.execute(
        "SELECT indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON "
        "n.oid = c.relnamespace WHERE n.nspname = 'ledger' AND NOT indisunique AND c.relname <> 'events'"
    )
    for (name,) in cursor.fetchall():
        cursor.execute(f"DROP INDEX {name}")

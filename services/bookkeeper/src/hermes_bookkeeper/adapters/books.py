"""The books: one transaction that takes facts down, whatever was taken down before.

Events are inserted by their id. What one event says by itself becomes a row; what follows from several events (the
rows of deliveries, series, associations, services and alerts) is derived again from all of them, in the order of the
stream. So the tables are the same in whatever order and however often the facts come.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case

from hermes_bookkeeper.adapters import chain, loading, receptions, sql
from hermes_bookkeeper.adapters.copying import Encoded
from hermes_bookkeeper.core.alerts import (
    Say,
    alerts_of,
    concerns_deliveries,
    delivery_alerts,
    is_about_a_rule,
    may_outdate,
    outdated,
)
from hermes_bookkeeper.core.audit import audit_row
from hermes_bookkeeper.core.deliveries import Progress, attempt_rows, delivery_row
from hermes_bookkeeper.core.facts import Fact
from hermes_bookkeeper.core.lives import life_row
from hermes_bookkeeper.core.rows import news_row, outcome_rows, own_row
from hermes_bookkeeper.core.said import Row, Said
from hermes_bookkeeper.core.series import series_row
from hermes_common import ledger
from hermes_common.auditchain import NO_KEY, ChainKey

LOCK = 0x4865726D6573  # "Hermes"
"""Key of the advisory lock under which one bookkeeper at a time projects, and migrates."""

_TABLES = {table.name: table for table in ledger.metadata.sorted_tables}
_FIRST_SAID = ("quarantine", "batches", "decisions", "study_decisions", "config_changes")


def record(cursor: Cursor, facts: Sequence[Fact], now: datetime, audit_key: ChainKey = NO_KEY) -> list[Say]:
    """Take facts down in the transaction of ``cursor`` and return the alerts to say about them once it is committed.

    ``audit_key`` is that of the audit's chain.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    once = _once(facts)
    new = _insert(cursor, once, now)
    fresh = [fact for fact in once if fact.id in new]
    own: defaultdict[str, dict[tuple[object, ...], Row]] = defaultdict(dict)
    for fact in fresh:
        if (made := own_row(fact)) is not None:
            name, row = made
            key = tuple(row[column.name] for column in _TABLES[name].primary_key.columns)
            own[name].setdefault(key, row)
    for name in _FIRST_SAID:
        sql.upsert(cursor, _TABLES[name], list(own[name].values()), sql.first_said)
    sql.upsert(cursor, ledger.parked, list(own["parked"].values()), sql.different)
    audit = [done for fact in fresh if (done := audit_row(fact)) is not None]
    written = sql.upsert(cursor, ledger.audit, audit, sql.never, key=["event_id"], returning="event_id")
    chain.append(cursor, written, audit_key, now)
    sql.upsert(cursor, ledger.instance_deliveries, outcome_rows(fresh), sql.better_outcome)
    sql.upsert(cursor, ledger.alert_news, [news for fact in fresh if (news := news_row(fact))], sql.not_dealt_with)
    _lives(cursor, {fact.about for fact in fresh if fact.about is not None})
    said = _deliveries(cursor, fresh, once)
    _series(cursor, fresh, list(own["instances"].values()))
    outdating = any(may_outdate(fact.event) for fact in facts)
    return _unknown(cursor, _alerts(facts, said)) + (_outdated(cursor) if outdating else [])


def _once(facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts in the order of the stream, each at its first place."""
    first: dict[str, Fact] = {}
    for fact in sorted(facts, key=lambda fact: fact.seq):
        first.setdefault(fact.id, fact)
    return list(first.values())


def _insert(cursor: Cursor, facts: Sequence[Fact], now: datetime) -> set[str]:
    """Insert events; return the ids of those that are new, or are now known from an earlier place in the stream.

    What a closed month has (``partitions``) stays there, unless it is now known from an earlier place.
    """
    closed = _in_closed_months(cursor, [fact.id for fact in facts])
    if earlier := [fact.id for fact in facts if fact.seq < closed.get(fact.id, 0)]:
        cursor.execute("DELETE FROM ledger.events WHERE id = ANY(%s)", [earlier])
    rows: list[Row] = [
        {
            "id": fact.id,
            "seq": fact.seq,
            "type": fact.type,
            "subject": fact.subject,
            "source": fact.source,
            "time": fact.time,
            "series_uid": fact.series_uid,
            "delivery_id": fact.delivery_id,
            "about": fact.about,
            "data": Encoded(fact.data),
            "recorded_at": now,
        }
        for fact in facts
        if fact.id not in closed or fact.seq < closed[fact.id]
    ]
    return set(sql.upsert(cursor, ledger.events, rows, sql.first_said, returning="id"))


def _in_closed_months(cursor: Cursor, ids: Sequence[str]) -> dict[str, int]:
    """Return the sequences of the events that lie in another part than the present one."""
    cursor.execute(
        "SELECT id, seq FROM ledger.events WHERE id = ANY(%s) AND tableoid <> 'ledger.events'::regclass", [list(ids)]
    )
    return dict(iter(cursor.fetchall()))


def _lives(cursor: Cursor, abouts: Collection[str]) -> None:
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    if abouts:
        for said in loading.lives(cursor, abouts).values():
            if (made := life_row(said)) is not None:
                rows[made[0]].append(made[1])
    for name, made_rows in rows.items():
        sql.upsert(cursor, _TABLES[name], [dict(sorted(row.items())) for row in made_rows], sql.different)


def _deliveries(cursor: Cursor, fresh: Sequence[Fact], facts: Sequence[Fact]) -> dict[str, list[Said]]:
    """Derive the deliveries that fresh facts are about; return what was said about them and those with an alert."""
    touched = {fact.delivery_id for fact in fresh if fact.delivery_id is not None and fact.event is not None}
    alerting = {fact.delivery_id for fact in facts if fact.delivery_id and concerns_deliveries(fact.event)}
    if not touched | alerting:
        return {}
    said = loading.deliveries(cursor, touched | alerting)
    progress = loading.progress(cursor, touched)
    derived = [(said[key], progress.get(key, Progress())) for key in sorted(touched & said.keys())]
    rows = [delivery_row(events, outcomes) for events, outcomes in derived]
    sql.upsert(cursor, ledger.deliveries, rows, sql.different)
    attempts = [row for events, _ in derived for row in attempt_rows(events)]
    sql.upsert(cursor, ledger.attempts, attempts, sql.different)
    return said


def _series(cursor: Cursor, fresh: Sequence[Fact], received: Sequence[Row]) -> None:
    touched = {fact.series_uid for fact in fresh if fact.series_uid is not None and fact.event is not None}
    if not touched:
        return
    derive_series(cursor, touched, receptions.add(cursor, received, touched))


def derive_series(cursor: Cursor, touched: Collection[str], counted: receptions.Counted) -> None:
    """Derive the rows of series again, with these counts of their receptions."""
    if not touched:
        return
    known = receptions.load(cursor, counted)
    said = loading.milestones(cursor, touched)
    deliveries = loading.deliveries_of(cursor, touched)
    derived = (series_row(uid, known.get(uid), said.get(uid, []), deliveries.get(uid, [])) for uid in sorted(touched))
    rows = [row for row in derived if row is not None]
    sql.upsert(cursor, ledger.series, rows, sql.different)


def _alerts(facts: Sequence[Fact], said: dict[str, list[Said]]) -> list[Say]:
    """Return the alerts about these facts, new or not: what was to be said and was not is said now."""
    says = [say for fact in facts for say in alerts_of(fact)]
    news = {fact.id for fact in facts}
    for events in said.values():
        says += delivery_alerts(events, news)
    once: dict[str, Say] = {}
    for say in says:
        once.setdefault(say.id, say)
    return list(once.values())


def _unknown(cursor: Cursor, says: Sequence[Say]) -> list[Say]:
    """Leave out alerts about rules that are in the tables: a rule that fails does so for every series."""
    raised = {say.event.alert_id for say in says if is_about_a_rule(say)}
    known = loading.known_alerts(cursor, raised) if raised else set()
    return [say for say in says if say.event.alert_id not in known]


def _outdated(cursor: Cursor) -> list[Say]:
    """Return the clearing of alerts about rules that a newer revision has replaced."""
    newest, open_alerts = loading.rule_alerts(cursor)
    return outdated(open_alerts, newest)

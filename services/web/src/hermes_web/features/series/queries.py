"""What the history says about series."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, false, func, literal_column, or_, select, text, tuple_

from hermes_common.events import Decision
from hermes_common.ledger import (
    MILESTONE,
    SEPARATORS,
    attempts,
    batches,
    decisions,
    deliveries,
    events,
    instances,
    series,
)
from hermes_common.runtime.clock import now
from hermes_web.core import cursor
from hermes_web.core.columns import Columns
from hermes_web.core.search import Search, beginnings, is_uid
from hermes_web.errors import NotFoundError
from hermes_web.features.deliveries.queries import COLUMNS
from hermes_web.features.deliveries.views import AttemptView, DeliveryItem
from hermes_web.features.paging import Listing, listing
from hermes_web.features.series.views import BatchView, EventItem, InstanceItem, SeriesDetail, SeriesItem

_SHOWN = [column for column in series.c if column.name not in {"tags", "problems", "last_seq", "words"}]
_OF_DELIVERIES = frozenset({"target", "rule"})
BY_HAND = "-"
"""In place of a rule in a search: a person asked for the delivery."""
_SIMPLE = literal_column("'pg_catalog.simple'::regconfig")


def list_series(connection: Connection, search: Search, limit: int, after: str | None) -> Listing[SeriesItem]:
    """Return the series that fit a search, the one last received first."""
    query = select(*_SHOWN).where(*_conditions(search))
    if after is not None:
        query = query.where(tuple_(series.c.last_received_at, series.c.series_uid) < tuple_(*cursor.decode(after)))
    rows = connection.execute(
        query.order_by(series.c.last_received_at.desc(), series.c.series_uid.desc()).limit(limit + 1)
    )
    items = [SeriesItem.model_validate(row) for row in rows]
    return listing(items, limit, lambda item: (item.last_received_at, item.series_uid))


def export_rows(
    connection: Connection, search: Search, columns: Columns, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the values of columns of a page of series, as :func:`list_series` orders them, and where to go on."""
    wanted = [series.c[name] if name in series.c else series.c.tags[name].label(name) for name in columns.names]
    position = (series.c.last_received_at.label("_at"), series.c.series_uid.label("_uid"))
    query = select(*wanted, *position).where(*_conditions(search))
    if after is not None:
        query = query.where(tuple_(series.c.last_received_at, series.c.series_uid) < tuple_(*cursor.decode(after)))
    rows = connection.execute(query.order_by(*(column.desc() for column in position)).limit(limit)).all()
    more = cursor.encode(rows[-1][-2], rows[-1][-1]) if len(rows) == limit else None
    return [dict(zip(columns.names, row, strict=False)) for row in rows], more


def count_news(connection: Connection, search: Search, since: datetime, most: int) -> int:
    """Return how many series that fit a search were received after ``since``; counting ends at ``most``."""
    newer = select(series.c.series_uid).where(*_conditions(search), series.c.last_received_at > since).limit(most)
    return int(connection.execute(select(func.count()).select_from(newer.subquery())).scalar_one())


def list_events(connection: Connection, uid: str, most: int) -> list[EventItem]:
    """Return the first ``most`` events about a series, besides those of its single instances."""
    query = select(events).where(events.c.series_uid == uid, text(MILESTONE)).order_by(events.c.seq).limit(most)
    return [EventItem.model_validate(row) for row in connection.execute(query)]


def get_series(connection: Connection, uid: str) -> SeriesDetail:
    """Return everything about a series but its instances; raise :class:`NotFoundError`."""
    row = connection.execute(select(series).where(series.c.series_uid == uid)).one_or_none()
    if row is None:
        raise NotFoundError(f"no series {uid[:64]} is in the history")
    found_batches = connection.execute(select(batches).where(batches.c.series_uid == uid).order_by(batches.c.batch))
    found_decisions = connection.execute(
        select(decisions.c.decision)
        .where(decisions.c.series_uid == uid)
        .order_by(decisions.c.decided_at, decisions.c.seq)
    )
    found_deliveries = connection.execute(
        select(*COLUMNS).where(deliveries.c.series_uid == uid).order_by(deliveries.c.queued_at, deliveries.c.target)
    )
    found_attempts = connection.execute(
        select(attempts)
        .join(deliveries, deliveries.c.delivery_id == attempts.c.delivery_id)
        .where(deliveries.c.series_uid == uid)
        .order_by(attempts.c.started_at, attempts.c.attempt)
        .limit(500)
    )
    return SeriesDetail.model_validate(
        {
            **row._mapping,
            "batch_list": [BatchView.model_validate(item) for item in found_batches],
            "decisions": [Decision.model_validate(item.decision) for item in found_decisions],
            "deliveries": [DeliveryItem.model_validate(item) for item in found_deliveries],
            "attempts": [AttemptView.model_validate(item) for item in found_attempts],
        }
    )


def list_instances(connection: Connection, uid: str, limit: int, after: str | None) -> Listing[InstanceItem]:
    """Return the receptions of a series' instances, in their order."""
    query = select(instances).where(instances.c.series_uid == uid)
    if after is not None:
        query = query.where(tuple_(instances.c.received_at, instances.c.reception_id) > tuple_(*cursor.decode(after)))
    rows = connection.execute(query.order_by(instances.c.received_at, instances.c.reception_id).limit(limit + 1))
    items = [InstanceItem.model_validate(row) for row in rows]
    return listing(items, limit, lambda item: (item.received_at, item.reception_id))


def series_exists(connection: Connection, uid: str) -> bool:
    """Return whether the history knows a series."""
    return connection.execute(select(series.c.series_uid).where(series.c.series_uid == uid)).first() is not None


def _conditions(search: Search) -> list[ColumnElement[bool]]:
    found = [_qualified(name, values) for name, values in search.qualifiers.items() if name not in _OF_DELIVERIES]
    if any(name in _OF_DELIVERIES for name in search.qualifiers):
        found.append(_delivered(search))
    found += [_identified(word) for word in search.words if is_uid(word)]
    if words := [word for word in search.words if not is_uid(word)]:
        found.append(_worded(" ".join(words)))
    if search.received is not None:
        found.append(series.c.last_received_at >= now() - search.received)
    return found


def _delivered(search: Search) -> ColumnElement[bool]:
    """Return that one delivery of the series goes to one of the targets and was asked for by one of the rules."""
    conditions: list[ColumnElement[bool]] = [deliveries.c.series_uid == series.c.series_uid]
    if targets := search.qualifiers.get("target"):
        conditions.append(deliveries.c.target.in_(targets))
    if rules := search.qualifiers.get("rule"):
        named = [deliveries.c.rules == [] if rule == BY_HAND else deliveries.c.rules.contains([rule]) for rule in rules]
        conditions.append(or_(*named))
    return exists(select(deliveries.c.delivery_id).where(*conditions))


def _qualified(name: str, values: tuple[str, ...]) -> ColumnElement[bool]:
    columns = series.c
    match name:
        case "modality":
            return columns.modality.in_([value.upper() for value in values])
        case "status":
            return columns.state.in_(values)
        case "source":
            return or_(columns.calling_aet.in_(values), columns.address.in_(values))
        case "accession":
            return columns.accession_number.in_(values)
        case "patient":
            either = [or_(columns.patient_id == value, _named(columns.patient_name, value)) for value in values]
            return and_(*either)
        case _:
            either = [or_(columns.study_uid == value, _named(columns.study_description, value)) for value in values]
            return and_(*either)


def _identified(uid: str) -> ColumnElement[bool]:
    """Return that a UID is that of the series or of its study."""
    return or_(series.c.series_uid == uid, series.c.study_uid == uid)


def _worded(words: str) -> ColumnElement[bool]:
    """Return that for each of the words a series has one that begins with it; false for punctuation alone."""
    asked = beginnings(words)
    return series.c.words.bool_op("@@")(func.to_tsquery(_SIMPLE, asked)) if asked else false()


def _named(column: ColumnElement[str], words: str) -> ColumnElement[bool]:
    """Return that each of the words begins one in the column: found by the index over all words, then looked at."""
    asked = beginnings(words)
    if not asked:
        return false()
    parted = func.translate(column, SEPARATORS, " " * len(SEPARATORS))
    own = func.to_tsvector(_SIMPLE, parted).bool_op("@@")(func.to_tsquery(_SIMPLE, asked))
    return and_(_worded(words), own)

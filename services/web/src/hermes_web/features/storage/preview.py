"""What another retention would delete at once, from the tables of the history."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import JSONPATH

from hermes_common.config import Retention
from hermes_common.ledger import decisions, deliveries, series
from hermes_common.retention import SHORTEST, Outcome, Share, span_of
from hermes_common.sizes import size_words

MOST = 200_000
"""Series that are looked at, the oldest first; beyond it an answer says "at least"."""

DONE = ("delivered", "unmatched", "discarded")


class Preview(BaseModel):
    """What a retention would delete at once that the present one keeps."""

    model_config = ConfigDict(frozen=True)

    series: int
    octets: int
    at_least: bool = False
    """Whether there may be more than were looked at."""
    examples: list[str] = []
    words: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A series that is done with, as the history knows it."""

    series_uid: str
    octets: int
    since: datetime
    shares: Sequence[Share]


def preview_of(kept: Iterable[Kept], before: Retention, after: Retention, now: datetime, *, at_least: bool) -> Preview:
    """Return what ``after`` would delete at once and ``before`` keeps."""
    gone = [
        each
        for each in kept
        if each.since + span_of(each.shares, after).keep <= now < each.since + span_of(each.shares, before).keep
    ]
    octets = sum(each.octets for each in gone)
    more = "at least " if at_least else ""
    words = f"{more}{len(gone)} series ({size_words(octets)}) would be deleted at once"
    return Preview(
        series=len(gone),
        octets=octets,
        at_least=at_least,
        examples=[each.series_uid for each in gone[:20]],
        words=words if gone else "nothing would be deleted at once",
    )


def preview(connection: Connection, before: Retention, after: Retention, now: datetime) -> Preview:
    """Return what a retention would delete at once."""
    found = _kept(connection, now)
    return preview_of(found, before, after, now, at_least=len(found) >= MOST)


def _kept(connection: Connection, now: datetime) -> list[Kept]:
    """Return the series that are done, each since its last delivery ended or it was decided."""
    since = func.coalesce(func.greatest(series.c.ended_at, series.c.decided_at), series.c.last_received_at)
    wanted = (
        select(series.c.series_uid, series.c.state, series.c.octets, since.label("since"))
        .where(series.c.state.in_(DONE), since <= now - SHORTEST)
        .order_by(series.c.last_received_at)
        .limit(MOST)
        .subquery()
    )
    rows = connection.execute(select(wanted)).all()
    shares: defaultdict[str, list[Share]] = defaultdict(list)
    sent = select(deliveries.c.series_uid, deliveries.c.target, deliveries.c.rules)
    for uid, target, rules in connection.execute(sent.join(wanted, wanted.c.series_uid == deliveries.c.series_uid)):
        shares[uid].append(Share("delivered", tuple(rules), target))
    fired = _discarded_by(connection)
    return [
        Kept(row.series_uid, int(row.octets), row.since, _shares(row.series_uid, row.state, shares, fired))
        for row in rows
    ]


def _shares(
    uid: str, state: str, sent: Mapping[str, Sequence[Share]], fired: Mapping[str, Sequence[str]]
) -> Sequence[Share]:
    nowhere = [] if state == "delivered" else [Share(cast(Outcome, state), fired.get(uid, ()))]
    return [*sent.get(uid, ()), *nowhere]


def _discarded_by(connection: Connection) -> dict[str, list[str]]:
    """Return the rules that discarded each series that is discarded."""
    path = func.cast('$.rules[*] ? (@.status == "fired").slug', JSONPATH)
    fired = func.jsonb_path_query_array(decisions.c.decision, path)
    rows = connection.execute(
        select(decisions.c.series_uid, fired)
        .join(series, series.c.series_uid == decisions.c.series_uid)
        .where(series.c.state == "discarded", decisions.c.outcome == "discarded")
        .limit(MOST)
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for uid, slugs in rows:
        found[uid] += slugs
    return found

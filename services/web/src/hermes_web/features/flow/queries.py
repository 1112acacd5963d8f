"""What the history says about the ways of series, in a span of time."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, case, cast, func, select, true
from sqlalchemy.dialects.postgresql import JSONB

from hermes_common.ledger import deliveries, series
from hermes_common.runtime.clock import now
from hermes_web.features.status.queries import WAITING

MOST = 100
"""Ways that are shown of each kind, the busiest: with hundreds of rules thousands of others carry next to nothing."""
NOBODY = ""
"""In place of a rule: a person sent it, or it went nowhere."""


@dataclass(frozen=True, slots=True)
class Way:
    """So many series from one place to the next; ``tone`` is that of the worst that became of one."""

    start: str
    end: str
    tone: str
    series: int
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Ways:
    """From sources to rules, from rules to targets, and how many series of each source no rule took."""

    into_rules: list[Way]
    into_targets: list[Way]
    left_out: int = 0
    """Ways that are not among the :data:`MOST` busiest."""


def ways(connection: Connection, span: timedelta) -> Ways:
    """Return the ways of the series that were last received within ``span``."""
    recent = series.c.last_received_at >= now() - span
    number = func.count(series.c.series_uid.distinct())
    failed = func.count(series.c.series_uid.distinct()).filter(deliveries.c.state == "failed")
    waiting = func.count().filter(deliveries.c.state.in_(WAITING))
    by_hand = deliveries.c.rules == []
    each = case((by_hand, cast([NOBODY], JSONB)), else_=deliveries.c.rules)
    rules = func.jsonb_array_elements_text(each).table_valued("value", name="rules_of").lateral()
    rule = rules.c.value.label("rule")
    joined = series.join(deliveries, deliveries.c.series_uid == series.c.series_uid).join(rules, true())
    taken = connection.execute(
        select(series.c.calling_aet, rule, number)
        .select_from(joined)
        .where(recent)
        .group_by(series.c.calling_aet, rule)
    )
    sent = connection.execute(
        select(rule, deliveries.c.target, number, failed, waiting)
        .select_from(joined)
        .where(recent)
        .group_by(rule, deliveries.c.target)
    )
    left = connection.execute(
        select(series.c.calling_aet, series.c.state, func.count())
        .where(recent, series.c.state.in_(("unmatched", "discarded")))
        .group_by(series.c.calling_aet, series.c.state)
    )
    into_rules = [Way(source, f"rule:{name}", "busy", count) for source, name, count in taken]
    into_rules += [
        Way(source, state, "warn" if state == "unmatched" else "quiet", count) for source, state, count in left
    ]
    into_targets = [
        Way(f"rule:{name}", target, "bad" if bad else "busy" if busy else "good", count, bad)
        for name, target, count, bad, busy in sent
    ]
    left_out = max(len(into_rules) - MOST, 0) + max(len(into_targets) - MOST, 0)
    return Ways(_busiest(into_rules), _busiest(into_targets), left_out)


def _busiest(ways: list[Way]) -> list[Way]:
    """Return the :data:`MOST` busiest; what failed or was not matched comes before what is as busy."""
    return sorted(ways, key=lambda way: (way.series, way.tone in {"bad", "warn"}), reverse=True)[:MOST]

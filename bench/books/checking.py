"""Whether the books balance: everything that was said is there, once, and what follows from it is right."""

from dataclasses import dataclass

from history import connected  # a file beside this one
from pydantic import SecretStr

_EVENTS = "SELECT count(*), count(DISTINCT id) FROM ledger.events WHERE series_uid LIKE %s"
_INSTANCES = """
SELECT count(*), count(DISTINCT sop_instance_uid), count(*) FILTER (WHERE duplicate)
FROM ledger.instances WHERE series_uid LIKE %s"""
_SERIES = """
SELECT count(*) FROM ledger.series WHERE series_uid LIKE %s AND state = 'delivered' AND instances = %s
AND duplicates = 0 AND conflicts = 0 AND batches = 1"""
_DELIVERIES = """
SELECT count(*) FROM ledger.deliveries WHERE series_uid LIKE %s AND state = 'succeeded' AND delivered = %s"""
_OUTCOMES = """
SELECT count(*) FROM ledger.instance_deliveries i JOIN ledger.deliveries d ON d.delivery_id = i.delivery_id
WHERE d.series_uid LIKE %s AND i.result = 'delivered'"""


@dataclass(frozen=True, slots=True)
class Check:
    """What is missing (``gaps``) and what is there more than once (``doubles``), over all tables."""

    gaps: int
    doubles: int


def check(url: SecretStr, root: str, series: int, instances: int, *, events_a_series: int) -> Check:
    """Return what the tables lack, or have too often, of so many lives (``lives.py``) below ``root``."""
    like = f"{root}.%"
    with connected(url) as cursor:

        def one(statement: str, *more: int) -> tuple[int, ...]:
            cursor.execute(statement, [like, *more])
            [row] = cursor.fetchall()
            return tuple(row)

        events, ids = one(_EVENTS)
        rows, sops, marked = one(_INSTANCES)
        [whole] = one(_SERIES, instances)
        [ended] = one(_DELIVERIES, instances)
        [outcomes] = one(_OUTCOMES)
    expected = {
        "events": (events, series * events_a_series),
        "instances": (rows, series * instances),
        "series": (whole, series),
        "deliveries": (ended, series * 2),
        "outcomes": (outcomes, series * instances * 2),
    }
    gaps = sum(max(wanted - found, 0) for found, wanted in expected.values())
    doubles = sum(max(found - wanted, 0) for found, wanted in expected.values()) + events - ids + rows - sops + marked
    return Check(gaps, doubles)

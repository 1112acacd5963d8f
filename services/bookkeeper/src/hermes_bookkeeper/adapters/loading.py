"""Reading back what was said about series, deliveries and other things, in the order of the stream."""

from collections import defaultdict
from collections.abc import Collection

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case

from hermes_bookkeeper.core.alerts import RULE_FAILED
from hermes_bookkeeper.core.deliveries import Progress
from hermes_bookkeeper.core.said import Said, recall
from hermes_bookkeeper.core.series import DeliveryNow, delivery_fact
from hermes_common.events import DeliveryProgressed
from hermes_common.ledger import MILESTONE

_SAID = (
    "SELECT {key}, id, seq, time, type, data {less} FROM ledger.events WHERE {key} = ANY(%s) {more} ORDER BY seq, id"
)
_LIVES = _SAID.format(key="about", less="", more="AND about IS NOT NULL")
_DELIVERIES = _SAID.format(key="delivery_id", less="", more="AND type <> %s AND type LIKE 'hermes.v1.delivery.%%'")
_SERIES = _SAID.format(
    key="series_uid",
    less="#- '{decision,rules}'",
    more=f"AND {MILESTONE} AND type LIKE 'hermes.v1.series.%%'",
)
_PROGRESS = """
SELECT delivery_id, max(seq), max(time),
       (SELECT count(*) FROM ledger.instance_deliveries i WHERE i.delivery_id = e.delivery_id AND result = 'delivered')
FROM ledger.events e WHERE delivery_id = ANY(%s) AND type = %s GROUP BY delivery_id"""
_NOW = """
SELECT series_uid, delivery_id, batch_id, state, ended_at, last_seq
FROM ledger.deliveries WHERE series_uid = ANY(%s) ORDER BY delivery_id"""

_RULES = "SELECT coalesce(max(revision), 0) FROM ledger.config_changes WHERE kind = 'rules'"
_RULE_ALERTS = "SELECT alert_id, about FROM ledger.alerts WHERE kind = %s AND cleared_at IS NULL ORDER BY alert_id"


def rule_alerts(cursor: Cursor) -> tuple[int, list[tuple[str, str]]]:
    """Return the newest revision of the rules, and the open alerts about rules as id and what they are about."""
    cursor.execute(_RULES)
    newest = cursor.fetchone()
    cursor.execute(_RULE_ALERTS, [RULE_FAILED])
    return (newest[0] if newest else 0), [(row[0], row[1]) for row in cursor]


def known_alerts(cursor: Cursor, alert_ids: Collection[str]) -> set[str]:
    """Return those of the alerts that are in the tables."""
    cursor.execute("SELECT alert_id FROM ledger.alerts WHERE alert_id = ANY(%s)", [list(alert_ids)])
    return {row[0] for row in cursor}


def lives(cursor: Cursor, abouts: Collection[str]) -> dict[str, list[Said]]:
    """Return what was said about associations, service processes and alerts."""
    cursor.execute(_LIVES, [list(abouts)])
    return _grouped(cursor)


def deliveries(cursor: Cursor, delivery_ids: Collection[str]) -> dict[str, list[Said]]:
    """Return the events of the entity delivery, but the outcomes of instances, of those that have any."""
    cursor.execute(_DELIVERIES, [list(delivery_ids), DeliveryProgressed.type()])
    return _grouped(cursor)


def progress(cursor: Cursor, delivery_ids: Collection[str]) -> dict[str, Progress]:
    """Return what the outcomes of instances add to deliveries, for those that have any."""
    cursor.execute(_PROGRESS, [list(delivery_ids), DeliveryProgressed.type()])
    return {row[0]: Progress(delivered=row[3], last_seq=row[1], last_time=row[2]) for row in cursor}


def milestones(cursor: Cursor, series_uids: Collection[str]) -> dict[str, list[Said]]:
    """Return the events of the entity series; decisions without their explanations."""
    cursor.execute(_SERIES, [list(series_uids)])
    return _grouped(cursor)


def deliveries_of(cursor: Cursor, series_uids: Collection[str]) -> dict[str, list[DeliveryNow]]:
    """Return the deliveries of series as they are now."""
    cursor.execute(_NOW, [list(series_uids)])
    found: defaultdict[str, list[DeliveryNow]] = defaultdict(list)
    for series_uid, delivery_id, batch_id, state, ended_at, last_seq in cursor:
        found[series_uid].append(DeliveryNow(delivery_fact(delivery_id, batch_id, state), ended_at, last_seq))
    return found


def _grouped(cursor: Cursor) -> dict[str, list[Said]]:
    found: defaultdict[str, list[Said]] = defaultdict(list)
    for key, event_id, seq, time, type_name, data in cursor:
        if (said := recall(event_id, seq, time, type_name, data)) is not None:
            found[key].append(said)
    return found

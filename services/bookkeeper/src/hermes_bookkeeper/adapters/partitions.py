"""The events in parts of a month (ADR-0021): ``ledger.events`` takes what comes, closed months inherit from it.

A month is closed by giving its table another name and putting an empty one in its place: no row is moved, and readers
and the release before find every event in ``ledger.events`` as ever. A part that is old enough is dropped, after what
is said in it about things that are not over has been moved to the present part.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from psycopg2.errors import LockNotAvailable
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.sql import SQL, Identifier, Literal

from hermes_bookkeeper.adapters.books import LOCK
from hermes_bookkeeper.core.months import Part, is_over, part_name
from hermes_bookkeeper.errors import InUseError
from hermes_common import ledger

PATIENCE = "250ms"
"""How long a table that has to be had alone is waited for: whoever comes meanwhile to read it waits behind us."""

SLICE = 10_000
"""Events moved in one transaction."""

_PRESENT = Identifier(ledger.SCHEMA, "events")
_PARTS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'ledger.events'::regclass ORDER BY c.relname"""
_INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisprimary
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'ledger.events'::regclass"""
_GRANTS = """
SELECT a.privilege_type, CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END
FROM pg_class c, aclexplode(c.relacl) AS a WHERE c.oid = 'ledger.events'::regclass AND a.grantee <> c.relowner"""
_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = 'ledger.events'::regclass AND attnum > 0 AND NOT attisdropped"""
_NEWEST = "SELECT recorded_at FROM ONLY {} ORDER BY seq DESC LIMIT 1"
_EMPTY = datetime(1970, 1, 1, tzinfo=UTC)

_OPEN = """
SELECT ctid FROM ONLY {part} AS e
WHERE EXISTS (
    SELECT FROM ledger.series AS s WHERE s.series_uid = e.series_uid
    AND (s.state = 'receiving' OR s.state <> 'deleted' AND e.type <> 'hermes.v1.instance.stored')
) OR e.about IS NOT NULL AND (
    EXISTS (SELECT FROM ledger.associations WHERE 'association:' || association_id = e.about AND closed_at IS NULL)
    OR EXISTS (SELECT FROM ledger.services WHERE 'service:' || instance = e.about AND state = 'started')
    OR EXISTS (SELECT FROM ledger.alerts WHERE 'alert:' || alert_id = e.about AND cleared_at IS NULL)
    OR EXISTS (SELECT FROM ledger.studies WHERE 'study:' || study_uid = e.about AND state = 'held')
    OR EXISTS (SELECT FROM ledger.series WHERE 'study:' || study_uid = e.about AND state <> 'deleted')
) LIMIT %s"""
_MOVE = """
WITH moved AS (DELETE FROM ONLY {part} WHERE ctid = ANY(ARRAY({open})) RETURNING {names})
, kept AS (
    INSERT INTO ledger.events ({names}, recorded_at) SELECT {names}, %s FROM moved ON CONFLICT (id) DO NOTHING
)
SELECT count(*) FROM moved"""


def close_month(cursor: Cursor, now: datetime) -> str | None:
    """Close the present part if its month is over; return the name that it has from now on.

    Raises :class:`InUseError` while somebody reads it for long.
    """
    _alone(cursor)
    cursor.execute("SELECT recorded_at FROM ONLY ledger.events ORDER BY seq LIMIT 1")
    first = cursor.fetchone()
    if first is None or not is_over(first[0], now):
        return None
    name = part_name(first[0], _names(cursor))
    _close(cursor, name)
    return name


def parts(cursor: Cursor) -> list[Part]:
    """Return the closed parts. One without any event is as old as can be."""
    found = []
    for name in _names(cursor):
        cursor.execute(SQL(_NEWEST).format(Identifier(ledger.SCHEMA, name)))
        row = cursor.fetchone()
        found.append(Part(name, row[0] if row else _EMPTY))
    return found


def move_open(cursor: Cursor, name: str, now: datetime) -> int:
    """Move up to :data:`SLICE` events about what is not over from a part to the present one; return how many."""
    _alone(cursor)
    part = Identifier(ledger.SCHEMA, name)
    names = SQL(", ").join(Identifier(each) for each in _columns(cursor) if each != "recorded_at")
    cursor.execute(SQL(_MOVE).format(part=part, open=SQL(_OPEN).format(part=part), names=names), [SLICE, now])
    [(moved,)] = cursor.fetchall()
    return int(moved)


def drop(cursor: Cursor, name: str, now: datetime) -> bool:
    """Drop a part, unless something in it has to be moved first; return whether it is gone.

    Raises :class:`InUseError` while somebody reads it for long.
    """
    if move_open(cursor, name, now):
        return False
    part = Identifier(ledger.SCHEMA, name)
    _have_alone(cursor, part)
    cursor.execute(SQL("DROP TABLE {}").format(part))
    return True


def _alone(cursor: Cursor) -> None:
    """Keep every bookkeeper out for the rest of the transaction; one that records is waited for two seconds at most."""
    cursor.execute("SET LOCAL lock_timeout = '2s'")
    cursor.execute("SET LOCAL statement_timeout = '10min'")
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _have_alone(cursor: Cursor, table: Identifier) -> None:
    """Lock a table against everybody, readers too; raise :class:`InUseError` rather than wait longer than a moment."""
    cursor.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(PATIENCE)))
    try:
        cursor.execute(SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(table))
    except LockNotAvailable as error:
        raise InUseError("somebody reads the events for long") from error


def _close(cursor: Cursor, name: str) -> None:
    cursor.execute(_INDEXES)
    indexes: Sequence[tuple[str, str, bool]] = cursor.fetchall()
    cursor.execute(_GRANTS)
    grants = cursor.fetchall()
    closed = Identifier(ledger.SCHEMA, name)
    for each in (_PRESENT, *(Identifier(ledger.SCHEMA, child) for child in _names(cursor))):
        _have_alone(cursor, each)
    suffix = name.removeprefix("events")
    for index, _, _ in indexes:
        renamed = Identifier(f"{index[: 63 - len(suffix)]}{suffix}")
        cursor.execute(SQL("ALTER INDEX {} RENAME TO {}").format(Identifier(ledger.SCHEMA, index), renamed))
    children = _names(cursor)
    cursor.execute(SQL("ALTER TABLE {} RENAME TO {}").format(_PRESENT, Identifier(name)))
    cursor.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES)").format(_PRESENT, closed))
    for index, definition, is_primary in indexes:
        cursor.execute(definition)
        if is_primary:
            constraint = "ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY USING INDEX {}"
            cursor.execute(SQL(constraint).format(_PRESENT, Identifier(index), Identifier(index)))
    for privilege, grantee in grants:
        to = SQL("PUBLIC") if grantee is None else Identifier(grantee)
        cursor.execute(SQL("GRANT {} ON {} TO {}").format(SQL(privilege), _PRESENT, to))
    for child in children:
        each = Identifier(ledger.SCHEMA, child)
        cursor.execute(SQL("ALTER TABLE {} NO INHERIT {}").format(each, closed))
        cursor.execute(SQL("ALTER TABLE {} INHERIT {}").format(each, _PRESENT))
    cursor.execute(SQL("ALTER TABLE {} INHERIT {}").format(closed, _PRESENT))


def _names(cursor: Cursor) -> list[str]:
    cursor.execute(_PARTS)
    return [row[0] for row in cursor.fetchall()]


def _columns(cursor: Cursor) -> list[str]:
    cursor.execute(_COLUMNS)
    return [row[0] for row in cursor.fetchall()]

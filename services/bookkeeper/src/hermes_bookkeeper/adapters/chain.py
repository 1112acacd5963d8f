"""The chain of the audit in PostgreSQL (ADR-0034): rows get their place in the transaction that writes them."""

import hmac
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.extras import execute_values

from hermes_common.auditchain import Anchor, AuditRow, ChainKey, Head, Link, Page, Report, Walk, genesis, link

log = logging.getLogger(__name__)

ADOPTION: Final = timedelta(days=1)
"""For how long rows without a place are taken over: the release before may still be writing beside us."""
SLICE: Final = 2000
"""Rows taken over in one transaction, or read at once."""

_SAID = "number, event_id, time, actor, action, about, address, detail::text"
_ROWS = f"SELECT {_SAID} FROM ledger.audit WHERE sequence IS NULL AND "  # noqa: S608  # our columns
_BEHIND = "number > coalesce((SELECT number FROM ledger.audit WHERE sequence = %s), 0)"
_HEAD = "SELECT began_at, adopt_until, genesis, genesis_key_id, sequence, hash FROM ledger.audit_chain WHERE id = 1"
_FAR: Final = 2**62
"""No chain comes to this place: who put a row there wants the places to end."""
_GREATEST = f"SELECT coalesce(max(sequence), 0) FROM ledger.audit WHERE sequence < {_FAR}"  # noqa: S608  # our number
_LAST = "SELECT sequence, hash FROM ledger.audit WHERE sequence IS NOT NULL ORDER BY sequence DESC LIMIT 1"
_OTHERS = "SELECT EXISTS (SELECT FROM ledger.audit WHERE sequence IS NULL AND event_id <> ALL(%s))"
_BEGIN = "INSERT INTO ledger.audit_chain VALUES (1, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_PLACE = """
UPDATE ledger.audit AS a SET sequence = v.sequence, previous = v.previous, hash = v.hash, key_id = v.key_id,
adopted = v.adopted
FROM (VALUES %s) AS v (number, sequence, previous, hash, key_id, adopted) WHERE a.number = v.number"""
_UNPLACED = f"""SELECT {_SAID}, sequence FROM ledger.audit WHERE (sequence IS NULL OR sequence < 1) AND number >= %s
ORDER BY number LIMIT %s"""  # noqa: S608  # our columns
_WALK = f"""SELECT {_SAID}, sequence, previous, hash, key_id, adopted FROM ledger.audit WHERE sequence >= %s
ORDER BY sequence LIMIT %s"""  # noqa: S608  # our columns


def append(cursor: Cursor, event_ids: Sequence[str], key: ChainKey, now: datetime) -> None:
    """Give the rows that this transaction has inserted the next places; whoever else would do so waits."""
    if event_ids:
        head = _locked(cursor, event_ids, key, now)
        cursor.execute(_ROWS + "event_id = ANY(%s) ORDER BY number", [list(event_ids)])
        _place(cursor, head, _read(cursor), key, adopted=False)


def adopt(cursor: Cursor, key: ChainKey, now: datetime) -> int:
    """Give up to :data:`SLICE` rows without a place theirs, while that is allowed; return how many.

    A row that appears without one later was not written by a bookkeeper, and stays without.
    """
    cursor.execute("SELECT EXISTS (SELECT FROM ledger.audit WHERE sequence IS NULL)")
    if cursor.fetchone() != (True,):
        return 0
    head = _locked(cursor, (), key, now)
    if now >= head.adopt_until:
        return 0
    if not hmac.compare_digest(head.genesis, genesis(key, head.began_at, head.adopt_until)):
        log.error("rows of the audit are not taken over: the beginning of its chain is not under our key")
        return 0
    # Those before the last that has a place are looked for only where there is none behind it: they are few and late.
    cursor.execute(_ROWS + _BEHIND + " ORDER BY number LIMIT %s", [head.sequence, SLICE])
    rows = _read(cursor)
    if not rows:
        cursor.execute(_ROWS + "TRUE ORDER BY number LIMIT %s", [SLICE])
        rows = _read(cursor)
    _place(cursor, head, rows, key, adopted=True)
    return len(rows)


def head(cursor: Cursor) -> Head | None:
    """Return the head of the chain; None before its first row."""
    cursor.execute(_HEAD)
    found = cursor.fetchone()
    return None if found is None else Head(*found)


def key_id_at(cursor: Cursor, sequence: int) -> str:
    """Return the id of the key of the row at a place; empty if there is none, or it was hashed without one."""
    cursor.execute("SELECT key_id FROM ledger.audit WHERE sequence = %s", [sequence])
    found = cursor.fetchone()
    return "" if found is None else str(found[0])


def hash_at(cursor: Cursor, sequence: int) -> str:
    """Return the hash of the row at a place; empty if there is none."""
    cursor.execute("SELECT hash FROM ledger.audit WHERE sequence = %s", [sequence])
    found = cursor.fetchone()
    return "" if found is None else str(found[0])


def verify(cursor: Cursor, key: ChainKey, anchors: Sequence[Anchor] | None, now: datetime) -> Report:
    """Go along the whole chain, in one snapshot. ``anchors`` were read before; None where the bus did not answer."""
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def page(query: str) -> Page:
        def rows(first: int) -> list[tuple[Any, ...]]:
            cursor.execute(query, [first, SLICE])
            return cursor.fetchall()

        return rows

    return Walk(head(cursor), key, anchors, now).over(page(_WALK), page(_UNPLACED))


def _read(cursor: Cursor) -> list[AuditRow]:
    return [AuditRow(*row) for row in cursor.fetchall()]


def _locked(cursor: Cursor, own: Sequence[str], key: ChainKey, now: datetime) -> Head:
    """Return the head, locked until the end of the transaction. There is one from the first row on.

    Where it was lost the chain goes on after its last row, and nothing is taken over: it stays to be seen.
    """
    cursor.execute(_HEAD + " FOR UPDATE")
    found = cursor.fetchone()
    if found is None:
        cursor.execute(_LAST)
        last = cursor.fetchone()
        cursor.execute(_OTHERS, [list(own)])
        is_found = last is None and cursor.fetchone() == (True,)
        until = now + ADOPTION if is_found else now
        begun = genesis(key, now, until)
        sequence, hash_ = last or (0, begun)
        cursor.execute(_BEGIN, [now, until, begun, key.key_id, sequence, hash_])
        cursor.execute(_HEAD + " FOR UPDATE")
        found = cursor.fetchone()
    if found is None:
        raise AssertionError("the head of the audit's chain was just written")
    return Head(*found)


def _place(cursor: Cursor, head: Head, rows: Sequence[AuditRow], key: ChainKey, adopted: bool) -> None:
    if not rows:
        return
    cursor.execute(_GREATEST)  # a place that somebody else has put a row at is no reason to stop: it is seen as such
    [(greatest,)] = cursor.fetchall()
    after = max(head.sequence if head.sequence < _FAR else 0, greatest)
    placed = list(_links(replace(head, sequence=after), rows, key, adopted))
    values = [(row.number, its.sequence, its.previous, its.hash, its.key_id, its.adopted) for row, its in placed]
    execute_values(cursor, _PLACE, values, page_size=SLICE)
    last = placed[-1][1]
    cursor.execute("UPDATE ledger.audit_chain SET sequence = %s, hash = %s WHERE id = 1", [last.sequence, last.hash])


def _links(head: Head, rows: Sequence[AuditRow], key: ChainKey, adopted: bool) -> Iterator[tuple[AuditRow, Link]]:
    sequence, previous = head.sequence, head.hash
    for row in rows:
        its = link(key, row, sequence + 1, previous, adopted)
        yield row, its
        sequence, previous = its.sequence, its.hash

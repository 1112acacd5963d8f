"""The chain of the audit on a real PostgreSQL: whoever tampers with it is found, and the place is named."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from pydantic import SecretStr

from hermes_bookkeeper.adapters import chain
from hermes_bookkeeper.adapters.audit import SqlChain
from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.adapters.ledger import SqlLedger
from hermes_bookkeeper.core.facts import read
from hermes_bookkeeper.handlers.auditing import AuditKeeper
from hermes_bookkeeper.rebuild import make_again
from hermes_bookkeeper.settings import Settings
from hermes_common import subjects
from hermes_common.auditchain import NO_KEY, Anchor, genesis
from hermes_common.events import AuditAnchored, UserLoggedIn
from hermes_common.runtime.auditanchors import BusAnchors
from hermes_common.runtime.clock import now
from hermes_common.runtime.sealing import chain_key

pytestmark = pytest.mark.servers
SECRET = SecretStr("a key of at least 32 characters ...")
KEY = chain_key(SECRET)
OTHER = chain_key(SecretStr("another key of at least 32 characters"))


def facts(messages):
    return [read(message.subject, message.headers, message.data, message.sequence) for message in messages]


def sign_ins(stream, count, first=1):
    return facts(
        stream.say(UserLoggedIn(user=f"u{n}", actor=f"u{n}", address="10.0.0.9", detail="via a page"), f"sign-in-{n}")
        for n in range(first, first + count)
    )


@pytest.fixture
async def chained(database, stream):
    """Ten rows of the audit, in a chain under our key."""
    await SqlLedger(database, KEY).record(sign_ins(stream, 4))
    await SqlLedger(database, KEY).record(sign_ins(stream, 6, 5))
    return SqlChain(database, KEY)


async def places(chained, anchors=()):
    report = await chained.verify(anchors)
    return [(each.fault.value, each.sequence) for each in report.breaks]


async def test_every_row_has_its_place_and_the_chain_is_whole(chained, query):
    report = await chained.verify(())
    assert (report.state, report.rows, report.adopted, report.keyless, report.waiting) == ("whole", 10, 0, 0, 0)
    rows = query("SELECT sequence, previous, hash, key_id FROM ledger.audit ORDER BY number")
    assert [row[0] for row in rows] == list(range(1, 11))
    assert [row[1] for row in rows[1:]] == [row[2] for row in rows[:-1]]
    assert {row[3] for row in rows} == {KEY.key_id}
    assert query("SELECT sequence, hash FROM ledger.audit_chain") == [(10, rows[-1][2])]


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'somebody else'",
        "time = time + interval '1 microsecond'",
        "action = 'user.logged_out'",
        "about = ''",
        "address = '10.0.0.10'",
        "detail = '{}'",
        "event_id = 'x'",
        "adopted = true",
        "hash = repeat('0', 64)",
    ],
)
async def test_a_changed_row_is_found_and_named(chained, query, change):
    [(of,)] = query("SELECT time FROM ledger.audit WHERE sequence = 4")
    query(f"UPDATE ledger.audit SET {change} WHERE sequence = 4")  # noqa: S608  # from the list above
    report = await chained.verify(())
    assert report.state == "broken"
    assert report.breaks[0].fault == "changed"
    assert report.breaks[0].sequence == 4
    assert "row 4, of " in report.words
    assert abs(report.breaks[0].time - of) <= timedelta(microseconds=1)


async def test_a_deleted_row_is_found_and_named(chained, query):
    query("DELETE FROM ledger.audit WHERE sequence IN (1, 6, 7)")
    assert await places(chained) == [("missing", 1), ("missing", 6)]
    assert "row 1 is missing before the row of " in (await chained.verify(())).words


async def test_rows_whose_places_were_closed_up_after_a_deletion_are_found(chained, query):
    query("DELETE FROM ledger.audit WHERE sequence = 6")
    query("UPDATE ledger.audit SET sequence = -sequence + 1 WHERE sequence > 6")
    query("UPDATE ledger.audit SET sequence = -sequence WHERE sequence < 0")
    assert (await places(chained))[0] == ("unlinked", 6)


COLUMNS = "event_id, time, actor, action, about, address, detail"


@pytest.mark.parametrize("key_id", ["", KEY.key_id])
async def test_an_inserted_row_is_found_and_named(chained, query, key_id):
    query(f"INSERT INTO ledger.audit ({COLUMNS}) VALUES ('forged', now(), 'eve', 'user.changed', 'a', '', '{{}}')")  # noqa: S608
    assert await chained.adopt() == 0, "no bookkeeper wrote it, and none makes it one of its own"
    report = await chained.verify(())
    assert [(each.fault, each.number) for each in report.breaks] == [("inserted", 11)]
    query("UPDATE ledger.audit SET sequence = -sequence - 1 WHERE sequence > 5")
    query("UPDATE ledger.audit SET sequence = -sequence WHERE sequence < 0")
    forged = "sequence = 6, previous = (SELECT hash FROM ledger.audit WHERE sequence = 5), hash = repeat('a', 64)"
    query(f"UPDATE ledger.audit SET {forged}, key_id = %s WHERE event_id = 'forged'", key_id)  # noqa: S608
    assert (await places(chained))[0] == ("changed" if key_id else "keyless", 6)


@pytest.mark.parametrize(
    ("sequence", "number"),
    [("NULL", "0"), ("NULL", "-9223372036854775808"), ("0", "11"), ("-9223372036854775808", "-1"), ("-5", "11")],
)
async def test_a_row_that_was_put_in_before_the_first_is_found(chained, query, sequence, number):
    query(
        f"INSERT INTO ledger.audit (number, {COLUMNS}, sequence) OVERRIDING SYSTEM VALUE "  # noqa: S608
        f"VALUES ({number}, 'forged', now(), 'eve', 'user.changed', 'a', '', '{{}}', {sequence})"
    )
    report = await chained.verify(())
    assert [(each.fault, each.number) for each in report.breaks] == [("inserted", int(number))]


async def test_rows_that_changed_places_are_found(chained, query):
    query("UPDATE ledger.audit SET sequence = CASE sequence WHEN 3 THEN -8 ELSE -3 END WHERE sequence IN (3, 8)")
    query("UPDATE ledger.audit SET sequence = -sequence WHERE sequence < 0")
    found = await places(chained)
    assert {sequence for _, sequence in found} >= {3, 8}
    assert found[0][1] == 3
    swapped = "event_id = o.event_id || '-', actor = o.actor, about = o.about, detail = o.detail"
    query(f"UPDATE ledger.audit a SET {swapped} FROM ledger.audit o WHERE (a.sequence, o.sequence) IN ((1, 2), (2, 1))")  # noqa: S608
    assert {sequence for _, sequence in await places(chained)} >= {1, 2, 3, 8}


async def test_a_tail_that_was_cut_off_is_found_with_and_without_the_head(chained, query):
    anchor = Anchor(
        10, *query("SELECT hash FROM ledger.audit WHERE sequence = 10")[0], datetime(2026, 5, 1, tzinfo=UTC)
    )
    query("DELETE FROM ledger.audit WHERE sequence > 7")
    report = await chained.verify(())
    assert [(each.fault, each.sequence) for each in report.breaks] == [("cut", 8)]
    assert "rows 8 to 10 are missing at the end" in report.words
    query("UPDATE ledger.audit_chain SET sequence = 7, hash = (SELECT hash FROM ledger.audit WHERE sequence = 7)")
    assert (await chained.verify(())).state == "whole", "nothing in the tables tells it any more"
    report = await chained.verify([anchor])
    assert [(each.fault, each.sequence) for each in report.breaks] == [("cut", 8)]
    assert "row 10 was said on the bus on 2026-05-01" in report.words


async def test_a_tail_that_was_cut_off_and_has_grown_again_is_found_by_what_was_said_on_the_bus(
    chained, database, query, stream
):
    anchor = Anchor(9, *query("SELECT hash FROM ledger.audit WHERE sequence = 9")[0], datetime(2026, 5, 1, tzinfo=UTC))
    query("DELETE FROM ledger.audit WHERE sequence > 7")
    query("UPDATE ledger.audit_chain SET sequence = 7, hash = (SELECT hash FROM ledger.audit WHERE sequence = 7)")
    await SqlLedger(database, KEY).record(sign_ins(stream, 3, 11))
    assert (await chained.verify(())).state == "whole"
    assert await places(chained, [anchor]) == [("replaced", 9)]


async def test_a_chain_without_its_head_goes_on_and_says_so(chained, database, query, stream):
    query("DELETE FROM ledger.audit_chain")
    assert await places(chained) == [("head", 10)]
    await SqlLedger(database, KEY).record(sign_ins(stream, 2, 11))
    report = await chained.verify(())
    assert [(each.fault, each.sequence) for each in report.breaks] == [("unlinked", 1)], "it began otherwise"
    assert report.rows == 12


async def test_the_beginning_cannot_be_moved_to_let_rows_in(chained, query):
    query("UPDATE ledger.audit_chain SET adopt_until = now() + interval '1 year'")
    query(f"INSERT INTO ledger.audit ({COLUMNS}) VALUES ('forged', now(), 'eve', 'user.changed', 'a', '', '{{}}')")  # noqa: S608
    assert await chained.adopt() == 0
    assert ("beginning", None) in await places(chained)


@pytest.mark.parametrize("place", [11, 2**63 - 1])
async def test_a_row_at_a_place_to_come_does_not_stop_the_recording(chained, database, query, stream, place):
    forged = f"('forged', now(), 'eve', 'x', 'a', '', '{{}}', {place})"
    query(f"INSERT INTO ledger.audit ({COLUMNS}, sequence) VALUES {forged}")  # noqa: S608
    await SqlLedger(database, KEY).record(sign_ins(stream, 3, 11))
    assert query("SELECT count(*) FROM ledger.audit WHERE sequence IS NOT NULL") == [(14,)]
    assert (await places(chained))[0][1] == (11 if place == 11 else 14)


async def test_a_head_at_the_last_place_there_is_does_not_stop_the_recording(chained, database, query, stream):
    query("UPDATE ledger.audit_chain SET sequence = 9223372036854775807")
    await SqlLedger(database, KEY).record(sign_ins(stream, 3, 11))
    assert (await chained.verify(())).rows == 13


async def test_rows_that_were_committed_late_are_taken_over_too(chained, query):
    """A row of the release before may be numbered before, and committed after, rows that have their place."""
    begun = query("SELECT began_at, began_at + interval '1 day' FROM ledger.audit_chain")[0]
    query("UPDATE ledger.audit_chain SET adopt_until = %s, genesis = %s", begun[1], genesis(KEY, begun[0], begun[1]))
    row = "now(), 'ann', 'x', 'a', '', '{}'"
    query(f"INSERT INTO ledger.audit ({COLUMNS}) VALUES ('behind', {row})")  # noqa: S608
    late = f"INSERT INTO ledger.audit (number, {COLUMNS}) OVERRIDING SYSTEM VALUE VALUES (0, 'late', {row})"  # noqa: S608
    query(late)
    assert [await chained.adopt(), await chained.adopt(), await chained.adopt()] == [1, 1, 0]
    assert query("SELECT event_id FROM ledger.audit ORDER BY sequence DESC LIMIT 2") == [("late",), ("behind",)]


async def test_twenty_writers_at_a_time_leave_a_whole_chain(ledger_url, stream):
    events = sign_ins(stream, 400)

    def write(number):
        connection = psycopg2.connect(ledger_url.get_secret_value().replace("+psycopg2", ""))
        try:
            for fact in events[number::20]:
                with (
                    connection,
                    connection.cursor() as cursor,
                ):  # without the bookkeeper's own lock: the head's is enough
                    said = (fact.id, fact.time, fact.event.actor)
                    insert = "INSERT INTO ledger.audit (event_id, time, actor, action) VALUES (%s, %s, %s, 'x')"
                    cursor.execute(insert, said)
                    chain.append(cursor, [fact.id], KEY, now())
        finally:
            connection.close()

    await asyncio.gather(*(asyncio.to_thread(write, number) for number in range(20)))
    database = Database(ledger_url, "test")
    report = await SqlChain(database, KEY).verify(())
    await database.close()
    assert (report.state, report.rows) == ("whole", 400)


async def test_several_bookkeepers_leave_a_whole_chain(ledger_url, stream):
    events = sign_ins(stream, 300)
    databases = [Database(ledger_url, f"b{number}") for number in range(6)]

    async def work(number):
        for start in range(0, 300, 10):  # each event is brought to every bookkeeper
            await SqlLedger(databases[number], KEY).record(events[start : start + 10])

    await asyncio.gather(*(work(number) for number in range(6)))
    report = await SqlChain(databases[0], KEY).verify(())
    assert (report.state, report.rows) == ("whole", 300)
    for each in databases:
        await each.close()


async def test_rows_of_the_release_before_are_taken_over_while_it_writes_beside_us(database, ledger_url, query, stream):
    said = "now(), 'ann', 'user.logged_in', 'ann', '', '{\"a\": 1.50}'"
    old = f"INSERT INTO ledger.audit ({COLUMNS}) VALUES (%s, {said})"  # noqa: S608  # our columns
    for number in range(5000):
        query(old, f"old-{number}")
    chained = SqlChain(database, KEY)
    assert (await chained.verify(())).waiting == 5000
    await SqlLedger(database, KEY).record(sign_ins(stream, 2))
    query(old, "beside us")
    while await chained.adopt():
        pass
    report = await chained.verify(())
    assert (report.state, report.rows, report.adopted, report.waiting) == ("whole", 5003, 5001, 0)
    assert "5001 taken over as they were found" in report.words
    query("UPDATE ledger.audit SET actor = 'eve' WHERE event_id = 'old-4000'")
    assert [each.fault for each in (await chained.verify(())).breaks] == ["changed"]
    query("DELETE FROM ledger.audit WHERE event_id = 'old-4000'")
    query("UPDATE ledger.audit_chain SET began_at = began_at - interval '2 days', adopt_until = now()")
    query(old, "too late")
    assert await chained.adopt() == 0


async def test_without_a_key_it_is_said_that_hashes_can_be_computed_again_and_a_key_goes_on_from_there(
    database, query, stream
):
    await SqlLedger(database).record(sign_ins(stream, 3))
    report = await SqlChain(database, NO_KEY).verify(())
    assert (report.state, report.keyless) == ("whole", 3)
    assert "3 without a key" in report.words
    await SqlLedger(database, KEY).record(sign_ins(stream, 3, 4))
    report = await SqlChain(database, KEY).verify(())
    assert (report.state, report.rows, report.keyless) == ("whole", 6, 3)
    other = await SqlChain(database, OTHER).verify(())
    assert (other.state, other.unchecked) == ("whole", 3)
    query("UPDATE ledger.audit SET key_id = '', actor = 'eve' WHERE sequence = 6")
    assert await places(SqlChain(database, KEY)) == [("keyless", 6)]


async def test_rows_that_were_changed_and_are_said_to_be_under_another_key_are_found(bus, chained, query):
    await AuditKeeper(chained, BusAnchors(bus), bus, now).tick()
    query("UPDATE ledger.audit SET actor = 'eve', key_id = 'deadbeef' WHERE sequence <= 7")
    assert await places(chained) == [("keyless", sequence) for sequence in range(1, 8)], "it began under our key"
    query("UPDATE ledger.audit SET key_id = 'deadbeef'")
    query("UPDATE ledger.audit_chain SET genesis_key_id = 'deadbeef'")
    assert ("replaced", 10) in await places(chained, await BusAnchors(bus).all()), "the bus knows the key, too"


async def test_another_key_goes_on_and_what_is_under_the_former_one_is_said_to_be_unchecked(
    bus, database, chained, stream
):
    await AuditKeeper(chained, BusAnchors(bus), bus, now).tick()
    other = SqlChain(database, OTHER)
    keeper = AuditKeeper(other, BusAnchors(bus), bus, lambda: now() + timedelta(days=2))
    assert await keeper.tick() is None, "the head, which is still under the former key, is said again"
    await SqlLedger(database, OTHER).record(sign_ins(stream, 2, 11))
    assert await keeper.tick() is None
    report = await other.verify(await BusAnchors(bus).all())
    assert (report.state, report.rows, report.unchecked, report.anchored) == ("whole", 12, 10, 12)


async def test_a_key_that_is_not_that_of_the_chain_says_nothing_of_it(chained, database):
    report = await SqlChain(database, OTHER).verify(())
    assert report.state == "unknown"
    assert "another HERMES_SECRET_KEY" in report.words


async def test_a_repetition_with_another_time_changes_no_row(chained, database, stream, query):
    before = query("SELECT * FROM ledger.audit ORDER BY number")
    await SqlLedger(database, KEY).record(facts([stream.again(stream.messages[2])]))
    assert query("SELECT * FROM ledger.audit ORDER BY number") == before


async def test_a_rebuild_takes_the_chain_over(bus, chained, ledger_url, query):
    before = query("SELECT * FROM ledger.audit ORDER BY number"), query("SELECT * FROM ledger.audit_chain")
    await make_again(Settings(database_url=ledger_url, secret_key=SECRET), bus)
    assert (query("SELECT * FROM ledger.audit ORDER BY number"), query("SELECT * FROM ledger.audit_chain")) == before
    assert (await chained.verify(())).state == "whole"


class Clock:
    def __init__(self):
        self.at = datetime.now(UTC)

    def __call__(self):
        return self.at


async def said(bus, subject):
    return [message async for message in bus.read(subjects.EVENTS, subject, 0)]


async def test_the_head_is_said_on_the_bus_and_a_cut_since_is_an_alert(bus, chained, database, query, stream):
    clock = Clock()
    anchors = BusAnchors(bus)
    keeper = AuditKeeper(chained, anchors, bus, clock)
    assert await keeper.tick() is None
    assert await keeper.tick() is None
    [anchor] = await anchors.all()
    assert (anchor.sequence, anchor.hash) == (10, query("SELECT hash FROM ledger.audit WHERE sequence = 10")[0][0])
    await SqlLedger(database, KEY).record(sign_ins(stream, 1, 11))
    await keeper.tick()
    assert [each.sequence for each in await anchors.all()] == [10, 11]
    clock.at += timedelta(days=1, minutes=1)
    await keeper.tick()
    assert [each.sequence for each in await anchors.all()] == [10, 11, 11], "the stream forgets"
    assert await said(bus, "hermes.v1.alert.raised") == []
    query("DELETE FROM ledger.audit WHERE sequence > 7")
    query("UPDATE ledger.audit_chain SET sequence = 7, hash = (SELECT hash FROM ledger.audit WHERE sequence = 7)")
    alert = await keeper.tick()
    assert alert is not None
    assert (alert.event.kind, alert.event.severity) == ("audit_broken", "critical")
    assert "row 11" in alert.event.message
    assert alert.event.message.startswith("The audit was tampered with, or rows of it were lost: ")
    assert len(await said(bus, "hermes.v1.alert.raised")) == 1
    assert (await keeper.check()).state == "broken", "what was said before is still on the bus"


async def test_of_more_anchors_than_are_compared_the_last_are(bus, monkeypatch):
    monkeypatch.setattr("hermes_common.runtime.auditanchors.MOST", 3)
    for sequence in range(1, 6):
        await bus.publish(AuditAnchored(sequence=sequence, hash="h"))
    assert [each.sequence for each in await BusAnchors(bus).all()] == [3, 4, 5]


async def test_a_changed_row_is_an_alert_at_the_next_check(bus, chained, query):
    clock = Clock()
    keeper = AuditKeeper(chained, BusAnchors(bus), bus, clock)
    assert await keeper.tick() is None
    query("UPDATE ledger.audit SET actor = 'eve' WHERE sequence = 2")
    assert await keeper.tick() is None, "it is not looked at each time"
    clock.at += timedelta(hours=7)
    alert = await keeper.tick()
    assert alert is not None
    assert "row 2, of 2026-01-01" in alert.event.message
    assert alert.event.message.startswith("The audit was tampered with, or rows of it were lost: ")


async def test_a_hundred_thousand_rows_are_checked_in_a_minute(database, query):
    query(
        "INSERT INTO ledger.audit (event_id, time, actor, action) "
        "SELECT 'e' || n, now(), 'ann', 'x' FROM generate_series(1, 100000) n"
    )
    chained = SqlChain(database, KEY)
    while await chained.adopt():
        pass
    begun = time.monotonic()
    report = await chained.verify(())
    assert (report.state, report.rows) == ("whole", 100_000)
    assert time.monotonic() - begun < 60

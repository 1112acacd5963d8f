"""The chain of the audit on its page and in the API, over rows that were chained as a bookkeeper does it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Text, cast, create_engine, insert, select, text

from hermes_common import ledger
from hermes_common.auditchain import AuditRow, genesis, link
from hermes_common.events import AuditAnchored
from hermes_common.runtime.sealing import chain_key

pytestmark = pytest.mark.servers
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
CHAIN = "/api/v1/audit/chain"


@pytest.fixture
def chained(web, make_ledger, database_url):
    """Give the row of the samples and 4,999 more their places; return a way to run a statement."""
    make_ledger()
    key = chain_key(web.settings.secret_key)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        rows = [
            {"event_id": f"c{n}", "time": AT + timedelta(seconds=n), "actor": "ann", "action": "user.changed"}
            for n in range(4999)
        ]
        connection.execute(insert(ledger.audit), rows)
        names = ("number", "event_id", "time", "actor", "action", "about", "address")
        columns = (*(ledger.audit.c[name] for name in names), cast(ledger.audit.c.detail, Text))
        begun = previous = genesis(key, AT, AT)
        placed = []
        found = connection.execute(select(*columns).order_by(ledger.audit.c.number)).all()
        for sequence, row in enumerate(found, 1):
            its = link(key, AuditRow(*row), sequence, previous, adopted=False)
            previous = its.hash
            placed.append({"n": row[0], "s": sequence, "p": its.previous, "h": its.hash, "k": its.key_id})
        place = "UPDATE ledger.audit SET sequence = :s, previous = :p, hash = :h, key_id = :k WHERE number = :n"
        connection.execute(text(place), placed)
        head = {"began_at": AT, "adopt_until": AT, "genesis": begun, "genesis_key_id": key.key_id}
        connection.execute(insert(ledger.audit_chain).values(id=1, sequence=5000, hash=previous, **head))

    def run(statement):
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.all() if result.returns_rows else []

    yield run
    engine.dispose()


async def test_a_whole_chain_is_said_on_the_page_and_in_the_api(viewer, api, chained):
    found = (await api.get(CHAIN)).json()
    assert (found["state"], found["rows"], found["breaks"], found["anchors"]) == ("whole", 5000, [], 0)
    page = (await viewer.get("/audit")).text
    assert "The chain of the rows is whole: 5000 rows." in page
    assert "Checked" in page


async def test_a_broken_place_is_named_on_the_page_and_in_the_api(viewer, api, chained):
    chained("UPDATE ledger.audit SET actor = 'somebody' WHERE sequence = 4321")
    found = (await api.get(CHAIN)).json()
    assert found["state"] == "broken"
    assert [(each["fault"], each["sequence"]) for each in found["breaks"]] == [("changed", 4321)]
    page = (await viewer.get("/audit")).text
    assert "tampered with" in page
    assert "row 4321, of 2026-05-01 " in page


async def test_a_tail_that_was_cut_off_with_its_head_is_told_by_the_bus(api, bus, chained):
    [(last, key_id)] = chained("SELECT hash, key_id FROM ledger.audit WHERE sequence = 5000")
    await bus.publish(AuditAnchored(sequence=5000, hash=last, key_id=key_id))
    assert (await api.get(CHAIN)).json()["anchored"] == 5000
    chained("DELETE FROM ledger.audit WHERE sequence > 4990")
    chained(
        "UPDATE ledger.audit_chain SET sequence = 4990, hash = (SELECT hash FROM ledger.audit WHERE sequence = 4990)"
    )
    found = (await api.get(CHAIN)).json()
    assert [(each["fault"], each["sequence"]) for each in found["breaks"]] == [("cut", 4991)]
    assert "rows 4991 to 5000 are missing" in found["words"]


async def test_rows_without_a_place_are_all_seen(api, chained):
    chained(
        "INSERT INTO ledger.audit (event_id, time, actor, action) "
        "SELECT 'forged' || n, now(), 'eve', 'x' FROM generate_series(1, 2500) n"
    )
    found = (await api.get(CHAIN)).json()
    assert (found["broken_at"], len(found["breaks"])) == (2500, 20)
    assert {each["fault"] for each in found["breaks"]} == {"inserted"}


@pytest.mark.parametrize(("sequence", "number"), [("NULL", "-9223372036854775808"), ("0", "-1"), ("-7", "9000")])
async def test_a_row_that_was_put_in_before_the_first_is_seen(api, chained, sequence, number):
    chained(
        "INSERT INTO ledger.audit (number, event_id, time, actor, action, sequence) OVERRIDING SYSTEM VALUE "  # noqa: S608
        f"VALUES ({number}, 'forged', now(), 'eve', 'x', {sequence})"
    )
    found = (await api.get(CHAIN)).json()
    assert [(each["fault"], each["number"]) for each in found["breaks"]] == [("inserted", int(number))]


async def test_without_the_table_of_the_chain_the_page_is_there_and_the_api_says_what_is_missing(viewer, api, chained):
    chained("ALTER TABLE ledger.audit DROP COLUMN sequence, DROP COLUMN previous, DROP COLUMN hash, DROP COLUMN key_id")
    chained("DROP TABLE ledger.audit_chain")
    page = await viewer.get("/audit")
    assert page.status_code == 200
    assert "is being checked" in page.text
    assert (await api.get(CHAIN)).status_code == 503

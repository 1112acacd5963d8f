"""Changes on the way: in the form of a target, in previews, and what was sent on the pages."""

from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg
from sqlalchemy import create_engine, text

from hermes_common.previews import ASK, Difference, Preview, PreviewAsked
from hermes_common.runtime.bus import Bus

from .conftest import SAMPLES

pytestmark = pytest.mark.servers

SERIES, DELIVERY = SAMPLES["SERIES"], SAMPLES["DELIVERY"]
KEY = "planted pseudonym key 4711"
FORM = {
    "name": "Research", "revision": "0", "path": "/data", "path_template": "{sop_instance_uid}", "concurrency": "1",
    "enabled": "yes", "retry.max_attempts": "4", "retry.delay": "10s", "retry.factor": "2", "retry.max_delay": "1h",
    "changes.transcode": "always", "changes.transfer_syntaxes": "jpeg 2000 lossless", "changes.lossy_ratio": "",
    "changes.edits": "prefix PatientID with R-\r\n\r\n remove (0019,100c)", "changes.new_uids": "", "changes.key": KEY,
    "changes.deidentify": "yes", "changes.deidentify.dates": "shift", "changes.deidentify.shift_days": "30",
    "changes.deidentify.burned_in": "require_no", "changes.deidentify.clean_descriptors": "yes",
    "changes.deidentify.words": "ACME Phantom", "changes.deidentify.retain_device": "yes",
}  # fmt: skip


async def test_the_form_says_what_changes_and_keeps_the_key(admin, api: httpx.AsyncClient) -> None:
    made = await admin.post("/targets/_new/folder", FORM)
    assert made.status_code == 303, made.text
    changes = (await api.get("/api/v1/targets")).json()["targets"][0]["changes"]
    assert changes["transfer_syntaxes"] == ["1.2.840.10008.1.2.4.90"]
    assert changes["edits"] == ["prefix PatientID with R-", "remove (0019,100C)"]
    part = changes["deidentify"]
    assert (part["dates"], part["shift_days"], part["burned_in"]) == ("shift", 30, "require_no")
    assert (part["words"], part["retain_device"], part["retain_uids"]) == (["ACME", "Phantom"], True, False)
    page = (await admin.get("/targets/research")).text
    assert "prefix PatientID with R-\nremove (0019,100C)</textarea>" in page
    assert KEY not in page + str(changes)
    again = {**FORM, "revision": "1", "changes.key": "", "changes.deidentify.shift_days": "31"}
    assert (await admin.post("/targets/research", again)).status_code == 303
    after = (await api.get("/api/v1/targets")).json()["targets"][0]["changes"]
    assert (after["key"], after["deidentify"]["shift_days"]) == (changes["key"], 31)
    off = {**again, "revision": "2", "changes.transcode": "never", "changes.edits": "", "changes.transfer_syntaxes": ""}
    off |= {"changes.deidentify": "", "changes.key.remove": "yes"}
    assert (await admin.post("/targets/research", off)).status_code == 303
    assert (await api.get("/api/v1/targets")).json()["targets"][0]["changes"] is None


async def test_a_mistake_in_the_changes_is_shown_where_it_was_typed(admin) -> None:
    wrong = await admin.post("/targets/_new/folder", {**FORM, "changes.edits": "remove PatientNam<b>"})
    assert wrong.status_code == 200
    assert "is no edit" in wrong.text
    assert "<b>" not in wrong.text
    short = await admin.post("/targets/_new/folder", {**FORM, "changes.key": "short"})
    assert "at least 16 characters" in short.text


@pytest.fixture
async def dispatcher(bus: Bus) -> list[PreviewAsked]:
    """What answers on the bus as a dispatcher does; what it was asked."""
    asked: list[PreviewAsked] = []

    async def answer(message: Msg) -> None:
        asked.append(PreviewAsked.model_validate_json(message.data))
        lines = [
            Difference(name="PatientName", vr="PN", before="Doe^<b>", after="P123"),
            Difference(name="StudyDescription", vr="LO", before="x", after=None),
        ]
        found = Preview(ok=True, sop_instance_uid="2.25.9", transfer_syntax_uid="1.2.840.10008.1.2", differences=lines,
                        changed=2, same=12, dispatcher="dispatcher@here")  # fmt: skip
        await message.respond(found.model_dump_json().encode())

    await bus.nc.subscribe(ASK, cb=answer)
    return asked


async def test_the_page_previews_settings_that_are_not_saved(
    admin, api: httpx.AsyncClient, make_ledger: Any, dispatcher: list[PreviewAsked]
) -> None:
    make_ledger()
    page = (await admin.post("/targets/_new/folder/preview", {**FORM, "preview_series": SERIES})).text
    assert "Doe^&lt;b&gt;" in page
    assert "removed" in page
    assert "2 attributes change, 12 stay" in page
    assert 'value="Research"' in page
    assert (await api.get("/api/v1/targets")).json()["targets"] == []
    (asked,) = dispatcher
    assert asked.series_uid == SERIES
    assert asked.instance.key
    assert KEY not in asked.model_dump_json()
    assert asked.target["changes"]["key"].startswith("sealed:v1:")
    for uid, words in (("", "UID of a stored series"), ("1.2.3", "no such instance")):
        assert words in (await admin.post("/targets/_new/folder/preview", {**FORM, "preview_series": uid})).text
    wrong = await admin.post("/targets/_new/folder/preview", {**FORM, "preview_series": SERIES, "changes.key": ""})
    assert "need a key" in wrong.text
    assert len(dispatcher) == 1


async def test_the_api_previews_saved_and_unsaved_settings_for_administrators(
    admin, viewer, api: httpx.AsyncClient, make_ledger: Any, dispatcher: list[PreviewAsked]
) -> None:
    make_ledger()
    assert (await admin.post("/targets/_new/folder", FORM)).status_code == 303
    saved = await api.post("/api/v1/targets/research/preview", json={"series_uid": SERIES})
    assert (saved.status_code, saved.json()["same"]) == (200, 12)
    settings = {"kind": "folder", "name": "n", "path": "/p", "changes": {"edits": ["remove PatientID"]}}
    unsaved = await api.post("/api/v1/targets/other/preview", json={"series_uid": SERIES, "settings": settings})
    assert unsaved.status_code == 200, unsaved.text
    assert [asked.target["slug"] for asked in dispatcher] == ["research", "other"]
    assert (await api.post("/api/v1/targets/gone/preview", json={"series_uid": SERIES})).status_code == 404
    assert (await api.post("/api/v1/targets/research/preview", json={"series_uid": "1.9"})).status_code == 404
    bad = {"series_uid": SERIES, "settings": {**settings, "changes": {"edits": ["x"]}}}
    assert (await api.post("/api/v1/targets/other/preview", json=bad)).status_code == 422
    refused = await viewer.post("/targets/research/preview", {**FORM, "preview_series": SERIES})
    assert refused.status_code == 403
    assert len(dispatcher) == 2


async def test_pages_and_api_say_what_was_sent_instead(
    admin, api: httpx.AsyncClient, make_ledger: Any, database_url: str
) -> None:
    make_ledger()
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE ledger.instance_deliveries SET sent_sop_instance_uid = '2.25.77', sent_digest = 'abcdef01234', "
                "sent_transfer_syntax_uid = '1.2.840.10008.1.2.5' WHERE delivery_id = :id AND result = 'delivered'"
            ),
            {"id": DELIVERY},
        )
    engine.dispose()
    series = (await admin.get(f"/series/{SERIES}")).text
    delivery = (await admin.get(f"/deliveries/{DELIVERY}")).text
    for page in (series, delivery):
        assert "sent as" in page
        assert "2.25.77" in page
        assert "1.2.840.10008.1.2.5" in page
    outcomes = (await api.get(f"/api/v1/deliveries/{DELIVERY}")).json()["outcomes"]
    assert {outcome["sent_sop_instance_uid"] for outcome in outcomes} == {"2.25.77"}

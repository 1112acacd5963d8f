"""The audit as a file: the rows of the page with its filters, as the page shows them. That it was taken is audited."""

import json
from collections.abc import AsyncIterator
from typing import Final

from litestar.response import Stream

from hermes_common.events import ExportMade
from hermes_common.runtime.clock import now
from hermes_web.adapters.outbox import put
from hermes_web.core.spreadsheet import csv_lines
from hermes_web.core.view import View, without_names
from hermes_web.features.audit.queries import AuditItem, list_audit
from hermes_web.features.signin.pages import address_of
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest

COLUMNS: Final = ("time", "actor", "action", "about", "address", "detail", "event_id")
PAGE: Final = 1000
"""Rows read at a time, each page in a transaction of its own: a slow reader holds no connection."""
MOST: Final = 2_000_000
"""Rows of one export; a narrower filter is for more."""


async def export_audit(request: HttpRequest, view: View, actor: str, entity: str) -> Stream:
    """Return the rows as CSV, the newest first; ``view`` says whether what names a patient is masked in details."""
    web = web_of(request)
    event = ExportMade(
        actor=principal_of(request).name,
        query=" ".join(
            ["audit", *(f"{name}:{value}" for name, value in (("actor", actor), ("about", entity)) if value)]
        ),
        format="csv",
        columns=list(COLUMNS),
        masked=view.masks,
        address=address_of(request),
    )
    await web.database.run(put, event)
    web.outbox.nudge()
    name = f"audit-{now():%Y%m%d-%H%M%S}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Stream(_lines(web, view, actor, entity), media_type="text/csv", headers=headers)


async def _lines(web: Web, view: View, actor: str, entity: str) -> AsyncIterator[bytes]:
    after, left = None, MOST
    yield csv_lines([COLUMNS])
    while left > 0:
        found = await web.database.run(list_audit, min(PAGE, left), after, actor, entity)
        if found.items:
            yield csv_lines([_row(view, item) for item in found.items])
        left -= len(found.items)
        after = found.next
        if after is None:
            break


def _row(view: View, item: AuditItem) -> list[object]:
    shown = without_names(view, item) if view.masks else item
    detail = json.dumps(shown.detail, ensure_ascii=False, sort_keys=True) if shown.detail else ""
    return [detail if name == "detail" else getattr(shown, name) for name in COLUMNS]

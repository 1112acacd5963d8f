"""Exports as they are asked for: by the page and by the API alike."""

from litestar.response import Stream

from hermes_common.events import ExportMade
from hermes_web.core.columns import parse_columns
from hermes_web.core.search import parse_search
from hermes_web.features.series.export import MEDIA, Format, export
from hermes_web.features.signin.pages import address_of
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


async def export_series(request: HttpRequest, query: str, kind: Format, columns: str, masked: bool) -> Stream:
    """Return the file; raise :class:`InvalidError` that names what is wrong with the search or the columns."""
    search, asked = parse_search(query), parse_columns(columns, masked)
    event = ExportMade(
        actor=principal_of(request).name,
        query=query,
        format=kind,
        columns=list(asked.names),
        masked=masked,
        address=address_of(request),
    )
    parts, headers = await export(web_of(request), search, asked, kind, event)
    return Stream(parts, media_type=MEDIA[kind], headers=headers)

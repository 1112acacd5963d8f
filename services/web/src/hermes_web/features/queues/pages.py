"""The page of the queues."""

from litestar import get

from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_web.core.roles import VIEWER
from hermes_web.errors import MalformedError
from hermes_web.features.queues.queries import STEPS, QueueDetail, queue_details
from hermes_web.features.status.sparkline import strokes
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


@get("/queues", opt=VIEWER, include_in_schema=False)
async def queues_page(request: HttpRequest) -> Page:
    """Show the queue of every target, the one whose oldest delivery waits longest first."""
    web, at = web_of(request), now()
    found = await web.database.run(queue_details)
    try:
        known = {item.slug: item for item in (await web.targets())[1].targets}
    except (TransientError, MalformedError):
        known = {}
    empty = {slug: QueueDetail(target=slug, states={}, priorities={}, throughput=[0] * STEPS) for slug in known}
    queues = sorted({**empty, **found}.values(), key=lambda queue: (queue.oldest or at, queue.target))
    return page(request, "queues/list.html", queues=queues, targets=known, at=at, strokes=strokes)

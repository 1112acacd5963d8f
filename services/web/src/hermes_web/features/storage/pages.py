"""The page of what is stored."""

from litestar import get, post
from litestar.response import Redirect

from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

SHOWN = 200


@get("/storage", opt=VIEWER, include_in_schema=False)
async def storage_page(request: HttpRequest) -> Page:
    """Show what would be deleted, when and why."""
    return page(request, "storage/plan.html", plan=await web_of(request).cleaner.plan(SHOWN))


@post("/storage/sweep", opt=ADMIN, include_in_schema=False)
async def sweep_form(request: HttpRequest) -> Redirect:
    """Have the store looked through."""
    form = await read_form(request)
    await web_of(request).cleaner.sweep(principal_of(request).name, remove=form.checked("remove"))
    return go("/storage", "asked")

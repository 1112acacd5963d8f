"""How a page looks to who asks: what their cookie says, and never more than they may see."""

from typing import Any, TypeVar, cast

from pydantic import BaseModel

from hermes_web.core.roles import sees_names
from hermes_web.core.view import COOKIE, View, masked, parse_view, without_names
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

Answer = TypeVar("Answer", bound=BaseModel)


def view_of(request: HttpRequest) -> View:
    """Return the view of a page."""
    view = parse_view(request.cookies.get(COOKIE))
    return view if may_see_names(request) else masked(view)


def as_may_be_seen(request: HttpRequest, found: Answer) -> Answer:
    """Return an answer of the API: as it is, or without names for who may not see them."""
    return found if may_see_names(request) else cast(Answer, without_names(masked(View()), found))


def told(request: HttpRequest, document: Any) -> Any:
    """Return a plain document likewise; on a page also without what its view masks."""
    view = view_of(request)
    return without_names(view, document) if view.masks else document


def may_see_names(request: HttpRequest) -> bool:
    """Return whether the policy of the installation shows names of patients to who asks."""
    return sees_names(web_of(request).settings.patient_names, request.scope["state"].get("principal"))

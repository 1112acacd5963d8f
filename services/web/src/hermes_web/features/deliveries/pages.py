"""Pages of deliveries."""

from urllib.parse import urlencode

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_web.adapters.commands import Scope
from hermes_web.core.actions import ACTIONS, DeliveryAction, possible
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import MalformedError, NotFoundError
from hermes_web.features.deliveries import queries, service
from hermes_web.features.paging import within
from hermes_web.features.status.queries import WAITING
from hermes_web.features.targets.service import known_targets
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import Form, read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


def _action(text: str) -> DeliveryAction:
    if text not in ACTIONS:
        raise NotFoundError("there is no such action")
    return text


def _scope(form: Form) -> Scope:
    return "all" if form.text("scope") == "all" else "missing"


def _wish(request: HttpRequest, action: DeliveryAction, form: Form) -> service.Wish:
    actor, to = principal_of(request).name, form.text("to") or None
    return service.Wish(action, actor, form.text("reason"), _scope(form), to)


def _filter(state: str, target: str) -> dict[str, str]:
    return {"state": state if state in service.STATES else "", "target": target}


COMMITMENTS = ("requested", "committed", "failed")
"""What may have come of asking a target for storage commitment."""


class DeliveryPages(Controller):
    """Deliveries."""

    path = "/deliveries"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show deliveries by state and target."""
        params = request.query_params
        state, target, after = params.get("state", ""), params.get("target", ""), params.get("cursor")
        if state and state not in service.STATES:
            raise MalformedError(f"{state[:40]!r} is not a state of a delivery")
        commitment = params.get("commitment", "")
        if commitment and commitment not in COMMITMENTS:
            raise MalformedError(f"{commitment[:40]!r} is not what may come of storage commitment")
        web = web_of(request)
        back = params.get("within", "")
        states = [state] if state else []
        found = await web.database.run(
            queries.list_deliveries, states, target or None, 50, after, within(back), commitment
        )
        query = {"state": state, "target": target, "within": back, "commitment": commitment, "cursor": found.next or ""}
        return page(
            request,
            "deliveries/list.html",
            found=found,
            state=state,
            target=target,
            back=back,
            commitment=commitment,
            commitments=COMMITMENTS,
            first=after is None,
            states=service.STATES,
            more=None if found.next is None else f"/deliveries?{urlencode(query)}",
            possible=possible,
            others=[item for item in await known_targets(web) if item.slug != target],
        )

    @post("/bulk", opt=ADMIN)
    async def bulk(self, request: HttpRequest) -> Redirect:
        """Ask for the same action on the deliveries that were ticked, or on all that the filter finds."""
        form = await read_form(request)
        web, wish = web_of(request), _wish(request, _action(form.text("action")), form)
        state, target = form.text("state"), form.text("target")
        everything = form.text("which") == "all"
        ids = [] if everything else form.all("ids")[: service.BULK]
        states = [state] if everything and state in service.STATES else []
        if everything and state == "waiting":
            states = list(WAITING)
        result = await service.act_on_many(web, wish, states, target or None, ids)
        back = "/queues" if form.text("back") == "queues" else f"/deliveries?{urlencode(_filter(state, target))}"
        return go(back, "asked" if result.asked else "unchanged")

    @get("/{delivery_id:str}", opt=VIEWER)
    async def one(self, request: HttpRequest, delivery_id: FromPath[str]) -> Page:
        """Show a delivery with its attempts and the outcome of every instance."""
        text = request.query_params.get("after", "-1")
        after = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        detail = await web_of(request).database.run(queries.get_delivery, delivery_id, after)
        others = [item for item in await known_targets(web_of(request)) if item.slug != detail.target]
        return page(
            request,
            "deliveries/one.html",
            delivery=detail,
            actions=possible(detail.state, uncommitted=detail.commitment == "failed"),
            others=others,
        )

    @post("/{delivery_id:str}/{action:str}", opt=ADMIN)
    async def ask(self, request: HttpRequest, delivery_id: FromPath[str], action: FromPath[str]) -> Redirect:
        """Restart, hold, release, cancel, reroute or dismiss."""
        form = await read_form(request)
        await service.act(web_of(request), delivery_id, _wish(request, _action(action), form))
        return go(f"/deliveries/{delivery_id}", "asked")

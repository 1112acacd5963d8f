"""``/api/v1/deliveries``."""

from typing import Annotated, Literal

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from pydantic import ConfigDict, Field

from hermes_common.ids import Slug
from hermes_common.records import DeliveryState
from hermes_web.adapters.commands import Scope
from hermes_web.core.actions import DeliveryAction
from hermes_web.core.cursor import limited
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.features.deliveries import queries, service
from hermes_web.features.deliveries.views import DeliveryDetail, DeliveryItem
from hermes_web.features.paging import Listing
from hermes_web.features.series.api import Accepted, Ask, Cursor, Limit
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

States = Annotated[list[DeliveryState] | None, QueryParameter(name="state", description="May be given several times.")]
Target = Annotated[str | None, QueryParameter(name="target", description="Slug of a target.")]
Committed = Annotated[
    Literal["requested", "committed", "failed"] | None,
    QueryParameter(name="commitment", description="What came of asking the target for storage commitment."),
]
After = Annotated[int, QueryParameter(name="after", description="'outcomes_next' of the answer before.")]


class AskRestart(Ask):
    """What is to be sent again."""

    scope: Scope = "missing"


class AskReroute(Ask):
    """Where the batch goes instead."""

    to: Slug


class AskBulk(AskRestart):
    """The same action on many deliveries: named by ids, or found by state and target."""

    model_config = ConfigDict(extra="forbid")

    action: DeliveryAction
    ids: Annotated[list[str], Field(max_length=service.BULK)] = []
    state: DeliveryState | None = None
    target: Slug | None = None
    to: Slug | None = None
    """For ``reroute``: the target that the batches go to instead."""


class DeliveriesController(Controller):
    """Deliveries: lists, outcomes of every instance, actions."""

    path = "/deliveries"
    tags = ["deliveries"]

    @get(opt=VIEWER)
    async def listing(
        self,
        request: HttpRequest,
        states: States = None,
        target: Target = None,
        commitment: Committed = None,
        cursor: Cursor = None,
        limit: Limit = None,
    ) -> Listing[DeliveryItem]:
        """Return deliveries, the one changed last first."""
        wanted = [item.value for item in states or ()]
        run = web_of(request).database.run
        return await run(queries.list_deliveries, wanted, target, limited(limit), cursor, None, commitment)

    @post("/bulk", opt=ADMIN, status_code=202)
    async def bulk(self, request: HttpRequest, data: JSONBody[AskBulk]) -> service.BulkResult:
        """Ask for the same action on up to 1,000 deliveries."""
        states = [] if data.state is None else [data.state.value]
        web = web_of(request)
        wish = service.Wish(data.action, principal_of(request).name, data.reason, data.scope, data.to)
        return await service.act_on_many(web, wish, states, data.target, data.ids)

    @get("/{delivery_id:str}", opt=VIEWER)
    async def one(self, request: HttpRequest, delivery_id: FromPath[str], after: After = -1) -> DeliveryDetail:
        """Return a delivery with its attempts and the outcome of every instance."""
        return await web_of(request).database.run(queries.get_delivery, delivery_id, after)

    @post("/{delivery_id:str}/restart", opt=ADMIN, status_code=202)
    async def restart(
        self, request: HttpRequest, delivery_id: FromPath[str], data: JSONBody[AskRestart | None] = None
    ) -> Accepted:
        """Make a delivery that has ended again: what is missing, or all of it."""
        ask = data or AskRestart()
        return await _asked(request, delivery_id, "restart", ask, ask.scope)

    @post("/{delivery_id:str}/hold", opt=ADMIN, status_code=202)
    async def hold(
        self, request: HttpRequest, delivery_id: FromPath[str], data: JSONBody[Ask | None] = None
    ) -> Accepted:
        """Have a delivery wait until it is released; a reason is needed.

        Nothing of it is sent once ``delivery.held`` was said.
        """
        return await _asked(request, delivery_id, "hold", data or Ask())

    @post("/{delivery_id:str}/release", opt=ADMIN, status_code=202)
    async def release(
        self, request: HttpRequest, delivery_id: FromPath[str], data: JSONBody[Ask | None] = None
    ) -> Accepted:
        """Let a held delivery go on."""
        return await _asked(request, delivery_id, "release", data or Ask())

    @post("/{delivery_id:str}/cancel", opt=ADMIN, status_code=202)
    async def cancel(
        self, request: HttpRequest, delivery_id: FromPath[str], data: JSONBody[Ask | None] = None
    ) -> Accepted:
        """Stop a delivery that has not ended; a reason is needed.

        Nothing of it is sent once ``delivery.cancelled`` was said.
        """
        return await _asked(request, delivery_id, "cancel", data or Ask())

    @post("/{delivery_id:str}/reroute", opt=ADMIN, status_code=202)
    async def reroute(self, request: HttpRequest, delivery_id: FromPath[str], data: JSONBody[AskReroute]) -> Accepted:
        """Send the batch of a delivery that has not succeeded to another target instead; this one is cancelled."""
        return await _asked(request, delivery_id, "reroute", data, to=data.to)

    @post("/{delivery_id:str}/dismiss", opt=ADMIN, status_code=202)
    async def dismiss(
        self, request: HttpRequest, delivery_id: FromPath[str], data: JSONBody[Ask | None] = None
    ) -> Accepted:
        """Say that a failed delivery needs nothing more; its retention begins."""
        return await _asked(request, delivery_id, "dismiss", data or Ask())


async def _asked(
    request: HttpRequest,
    delivery_id: str,
    action: DeliveryAction,
    ask: Ask,
    scope: Scope = "missing",
    to: str | None = None,
) -> Accepted:
    wish = service.Wish(action, principal_of(request).name, ask.reason, scope, to)
    return Accepted(command_id=await service.act(web_of(request), delivery_id, wish))

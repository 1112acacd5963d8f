"""``/api/v1/alerts``: what needs a person, channels, silences; the document itself is ``/api/v1/alerting``."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from pydantic import BaseModel, ConfigDict, Field

from hermes_common.alerting import AlertKind, Silence
from hermes_common.channels import ChannelTested
from hermes_web.core.cursor import limited
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.features.alerts import service
from hermes_web.features.alerts.queries import AlertsItem, ChannelState, Which, list_alerts
from hermes_web.features.paging import Listing
from hermes_web.features.series.api import Ask, Cursor, Limit
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

State = Annotated[Which, QueryParameter(name="state", description="`open`: only those that are not over.")]


class AskSilence(BaseModel):
    """What nobody is told of for a while, and why."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    kind: AlertKind | None = None
    about: Annotated[str, Field(max_length=200)] = ""
    reason: Annotated[str, Field(max_length=500)]
    span: Annotated[str, Field(alias="for", max_length=20)]
    """Such as ``2h``."""


class AlertsController(Controller):
    """Alerts: what needs a person."""

    path = "/alerts"
    tags = ["alerts"]

    @get(opt=VIEWER)
    async def listing(
        self, request: HttpRequest, cursor: Cursor = None, limit: Limit = None, which: State = Which.ALL
    ) -> Listing[AlertsItem]:
        """Return the rows, the newest first."""
        return await web_of(request).database.run(list_alerts, limited(limit), cursor, which)

    @post("/{alert_id:str}/clear", opt=ADMIN, status_code=202)
    async def clear(
        self, request: HttpRequest, alert_id: FromPath[str], data: JSONBody[Ask | None] = None
    ) -> dict[str, str]:
        """Say that an alert has been seen to; those that are over by themselves are refused."""
        reason = "" if data is None else data.reason
        await service.clear(web_of(request), alert_id, principal_of(request).name, reason)
        return {"alert_id": alert_id}

    @get("/channels", opt=VIEWER)
    async def channels(self, request: HttpRequest) -> dict[str, list[ChannelState]]:
        """Return of every channel what became of its messages."""
        web = web_of(request)
        found = await service.states(web) or {}
        known = (await web.alerting())[1].channels
        return {"items": [found.get(item.slug) or ChannelState(channel=item.slug) for item in known]}

    @post("/channels/{slug:str}/test", opt=ADMIN, status_code=200)
    async def test(self, request: HttpRequest, slug: FromPath[str]) -> ChannelTested:
        """Send a test over a channel as it is saved, and return its steps."""
        return await service.test_channel(web_of(request), slug, principal_of(request).name)

    @post("/silences", opt=ADMIN, status_code=201)
    async def silence(self, request: HttpRequest, data: JSONBody[AskSilence]) -> Silence:
        """Tell nobody of some alerts for a while."""
        actor = principal_of(request).name
        about, reason = data.about.strip(), data.reason.strip()
        return await service.silence(web_of(request), data.kind, about, reason, data.span, actor)

    @post("/silences/{slug:str}/end", opt=ADMIN, status_code=200)
    async def end(self, request: HttpRequest, slug: FromPath[str]) -> dict[str, str]:
        """End a silence."""
        await service.end_silence(web_of(request), slug, principal_of(request).name)
        return {"slug": slug}

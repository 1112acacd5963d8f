"""``/api/v1/targets/{slug}`` and their states; the document itself is in ``features.configuration``."""

from typing import Annotated, Any

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hermes_common.ids import Uid
from hermes_common.previews import Preview
from hermes_common.secrets import shown
from hermes_common.targettests import TargetTested
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.features.targets import service
from hermes_web.features.targets.service import TargetState
from hermes_web.http.viewing import as_may_be_seen
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class AskResume(BaseModel):
    """Why a target is resumed."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=500)] = ""


class AskPause(AskResume):
    """Why a target is paused, and until when at the longest."""

    until: AwareDatetime | None = None


class AskPreview(BaseModel):
    """On what to preview the changes of a target, and with which settings."""

    model_config = ConfigDict(extra="forbid")

    series_uid: Uid
    sop_instance_uid: str = ""
    """The instance; the one last received if none is named."""
    settings: dict[str, Any] | None = None
    """The target as it would be; as it is saved if not given."""


class TargetsController(Controller):
    """Actions on targets."""

    path = "/targets/{slug:str}"
    tags = ["targets"]
    opt = ADMIN

    @post("/test", status_code=200)
    async def test(self, request: HttpRequest, slug: FromPath[str]) -> TargetTested:
        """Have a dispatcher test a target step by step, with times; nothing is stored in it."""
        return await service.test(web_of(request), slug)

    @post("/preview", status_code=200)
    async def preview(self, request: HttpRequest, slug: FromPath[str], data: JSONBody[AskPreview]) -> Preview:
        """Show, on an instance of a stored series, what this target has changed on the way; nothing is sent to it."""
        web = web_of(request)
        if data.settings is None:
            target = await service.find(web, slug)
        else:
            (target,) = service.parsed({**data.settings, "slug": slug}).targets
        found = await service.preview(web, target, data.series_uid, data.sop_instance_uid)
        return as_may_be_seen(request, found)

    @post("/pause", status_code=200)
    async def pause(
        self, request: HttpRequest, slug: FromPath[str], data: JSONBody[AskPause | None] = None
    ) -> dict[str, Any]:
        """Send nothing to a target until it is resumed, or until a time; deliveries wait."""
        asked = AskPause() if data is None else data
        actor = principal_of(request).name
        found = await service.pause(web_of(request), slug, actor, asked.reason, asked.until)
        return _shown(found)

    @post("/resume", status_code=200)
    async def resume(
        self, request: HttpRequest, slug: FromPath[str], data: JSONBody[AskResume | None] = None
    ) -> dict[str, Any]:
        """Send to a target again."""
        reason = "" if data is None else data.reason
        return _shown(await service.resume(web_of(request), slug, principal_of(request).name, reason))


@get("/targets/states", tags=["targets"], opt=VIEWER)
async def target_states(request: HttpRequest) -> dict[str, list[TargetState]]:
    """Return of every target whether it is up, down, paused or disabled, since when and why."""
    web = web_of(request)
    found = await service.states(web, (await web.targets())[1])
    return {"items": list(found.values())}


def _shown(target: BaseModel) -> dict[str, Any]:
    document: dict[str, Any] = shown(target.model_dump(mode="json"))
    return document

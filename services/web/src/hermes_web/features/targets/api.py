"""``/api/v1/targets/{slug}``; the document itself is in ``features.configuration``."""

from typing import Annotated, Any

from litestar import Controller, post
from litestar.params import FromPath, JSONBody
from pydantic import BaseModel, ConfigDict, Field

from hermes_web.adapters.probe import Probe
from hermes_web.core.roles import ADMIN
from hermes_web.features.targets import service
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class AskPause(BaseModel):
    """Why a target is paused or resumed."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=500)] = ""


class TargetsController(Controller):
    """Actions on targets."""

    path = "/targets/{slug:str}"
    tags = ["targets"]
    opt = ADMIN

    @post("/test", status_code=200)
    async def test(self, request: HttpRequest, slug: FromPath[str]) -> Probe:
        """Test a target step by step, with times: C-ECHO, or a file that is written and removed."""
        return await service.test(web_of(request), slug)

    @post("/pause", status_code=200)
    async def pause(
        self, request: HttpRequest, slug: FromPath[str], data: JSONBody[AskPause | None] = None
    ) -> dict[str, Any]:
        """Send nothing to a target until it is resumed; deliveries wait."""
        reason = "" if data is None else data.reason
        found = await service.set_enabled(web_of(request), slug, False, principal_of(request).name, reason)
        return found.model_dump(mode="json")

    @post("/resume", status_code=200)
    async def resume(
        self, request: HttpRequest, slug: FromPath[str], data: JSONBody[AskPause | None] = None
    ) -> dict[str, Any]:
        """Send to a target again."""
        reason = "" if data is None else data.reason
        found = await service.set_enabled(web_of(request), slug, True, principal_of(request).name, reason)
        return found.model_dump(mode="json")

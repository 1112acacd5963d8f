"""``/api/v1/storage`` and ``/api/v1/policies/preview``."""

from typing import Annotated, Any

from litestar import Controller, get, post
from litestar.params import JSONBody, QueryParameter
from pydantic import BaseModel, ConfigDict

from hermes_common.cleaning import MOST_LISTED, Plan, SweepBegun
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.features.storage.preview import Preview
from hermes_web.features.storage.service import preview_policies
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

Limit = Annotated[int, QueryParameter(name="limit", ge=0, le=MOST_LISTED, description="Series that are listed.")]


class AskSweep(BaseModel):
    """How the store is to be looked through."""

    model_config = ConfigDict(extra="forbid")

    remove: bool = False
    """Orphans beyond their grace go."""


class StorageController(Controller):
    """What is stored, and what would be deleted when and why."""

    path = "/storage"
    tags = ["storage"]

    @get("/plan", opt=VIEWER)
    async def plan(self, request: HttpRequest, limit: Limit = 100) -> Plan:
        """Return what would be deleted, when and why; nothing is changed."""
        return await web_of(request).cleaner.plan(limit)

    @post("/sweep", opt=ADMIN, status_code=202)
    async def sweep(self, request: HttpRequest, data: JSONBody[AskSweep | None] = None) -> SweepBegun:
        """Look through the store for orphans and missing objects; the plan shows what was found."""
        remove = data is not None and data.remove
        return await web_of(request).cleaner.sweep(principal_of(request).name, remove=remove)


@post("/policies/preview", opt=VIEWER, status_code=200, tags=["policies"], operation_id="preview_policies")
async def policies_preview(request: HttpRequest, data: JSONBody[dict[str, Any]]) -> Preview:
    """Return what policies would delete at once if they were saved; nothing is changed."""
    return await preview_policies(web_of(request), data)

"""The page of the installation, ``/api/v1/system``, and the diagnostics bundle."""

from litestar import Response, get

from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.features.system.bundle import make_bundle
from hermes_web.features.system.service import System, system_of
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


@get("/system", opt=VIEWER, include_in_schema=False)
async def system_page(request: HttpRequest) -> Page:
    """Show the installation."""
    return page(request, "system/system.html", system=await system_of(web_of(request)))


@get("/system", opt=VIEWER, tags=["status"])
async def system_api(request: HttpRequest) -> System:
    """Return services, streams, disks, what is kept, and versions."""
    return await system_of(web_of(request))


@get("/system/diagnostics", opt=ADMIN, include_in_schema=False)
async def diagnostics(request: HttpRequest) -> Response[bytes]:
    """Return the diagnostics bundle."""
    name, content = await make_bundle(web_of(request))
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/zip", headers=headers)

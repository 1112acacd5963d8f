"""``/livez``, ``/readyz``, ``/metrics`` and ``/api/v1/openapi.json``."""

from typing import Any

from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from hermes_web.core.roles import PUBLIC, VIEWER
from hermes_web.http.description import described
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

_OPEN = {**PUBLIC, "anonymous": True}


@get("/livez", opt=_OPEN, include_in_schema=False)
async def livez() -> dict[str, bool]:
    """Say that the process answers."""
    return {"alive": True}


@get("/readyz", opt=_OPEN, include_in_schema=False)
async def readyz(request: HttpRequest) -> Response[dict[str, Any]]:
    """Say whether pages and API can do their work."""
    ready, checks = web_of(request).health.report()
    return Response({"ready": ready, "checks": checks}, status_code=200 if ready else 503)


@get("/metrics", opt=_OPEN, include_in_schema=False)
async def metrics() -> Response[bytes]:
    """Return the metrics of the process in Prometheus' text format."""
    return Response(generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


@get("/openapi.json", opt=VIEWER, include_in_schema=False)
async def openapi(request: HttpRequest) -> dict[str, Any]:
    """Return the description of the API."""
    return described(request.app.openapi_schema.to_schema())

"""The page of policies: completion, retention, and the attributes that are read from the images."""

from typing import Any

from litestar import Controller, get, post
from litestar.response import Redirect

from hermes_common.config import Kind, Policies
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import InvalidError, PreconditionFailedError, WebError
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

FIELDS = {
    "completion.quiet_period": ("Quiet period", "A series is complete when no image has come for this long."),
    "retention.delivered": ("Delivered series", "Kept this long after the last delivery has ended."),
    "retention.unmatched": ("Unmatched series", "Kept this long for a person to route them."),
    "retention.discarded": ("Discarded series", "Kept this long in case it was a mistake."),
}
HOURS = {
    "off_peak.start": (
        "Off-peak from",
        "Deliveries of the priority off_peak wait for it. A time of day such as 19:00.",
    ),
    "off_peak.end": ("Off-peak until", "A time of day such as 06:00."),
    "off_peak.days": ("Whole days", "Days that are off-peak as a whole: 0 is Monday, 5,6 the weekend."),
    "off_peak.timezone": ("Time zone", "Of these hours, such as Europe/Vienna."),
}


class PolicyPages(Controller):
    """Policies."""

    path = "/policies"
    include_in_schema = False

    @get(opt=VIEWER)
    async def show(self, request: HttpRequest) -> Page:
        """Show the policies."""
        return await self._page(request)

    @post(opt=ADMIN)
    async def save(self, request: HttpRequest) -> Page | Redirect:
        """Change the policies."""
        web, form = web_of(request), await read_form(request)
        document: dict[str, Any] = {}
        for field in FIELDS:
            part, _, name = field.partition(".")
            document.setdefault(part, {})[name] = form.text(field)
        document["extra_tags"] = [line.strip() for line in form.text("extra_tags").splitlines() if line.strip()]
        for field in HOURS if any(form.text(field) for field in HOURS) else ():
            name = field.partition(".")[2]
            text = form.text(field)
            days = [day.strip() for day in text.split(",") if day.strip()]
            document.setdefault("off_peak", {})[name] = days if name == "days" else text
        try:
            author = principal_of(request).name
            await web.save(Kind.POLICIES, document, form.number("revision"), author, form.text("why"))
        except (InvalidError, PreconditionFailedError) as error:
            return await self._page(request, error, document)
        return go("/policies", "saved")

    @staticmethod
    async def _page(request: HttpRequest, error: WebError | None = None, typed: dict[str, Any] | None = None) -> Page:
        revision = await web_of(request).config.current(Kind.POLICIES)
        document = revision.document if typed is None else typed
        whole = Policies().model_dump(mode="json") | document  # an old document lacks what came later
        values = {field: whole[field.partition(".")[0]][field.partition(".")[2]] for field in (*FIELDS, *HOURS)}
        values["off_peak.days"] = ",".join(str(day) for day in values["off_peak.days"])
        problems = {item.field.partition("[")[0]: item.message for item in (error.problems if error else ())}
        extra = [item for item in (error.problems if error else ()) if item.field.partition(".")[0] == "extra_tags"]
        return page(
            request,
            "policies/edit.html",
            revision=revision,
            fields=FIELDS,
            hours=HOURS,
            values=values,
            extra_tags="\n".join(document.get("extra_tags", ())),
            extra_problems=extra,
            problems=problems,
            error=error,
        )

"""The page of policies. What it does not show, it leaves as it is.

A shorter retention that would delete something at once is saved only once a person has seen how much.
"""

import copy
import hashlib
from dataclasses import dataclass
from typing import Any, cast

from litestar import Controller, get, post
from litestar.response import Redirect

from hermes_common.config import Kind, Policies
from hermes_common.retention import keeps_as_long
from hermes_web.core.configuration import parse_document
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import InvalidError, PreconditionFailedError, UnavailableError, WebError
from hermes_web.features.policies import exceptions
from hermes_web.features.storage.service import preview_policies
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

FIELDS = {
    "completion.quiet_period": ("Quiet period", "A series is complete when no image has come for this long."),
    "completion.study.quiet_period": (
        "Quiet period of a study",
        "A study is complete when nothing has come for this long, and what its conditions ask for is there.",
    ),
    "completion.study.max_wait": ("Maximum wait of a study", "It waits no longer than this."),
    "retention.delivered": ("Delivered series", "Kept this long after the last delivery has ended."),
    "retention.unmatched": ("Unmatched series", "Kept this long for a person to route them."),
    "retention.discarded": ("Discarded series", "Kept this long in case it was a mistake."),
    "retention.events": (
        "Events",
        "What was said is kept this long, in whole months. Series, decisions, deliveries and the audit stay.",
    ),
}
LIMITS = {
    "watermark.most": (
        "Most that may be stored",
        "Above it, what is done goes before its retention has passed, oldest first. Such as 500GB; empty: no limit.",
    ),
    "watermark.least_free": (
        "Least that must be free",
        "The same, where the cleaner sees the volume of the object store. Such as 50GB; empty: no limit.",
    ),
    "watermark.done_for": ("Never before", "What has been done for less than this never goes early. Such as 1h."),
    "orphans.remove": ("Remove orphans", "Objects that nothing names: yes, or no to have them reported only."),
    "orphans.grace": ("Grace of orphans", "Removed only when a look this long ago has seen them already. Such as 7d."),
}
PICTURES = {
    "thumbnails": (
        "Small pictures",
        "On the pages of series: yes or no. Text that is burned into an image may say who the patient is.",
    ),
}
OPTIONAL = ("watermark.most", "watermark.least_free")
YES_OR_NO = {"yes": True, "no": False}
HOURS = {
    "off_peak.start": (
        "Off-peak from",
        "Deliveries of the priority off_peak wait for it. A time of day such as 19:00.",
    ),
    "off_peak.end": ("Off-peak until", "A time of day such as 06:00."),
    "off_peak.days": ("Whole days", "Days that are off-peak as a whole: 0 is Monday, 5,6 the weekend."),
    "off_peak.timezone": ("Time zone", "Of these hours, such as Europe/Vienna."),
}


@dataclass(frozen=True, slots=True)
class Warned:
    """What a person is shown before it happens, and what the form says back once they have seen just that."""

    words: str
    token: str


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
        document = copy.deepcopy((await web.config.current(Kind.POLICIES)).document)
        for field in filter(form.has, (*FIELDS, *LIMITS, *PICTURES)):
            *parts, name = field.split(".")
            place = document
            for part in parts:
                place = place.setdefault(part, {})
            typed = form.text(field)
            place[name] = None if field in OPTIONAL and not typed else YES_OR_NO.get(typed.lower(), typed)
        if form.has("extra_tags"):
            document["extra_tags"] = [line.strip() for line in form.lines("extra_tags").splitlines() if line.strip()]
        for field in filter(form.has, HOURS):
            name = field.partition(".")[2]
            typed = form.text(field)
            days = [day.strip() for day in typed.split(",") if day.strip()]
            document.setdefault("off_peak", {})[name] = days if name == "days" else typed
        text = form.lines(exceptions.FIELD)
        try:
            exceptions.put(document, text)
            author = principal_of(request).name
            if (warning := await self._warning(request, document, form.text("confirmed"))) is not None:
                return await self._page(request, None, document, text, warning)
            await web.save(Kind.POLICIES, document, form.number("revision"), author, form.text("why"))
        except (InvalidError, PreconditionFailedError) as error:
            return await self._page(request, error, document, text)
        return go("/policies", "saved")

    @staticmethod
    async def _warning(request: HttpRequest, document: dict[str, Any], confirmed: str) -> Warned | None:
        """Return what a person has to be shown before the policies are saved; None if nothing, or if they saw it."""
        web = web_of(request)
        after = cast(Policies, parse_document(Kind.POLICIES, document)).retention
        before = cast(Policies, (await web.config.current(Kind.POLICIES)).parsed()).retention
        if keeps_as_long(after, before):
            return None
        try:
            found = await preview_policies(web, document)
            words, is_nothing = found.words, found.series == 0
        except UnavailableError as error:
            words, is_nothing = f"What would be deleted at once cannot be said: {error.detail}", False
        if is_nothing:
            return None
        token = hashlib.sha256(f"{after.model_dump_json()}{words}".encode()).hexdigest()
        return None if token == confirmed else Warned(words, token)

    @staticmethod
    async def _page(
        request: HttpRequest,
        error: WebError | None = None,
        typed: dict[str, Any] | None = None,
        text: str = "",
        warning: Warned | None = None,
    ) -> Page:
        revision = await web_of(request).config.current(Kind.POLICIES)
        document = revision.document if typed is None else typed
        values = {field: _value(document, field) for field in (*FIELDS, *LIMITS, *PICTURES, *HOURS)}
        values |= {field: "" for field in OPTIONAL if values[field] is None}
        values |= {field: "yes" if value else "no" for field, value in values.items() if isinstance(value, bool)}
        values["off_peak.days"] = ",".join(str(day) for day in values["off_peak.days"])
        problems = {item.field.partition("[")[0]: item.message for item in (error.problems if error else ())}
        extra = [item for item in (error.problems if error else ()) if item.field.partition("[")[0] == "extra_tags"]
        return page(
            request,
            "policies/edit.html",
            revision=revision,
            fields=FIELDS,
            hours=HOURS,
            limits=LIMITS,
            pictures=PICTURES,
            warning=warning,
            values=values,
            extra_tags="\n".join(document.get("extra_tags", ())),
            extra_problems=extra,
            exceptions=text or exceptions.written(document),
            problems=problems,
            error=error,
        )


def _value(document: dict[str, Any], field: str) -> Any:
    """Return the value at a path such as ``completion.study.max_wait``; the default if the document is older."""
    found, default = document, Policies().model_dump(mode="json")
    for part in field.split("."):
        default = default[part]
        found = found.get(part, default) if isinstance(found, dict) else default
    return found

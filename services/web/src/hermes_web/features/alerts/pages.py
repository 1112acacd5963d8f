"""Pages of alerts: the list with its silences, channels, conditions."""

from typing import Any

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_common.alerting import AlertKind
from hermes_common.alerttexts import FIELDS
from hermes_common.config import Kind
from hermes_common.runtime.clock import now
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import (
    FieldProblem,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    WebError,
)
from hermes_web.features.alerts import forms, service
from hermes_web.features.alerts.grouping import grouped
from hermes_web.features.alerts.queries import ChannelState, Which, list_alerts
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import Form, read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

_CAUGHT = (InvalidError, PreconditionFailedError)
MOST_OPEN = 1000
"""Open alerts that are put together."""
MOST_SHOWN = 50
"""Of them those of a group that are shown one by one."""


class AlertPages(Controller):
    """Alerts."""

    path = "/alerts"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show the alerts, the newest first, and what is silenced."""
        return await self._list(request)

    @post("/{alert_id:str}/clear", opt=ADMIN)
    async def clear(self, request: HttpRequest, alert_id: FromPath[str]) -> Redirect:
        """Say that an alert has been seen to."""
        form = await read_form(request)
        await service.clear(web_of(request), alert_id, principal_of(request).name, form.text("reason"))
        return go("/alerts", "asked")

    @post("/silences", opt=ADMIN)
    async def silence(self, request: HttpRequest) -> Page | Redirect:
        """Tell nobody of some alerts for a while."""
        form = await read_form(request)
        try:
            kind = AlertKind(form.text("kind")) if form.text("kind") not in ("", "any") else None
        except ValueError:
            error = InvalidError(problems=[FieldProblem("kind", "there is no such kind")])
            return await self._list(request, error, form)
        try:
            actor = principal_of(request).name
            about, reason, span = form.text("about"), form.text("reason"), form.text("for")
            await service.silence(web_of(request), kind, about, reason, span, actor)
        except _CAUGHT as error:
            return await self._list(request, error, form)
        return go("/alerts", "saved")

    @post("/silences/{slug:str}/end", opt=ADMIN)
    async def end(self, request: HttpRequest, slug: FromPath[str]) -> Page | Redirect:
        """End a silence."""
        try:
            await service.end_silence(web_of(request), slug, principal_of(request).name)
        except PreconditionFailedError as error:
            return await self._list(request, error)
        return go("/alerts", "removed")

    @get("/conditions", opt=VIEWER)
    async def conditions(self, request: HttpRequest) -> Page:
        """Show from when on something is worth an alert."""
        _, alerting = await web_of(request).alerting()
        return await self._conditions(request, forms.condition_values(alerting))

    @post("/conditions", opt=ADMIN)
    async def save_conditions(self, request: HttpRequest) -> Page | Redirect:
        """Change from when on something is worth an alert."""
        web, form = web_of(request), await read_form(request)
        _, alerting = await web.alerting()
        values = forms.typed_conditions(form)
        try:
            document = forms.with_conditions(alerting, values)
            author, why = principal_of(request).name, form.text("why") or "conditions changed"
            await web.save(Kind.ALERTING, document, form.number("revision"), author, why)
        except _CAUGHT as error:
            return await self._conditions(request, values, error)
        return go("/alerts/conditions", "saved")

    @get("/channels", opt=VIEWER)
    async def channels(self, request: HttpRequest) -> Page:
        """Show the channels, and what became of the messages over them."""
        web = web_of(request)
        revision, alerting = await web.alerting()
        states = await service.states(web)
        found = {
            item.slug: (states or {}).get(item.slug, ChannelState(channel=item.slug)) for item in alerting.channels
        }
        where = {item.slug: forms.where(item) for item in alerting.channels}
        common = {"revision": revision, "channels": alerting.channels, "kinds": forms.KINDS, "where": where}
        return page(request, "alerts/channels.html", **common, states=found, is_known=states is not None)

    @get("/channels/_new/{kind:str}", opt=ADMIN)
    async def new(self, request: HttpRequest, kind: FromPath[str]) -> Page:
        """Show an empty form."""
        if kind not in forms.KINDS:
            raise NotFoundError("there is no such kind of channel")
        return await self._channel(request, forms.new_values(kind), is_new=True)

    @post("/channels/_new/{kind:str}", opt=ADMIN)
    async def create(self, request: HttpRequest, kind: FromPath[str]) -> Page | Redirect:
        """Add a channel."""
        if kind not in forms.KINDS:
            raise NotFoundError("there is no such kind of channel")
        return await self._save(request, kind, None)

    @get("/channels/{slug:str}", opt=VIEWER)
    async def edit(self, request: HttpRequest, slug: FromPath[str]) -> Page:
        """Show the form of a channel."""
        found = await service.find_channel(web_of(request), slug)
        return await self._channel(request, forms.values_of(found))

    @post("/channels/{slug:str}", opt=ADMIN)
    async def save(self, request: HttpRequest, slug: FromPath[str]) -> Page | Redirect:
        """Change a channel."""
        return await self._save(request, (await service.find_channel(web_of(request), slug)).kind, slug)

    @post("/channels/{slug:str}/test", opt=ADMIN, status_code=200)
    async def test(self, request: HttpRequest, slug: FromPath[str]) -> Page:
        """Send a test over a channel and show the steps."""
        web = web_of(request)
        values = forms.values_of(await service.find_channel(web, slug))
        try:
            tested = await service.test_channel(web, slug, principal_of(request).name)
        except UnavailableError as error:
            return await self._channel(request, values, error=error)
        return await self._channel(request, values, tested=tested)

    @post("/channels/{slug:str}/remove", opt=ADMIN)
    async def remove(self, request: HttpRequest, slug: FromPath[str]) -> Page | Redirect:
        """Remove a channel; what waits for it is withdrawn."""
        web, form = web_of(request), await read_form(request)
        found = await service.find_channel(web, slug)
        _, alerting = await web.alerting()
        changed, author = service.without_channel(alerting, slug), principal_of(request).name
        try:
            await web.save(Kind.ALERTING, changed, form.number("revision"), author, f"channel {slug}: removed")
        except _CAUGHT as error:
            return await self._channel(request, forms.values_of(found), error=error)
        return go("/alerts/channels", "removed")

    @staticmethod
    async def _list(request: HttpRequest, error: WebError | None = None, form: Form | None = None) -> Page:
        web, asked = web_of(request), request.query_params
        which = Which.OPEN if asked.get("state") == "open" else Which.ALL
        most, after = (100, asked.get("cursor")) if which is Which.ALL else (MOST_OPEN, None)
        found = await web.database.run(list_alerts, most, after, which)
        revision, alerting = await web.alerting()
        first = "/alerts?state=open" if which is Which.OPEN else "/alerts"
        more = None if found.next is None else f"{first}{'&' if '?' in first else '?'}cursor={found.next}"
        at = now()
        typed = {
            "kind": form.text("kind") if form else str(asked.get("kind", "any"))[:40],
            "about": form.text("about") if form else str(asked.get("about", ""))[:200],
            "reason": form.text("reason") if form else "",
            "for": form.text("for") if form else "",
        }
        return page(
            request,
            "alerts/list.html",
            found=found,
            groups=grouped(found.items) if which is Which.OPEN else [],
            most=MOST_SHOWN,
            more=more,
            first=first,
            which=which.value,
            by_itself=service.BY_ITSELF,
            revision=revision,
            silences=[item for item in alerting.silences if item.until > at],
            silenced={item.alert_id: alerting.silenced_until(item.kind, item.about, at) for item in found.items},
            channels=len([item for item in alerting.channels if item.enabled]),
            kinds=["any", *(kind.value for kind in AlertKind)],
            typed=typed,
            error=error,
            problems=_by_field(error),
        )

    @staticmethod
    async def _conditions(request: HttpRequest, values: dict[str, Any], error: WebError | None = None) -> Page:
        revision, _ = await web_of(request).alerting()
        problems = {field.removeprefix("conditions."): found for field, found in _by_field(error).items()}
        common = {"revision": revision, "values": values, "fields": forms.CONDITIONS, "numbers": forms.NUMBERS}
        return page(request, "alerts/conditions.html", **common, error=error, problems=problems)

    @staticmethod
    async def _channel(
        request: HttpRequest, values: dict[str, Any], error: WebError | None = None, **more: Any
    ) -> Page:
        web = web_of(request)
        revision, _ = await web.alerting()
        state = None if more.get("is_new") else (await service.states(web) or {}).get(values["slug"])
        common = {"revision": revision.revision, "values": values, "state": state, "fields": FIELDS}
        common |= {"kind_name": forms.KINDS[values["kind"]], "kinds": [kind.value for kind in AlertKind]}
        shown = {"is_new": False, "tested": None, **more}
        return page(request, "alerts/channel.html", **common, **shown, error=error, problems=_by_field(error))

    @classmethod
    async def _save(cls, request: HttpRequest, kind: str, slug: str | None) -> Page | Redirect:
        web, form = web_of(request), await read_form(request)
        _, alerting = await web.alerting()
        known = None if slug is None else alerting.channel(slug)
        values = forms.typed_values(form, kind, known)
        try:
            if slug is not None:
                values["slug"] = slug
            elif alerting.channel(values["slug"]) is not None:
                raise InvalidError(problems=[FieldProblem("slug", "there is a channel of this short name already")])
            changed = service.with_channel(alerting, forms.made_of(form, values, known))
            why = form.text("why") or f"channel {values['slug']}: {'added' if slug is None else 'changed'}"
            await web.save(Kind.ALERTING, changed, form.number("revision"), principal_of(request).name, why)
        except _CAUGHT as error:
            return await cls._channel(request, values, _in_form(error), is_new=slug is None)
        return go("/alerts/channels", "saved")


def _in_form(error: WebError) -> WebError:
    """Name the fields of the form, where the whole document was checked: ``channels[3].url`` is ``url``."""
    for item in error.problems:
        head, dot, rest = item.field.partition(".")
        if head.startswith("channels[") and dot:
            return type(error)(problems=[FieldProblem(rest, item.message), *error.problems[1:]])
    return error


def _by_field(error: WebError | None) -> dict[str, list[FieldProblem]]:
    problems: dict[str, list[FieldProblem]] = {}
    for item in () if error is None else error.problems:
        problems.setdefault(item.field.partition("[")[0], []).append(item)
    return problems

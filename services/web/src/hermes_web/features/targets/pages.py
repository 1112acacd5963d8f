"""Pages of targets: list, form, test, pause."""

from typing import Any

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_common.config import Kind
from hermes_common.dicom.uids import uid_problem
from hermes_common.runtime.errors import BusUnavailableError
from hermes_web.core.configuration import used_by, with_target
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import (
    FieldProblem,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
    StateConflictError,
    UnavailableError,
    WebError,
)
from hermes_web.features.status.queries import Queue, queues
from hermes_web.features.targets import forms, service
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.http.viewing import told
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest

_NOTHING: dict[str, Any] = {"tested": None, "state": None, "users": [], "preview": None, "preview_series": ""}


def _form_page(
    request: HttpRequest,
    values: dict[str, Any],
    revision: int,
    *,
    is_new: bool,
    error: WebError | None = None,
    **extra: Any,
) -> Page:
    problems: dict[str, list[FieldProblem]] = {}
    for item in () if error is None else error.problems:
        problems.setdefault(item.field, []).append(item)
    common: dict[str, Any] = {
        "groups": forms.groups_of(values["kind"]),
        "kind_name": forms.NAMES[values["kind"]],
        "values": values,
        "revision": revision,
        "is_new": is_new,
        "problems": problems,
        "error": error,
    }
    return page(request, "targets/edit.html", **common, **{**_NOTHING, **extra})


async def _queues(web: Web) -> dict[str, Queue]:
    try:
        return {item.target: item for item in await web.database.run(queues)}
    except UnavailableError:
        return {}


class TargetPages(Controller):
    """Targets."""

    path = "/targets"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show the targets with their queues."""
        web = web_of(request)
        revision, targets = await web.targets()
        _, rules = await web.rules()
        users = {target.slug: used_by(target.slug, rules) for target in targets.targets}
        return page(
            request,
            "targets/list.html",
            revision=revision,
            targets=targets.targets,
            users=users,
            states=await service.states(web, targets),
            kinds=forms.NAMES,
            addresses={target.slug: forms.address_of(target) for target in targets.targets},
            queues=await _queues(web),
        )

    @get("/_new/{kind:str}", opt=ADMIN)
    async def new(self, request: HttpRequest, kind: FromPath[str]) -> Page:
        """Show an empty form."""
        if not forms.is_kind(kind):
            raise NotFoundError("there is no such kind of target")
        revision, _ = await web_of(request).targets()
        return _form_page(request, forms.new_values(kind), revision.revision, is_new=True)

    @post("/_new/{kind:str}", opt=ADMIN)
    async def create(self, request: HttpRequest, kind: FromPath[str]) -> Page | Redirect:
        """Add a target."""
        if not forms.is_kind(kind):
            raise NotFoundError("there is no such kind of target")
        return await self._save(request, kind, None)

    @get("/{slug:str}", opt=VIEWER)
    async def edit(self, request: HttpRequest, slug: FromPath[str]) -> Page:
        """Show the form of a target."""
        return await self._one(request, slug)

    @post("/{slug:str}", opt=ADMIN)
    async def save(self, request: HttpRequest, slug: FromPath[str]) -> Page | Redirect:
        """Change a target."""
        return await self._save(request, (await service.find(web_of(request), slug)).kind, slug)

    @post("/{slug:str}/test", opt=ADMIN, status_code=200)
    async def test(self, request: HttpRequest, slug: FromPath[str]) -> Page:
        """Have a target tested and show the steps."""
        try:
            return await self._one(request, slug, tested=await service.test(web_of(request), slug))
        except UnavailableError as error:
            return await self._one(request, slug, error=error)

    @post("/{slug:str}/preview", opt=ADMIN, status_code=200)
    async def preview(self, request: HttpRequest, slug: FromPath[str]) -> Page:
        """Show what the settings of the form would change in a stored series; nothing is saved or sent."""
        return await self._previewed(request, (await service.find(web_of(request), slug)).kind, slug)

    @post("/_new/{kind:str}/preview", opt=ADMIN, status_code=200)
    async def preview_new(self, request: HttpRequest, kind: FromPath[str]) -> Page:
        """Show the same for a target that is not saved yet."""
        if not forms.is_kind(kind):
            raise NotFoundError("there is no such kind of target")
        return await self._previewed(request, kind, None)

    @post("/{slug:str}/pause", opt=ADMIN)
    async def pause(self, request: HttpRequest, slug: FromPath[str]) -> Page | Redirect:
        """Pause a target, for a while if one is given."""
        web, form = web_of(request), await read_form(request)
        try:
            until = service.end_of_pause(form.text("for"))
            await service.pause(web, slug, principal_of(request).name, form.text("reason")[:500], until)
        except (InvalidError, StateConflictError, PreconditionFailedError) as error:
            return await self._one(request, slug, error=error)
        return go(f"/targets/{slug}", "saved")

    @post("/{slug:str}/resume", opt=ADMIN)
    async def resume(self, request: HttpRequest, slug: FromPath[str]) -> Page | Redirect:
        """Resume a target."""
        web, form = web_of(request), await read_form(request)
        try:
            await service.resume(web, slug, principal_of(request).name, form.text("reason")[:500])
        except (InvalidError, StateConflictError, PreconditionFailedError) as error:
            return await self._one(request, slug, error=error)
        return go(f"/targets/{slug}", "saved")

    @post("/{slug:str}/remove", opt=ADMIN)
    async def remove(self, request: HttpRequest, slug: FromPath[str]) -> Redirect | Page:
        """Remove a target that no rule uses."""
        web, form = web_of(request), await read_form(request)
        _, targets = await web.targets()
        changed = service.without(targets, slug)
        author = principal_of(request).name
        try:
            await web.save(Kind.TARGETS, changed, form.number("revision"), author, f"{slug}: removed")
        except InvalidError as error:
            return await self._one(request, slug, error=error)
        return go("/targets", "removed")

    async def _one(self, request: HttpRequest, slug: str, **extra: Any) -> Page:
        web = web_of(request)
        revision, targets = await web.targets()
        _, rules = await web.rules()
        target = await service.find(web, slug)
        try:
            state = (await service.states(web, targets)).get(slug)
        except BusUnavailableError:
            state = None
        common = {"is_new": False, "users": used_by(slug, rules), "state": state}
        return _form_page(request, forms.values_of(target), revision.revision, **{**common, **extra})

    @staticmethod
    async def _previewed(request: HttpRequest, kind: str, slug: str | None) -> Page:
        web, form = web_of(request), await read_form(request)
        _, targets = await web.targets()
        known = None if slug is None else targets.get(slug)
        values = forms.typed_values(form, kind, known)
        values["slug"] = slug or values["slug"]
        uid, is_new = form.text("preview_series"), slug is None
        extra: dict[str, Any] = {"preview_series": uid}
        try:
            if uid_problem(uid):
                raise InvalidError(problems=[FieldProblem("preview_series", "the UID of a stored series is needed")])
            target = forms.made_of(form, values, known)
            extra["preview"] = told(request, await service.preview(web, target, uid))
        except (InvalidError, NotFoundError, UnavailableError) as error:
            return _form_page(request, values, form.number("revision"), is_new=is_new, error=_in_form(error), **extra)
        return _form_page(request, values, form.number("revision"), is_new=is_new, **extra)

    @staticmethod
    async def _save(request: HttpRequest, kind: str, slug: str | None) -> Page | Redirect:
        web, form = web_of(request), await read_form(request)
        _, targets = await web.targets()
        known = None if slug is None else targets.get(slug)
        values, expected = forms.typed_values(form, kind, known), form.number("revision")
        try:
            if slug is not None:
                values["slug"] = slug
            elif targets.get(values["slug"]) is not None:
                raise InvalidError(problems=[FieldProblem("slug", "there is a target of this short name already")])
            changed = with_target(targets, forms.made_of(form, values, known))
            comment = form.text("why") or f"{values['slug']}: {'added' if slug is None else 'changed'}"
            await web.save(Kind.TARGETS, changed, expected, principal_of(request).name, comment)
        except (InvalidError, PreconditionFailedError) as error:
            return _form_page(request, values, expected, is_new=slug is None, error=_in_form(error))
        return go("/targets", "saved")


def _in_form(error: WebError) -> WebError:
    """Name the fields of the form, where the whole document was checked: ``targets[3].tls.key`` is ``tls.key``."""
    for item in error.problems:
        head, dot, rest = item.field.partition(".")
        if head.startswith("targets[") and dot:
            return type(error)(problems=[FieldProblem(rest, item.message), *error.problems[1:]])
    return error

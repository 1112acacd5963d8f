"""Pages of targets: list, form, test."""

from typing import Any

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from pydantic import TypeAdapter, ValidationError

from hermes_common.config import DicomTarget, FolderTarget, Kind, Target
from hermes_web.core.configuration import problems_of, used_by, with_target
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import (
    FieldProblem,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    WebError,
)
from hermes_web.features.rules.forms import slug_of
from hermes_web.features.status.queries import Queue, queues
from hermes_web.features.targets import service
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import Form, read_form
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest

_TARGET: TypeAdapter[DicomTarget | FolderTarget] = TypeAdapter(Target)
_COMMON = ("slug", "name", "concurrency", "contact", "comment")
_OWN = {
    "dicom": ("host", "port", "called_aet", "calling_aet", "connect_timeout", "response_timeout"),
    "folder": ("path",),
}
_RETRY = ("max_attempts", "delay", "factor", "max_delay")


def values_of(target: DicomTarget | FolderTarget) -> dict[str, Any]:
    """Return the form's values for a target."""
    values = target.model_dump(mode="json")
    return {**values, **{f"retry_{name}": values["retry"][name] for name in _RETRY}}


def new_values(kind: str) -> dict[str, Any]:
    """Return the form's values for a new target: empty, or the defaults."""
    base = {"slug": "new", "name": "new"}
    sample = (
        DicomTarget.model_validate({**base, "host": "h", "port": 104, "called_aet": "A"})
        if kind == "dicom"
        else FolderTarget.model_validate({**base, "path": "/p"})
    )
    return {**values_of(sample), **dict.fromkeys(("slug", "name", "host", "called_aet", "path"), "")}


def typed_values(form: Form, kind: str) -> dict[str, Any]:
    """Return the values as they were typed."""
    names = (*_COMMON, *_OWN[kind], *(f"retry_{name}" for name in _RETRY))
    slug = form.text("slug") or slug_of(form.text("name"))
    return {**{name: form.text(name) for name in names}, "slug": slug, "enabled": form.checked("enabled"), "kind": kind}


def parse_target(values: dict[str, Any]) -> DicomTarget | FolderTarget:
    """Return the target; raise :class:`InvalidError` that names the form's fields."""
    document = {key: value for key, value in values.items() if not key.startswith("retry")}
    document["retry"] = {name: values[f"retry_{name}"] for name in _RETRY}
    try:
        return _TARGET.validate_python(document)
    except ValidationError as error:
        problems = [
            FieldProblem(item.field.replace("retry.", "retry_").replace("document", "slug"), item.message)
            for item in problems_of(error)
        ]
        raise InvalidError(problems=problems) from error


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
        "values": values,
        "revision": revision,
        "is_new": is_new,
        "problems": problems,
        "error": error,
    }
    return page(request, "targets/edit.html", **common, **{"probe": None, "users": [], **extra})


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
            queues=await _queues(web),
        )

    @get("/_new/{kind:str}", opt=ADMIN)
    async def new(self, request: HttpRequest, kind: FromPath[str]) -> Page:
        """Show an empty form."""
        if kind not in _OWN:
            raise NotFoundError("there is no such kind of target")
        revision, _ = await web_of(request).targets()
        return _form_page(request, new_values(kind), revision.revision, is_new=True)

    @post("/_new/{kind:str}", opt=ADMIN)
    async def create(self, request: HttpRequest, kind: FromPath[str]) -> Page | Redirect:
        """Add a target."""
        if kind not in _OWN:
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
        """Test a target and show the steps."""
        return await self._one(request, slug, probe=await service.test(web_of(request), slug))

    @post("/{slug:str}/remove", opt=ADMIN)
    async def remove(self, request: HttpRequest, slug: FromPath[str]) -> Redirect | Page:
        """Remove a target that no rule uses."""
        web, form = web_of(request), await read_form(request)
        _, targets = await web.targets()
        changed = service.without(targets, slug).model_dump(mode="json")
        author = principal_of(request).name
        try:
            await web.save(Kind.TARGETS, changed, form.number("revision"), author, f"{slug}: removed")
        except InvalidError as error:
            return await self._one(request, slug, error=error)
        return go("/targets", "removed")

    async def _one(self, request: HttpRequest, slug: str, **extra: Any) -> Page:
        web = web_of(request)
        revision, _ = await web.targets()
        _, rules = await web.rules()
        values = values_of(await service.find(web, slug))
        return _form_page(request, values, revision.revision, is_new=False, users=used_by(slug, rules), **extra)

    @staticmethod
    async def _save(request: HttpRequest, kind: str, slug: str | None) -> Page | Redirect:
        web, form = web_of(request), await read_form(request)
        values, expected = typed_values(form, kind), form.number("revision")
        _, targets = await web.targets()
        try:
            if slug is not None:
                values["slug"] = slug
            elif targets.get(values["slug"]) is not None:
                raise InvalidError(problems=[FieldProblem("slug", "there is a target of this short name already")])
            changed = with_target(targets, parse_target(values)).model_dump(mode="json")
            comment = form.text("why") or f"{values['slug']}: {'added' if slug is None else 'changed'}"
            await web.save(Kind.TARGETS, changed, expected, principal_of(request).name, comment)
        except (InvalidError, PreconditionFailedError) as error:
            return _form_page(request, values, expected, is_new=slug is None, error=error)
        return go("/targets", "saved")

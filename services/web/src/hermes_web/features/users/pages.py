"""Pages of accounts and tokens, and of one's own password."""

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_web.adapters import accounts
from hermes_web.adapters.sessions import list_sessions
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import InvalidError, StateConflictError
from hermes_web.features.signin.pages import address_of
from hermes_web.features.tokens import service as tokens
from hermes_web.features.users import service
from hermes_web.http.answers import Page, go, page
from hermes_web.http.cookies import give_session
from hermes_web.http.forms import Form, read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


async def _overview(
    request: HttpRequest, error: InvalidError | None = None, form: Form | None = None, made: str = ""
) -> Page:
    web = web_of(request)
    admin = principal_of(request).is_admin
    return page(
        request,
        "users/list.html",
        users=await web.database.run(accounts.list_users) if admin else [],
        tokens=await web.database.run(accounts.list_tokens) if admin else [],
        error=error,
        form=form or Form([]),
        made=made,
    )


class UserPages(Controller):
    """Users and tokens."""

    include_in_schema = False

    @get("/users", opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show accounts and tokens; a viewer sees only how to change the own password."""
        return await _overview(request)

    @post("/users", opt=ADMIN)
    async def create(self, request: HttpRequest) -> Page | Redirect:
        """Make an account."""
        form = await read_form(request)
        actor = principal_of(request).name
        try:
            await service.create(web_of(request), form.text("name"), form.raw("password"), form.text("role"), actor)
        except InvalidError as error:
            return await _overview(request, error, form)
        return go("/users", "created")

    @post("/tokens", opt=ADMIN, status_code=200)
    async def create_token(self, request: HttpRequest) -> Page:
        """Make a token and show it this once."""
        form = await read_form(request)
        maker = principal_of(request)
        try:
            days = form.number("days") if form.text("days") else None
            made, _ = await tokens.create(web_of(request), form.text("token_name"), form.text("role"), days, maker)
        except InvalidError as error:
            return await _overview(request, error, form)
        return await _overview(request, made=made)

    @post("/tokens/{token_id:str}/revoke", opt=ADMIN)
    async def revoke_token(self, request: HttpRequest, token_id: FromPath[str]) -> Redirect:
        """End a token."""
        await tokens.revoke(web_of(request), token_id, principal_of(request).name)
        return go("/users", "revoked")

    @get("/users/{name:str}", opt=ADMIN)
    async def one(self, request: HttpRequest, name: FromPath[str]) -> Page:
        """Show an account."""
        return await self._one(request, name)

    @post("/users/{name:str}/{action:str}", opt=ADMIN)
    async def change(self, request: HttpRequest, name: FromPath[str], action: FromPath[str]) -> Page | Redirect:
        """Change role or password, disable or enable, end sessions."""
        web, form, principal = web_of(request), await read_form(request), principal_of(request)
        actor, own = principal.name, principal.account
        try:
            match action:
                case "role":
                    await service.change(web, name, actor, role=form.text("role"), own=own)
                case "password":
                    await service.change(web, name, actor, password=form.raw("password"), own=own)
                case "disable" | "enable":
                    await service.change(web, name, actor, enabled=action == "enable", own=own)
                case "sessions":
                    await service.end_sessions(web, name, actor)
                case "session":
                    await service.end_session(web, name, form.text("session"), actor)
                case "second-factor":
                    await service.reset_factor(web, name, actor)
                case _:
                    raise StateConflictError("there is no such action")
        except InvalidError as error:
            return await self._one(request, name, error)
        return go(f"/users/{name}", {"disable": "disabled", "enable": "enabled"}.get(action, action))

    @get("/password", opt={**VIEWER, "enrols": True})
    async def password(self, request: HttpRequest) -> Page:
        """Show the form for one's own password."""
        return page(request, "users/password.html", error=None)

    @post("/password", opt={**VIEWER, "enrols": True})
    async def change_password(self, request: HttpRequest) -> Page | Redirect:
        """Change one's own password; goes on in a new session."""
        web, form, name = web_of(request), await read_form(request), principal_of(request).name
        agent = request.headers.get("user-agent", "")
        old, new = form.raw("old"), form.raw("password")
        try:
            secret = await service.change_own_password(web, name, old, new, address_of(request), agent)
        except InvalidError as error:
            return page(request, "users/password.html", error=error)
        answer = go("/account", "password")
        answer.set_cookie(give_session(request, web.settings, secret))
        return answer

    @staticmethod
    async def _one(request: HttpRequest, name: str, error: InvalidError | None = None) -> Page:
        database = web_of(request).database
        user = await database.run(accounts.get_user, name)
        return page(request, "users/one.html", user=user, sessions=await database.run(list_sessions, name), error=error)

"""``/api/v1/users``."""

from typing import Literal

from litestar import Controller, delete, get, patch, post
from litestar.params import FromPath, JSONBody
from pydantic import BaseModel, ConfigDict

from hermes_web.adapters import accounts
from hermes_web.adapters.accounts import User
from hermes_web.adapters.sessions import Session, list_sessions
from hermes_web.core.roles import ADMIN
from hermes_web.features.users import service
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class NewUser(BaseModel):
    """An account to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str
    password: str
    role: Literal["viewer", "admin"] = "viewer"


class UserChange(BaseModel):
    """What is to be changed of an account; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["viewer", "admin"] | None = None
    password: str | None = None
    enabled: bool | None = None


class UsersController(Controller):
    """Accounts: for administrators."""

    path = "/users"
    tags = ["users"]
    opt = ADMIN

    @get()
    async def listing(self, request: HttpRequest) -> dict[str, list[User]]:
        """Return every account."""
        return {"items": await web_of(request).database.run(accounts.list_users)}

    @post()
    async def create(self, request: HttpRequest, data: JSONBody[NewUser]) -> User:
        """Make an account."""
        return await service.create(web_of(request), data.name, data.password, data.role, principal_of(request).name)

    @get("/{name:str}")
    async def one(self, request: HttpRequest, name: FromPath[str]) -> User:
        """Return an account."""
        return await web_of(request).database.run(accounts.get_user, name)

    @patch("/{name:str}")
    async def change(self, request: HttpRequest, name: FromPath[str], data: JSONBody[UserChange]) -> User:
        """Change role, password, or whether it is enabled; each ends the account's sessions."""
        principal = principal_of(request)
        asked = (data.role, data.password, data.enabled)
        return await service.change(web_of(request), name, principal.name, *asked, own=principal.account)

    @get("/{name:str}/sessions")
    async def sessions(self, request: HttpRequest, name: FromPath[str]) -> dict[str, list[Session]]:
        """Return the live sessions of an account."""
        return {"items": await web_of(request).database.run(list_sessions, name)}

    @delete("/{name:str}/sessions", status_code=200)
    async def end_sessions(self, request: HttpRequest, name: FromPath[str]) -> dict[str, int]:
        """End every session of an account."""
        return {"ended": await service.end_sessions(web_of(request), name, principal_of(request).name)}

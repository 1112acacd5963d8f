"""``/api/v1/tokens``."""

from typing import Literal

from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody
from pydantic import BaseModel, ConfigDict

from hermes_web.adapters import accounts
from hermes_web.adapters.accounts import Token
from hermes_web.core.roles import ADMIN
from hermes_web.features.tokens import service
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class NewToken(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str
    role: Literal["sender", "viewer", "admin"] = "viewer"
    expires_in_days: int | None = None


class CreatedToken(Token):
    """A token with its secret, which is shown this once."""

    token: str


class TokensController(Controller):
    """API tokens: for administrators."""

    path = "/tokens"
    tags = ["tokens"]
    opt = ADMIN

    @get()
    async def listing(self, request: HttpRequest) -> dict[str, list[Token]]:
        """Return the tokens, without their secrets."""
        return {"items": await web_of(request).database.run(accounts.list_tokens)}

    @post()
    async def create(self, request: HttpRequest, data: JSONBody[NewToken]) -> CreatedToken:
        """Make a token; its secret is in this answer and nowhere else."""
        maker = principal_of(request)
        secret, token = await service.create(web_of(request), data.name, data.role, data.expires_in_days, maker)
        return CreatedToken(**token.model_dump(), token=secret)

    @delete("/{token_id:str}")
    async def revoke(self, request: HttpRequest, token_id: FromPath[str]) -> None:
        """End a token."""
        await service.revoke(web_of(request), token_id, principal_of(request).name)

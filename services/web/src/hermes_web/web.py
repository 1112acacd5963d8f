"""What the controllers have at hand: made once by ``app.build``, found through the request."""

from dataclasses import dataclass
from typing import Any, cast

from hermes_common.config import Kind, Revision, RuleSet, Targets
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.health import Health
from hermes_web.adapters.commands import Commands
from hermes_web.adapters.configstore import ConfigStore
from hermes_web.adapters.database import Database
from hermes_web.adapters.fleet import Fleet
from hermes_web.adapters.hashing import Hasher
from hermes_web.adapters.live import Live
from hermes_web.adapters.outbox import Outbox
from hermes_web.core.configuration import check_fit, parse_document
from hermes_web.core.roles import Principal
from hermes_web.errors import InvalidError, SignInNeededError
from hermes_web.http.assets import Assets
from hermes_web.http.rendering import Renderer
from hermes_web.settings import Settings
from hermes_web.web_types import Connection, HttpRequest


@dataclass(frozen=True)
class Web:
    """The collaborators of the controllers."""

    settings: Settings
    version: str
    bus: Bus
    health: Health
    database: Database
    hasher: Hasher
    outbox: Outbox
    config: ConfigStore
    commands: Commands
    fleet: Fleet
    renderer: Renderer
    assets: Assets
    live: Live

    async def rules(self) -> tuple[Revision, RuleSet]:
        """Return the present rules, from the bucket itself."""
        revision = await self.config.current(Kind.RULES)
        return revision, cast(RuleSet, revision.parsed())

    async def targets(self) -> tuple[Revision, Targets]:
        """Return the present targets, from the bucket itself."""
        revision = await self.config.current(Kind.TARGETS)
        return revision, cast(Targets, revision.parsed())

    async def save(self, kind: Kind, document: Any, expected: int, author: str, comment: str) -> Revision:
        """Check a document against itself and the others, and save it; raises what says why not."""
        parsed = parse_document(kind, document)
        if len(comment) > 2000:
            raise InvalidError("comment: at most 2000 characters")
        _, rules = await self.rules()
        _, targets = await self.targets()
        check_fit(kind, parsed, rules, targets)
        return await self.config.save(kind, parsed, expected, author, comment)


def web_of(connection: Connection | HttpRequest) -> Web:
    """Return the collaborators of the application that serves a connection."""
    return cast(Web, connection.app.state.web)


def principal_of(request: HttpRequest) -> Principal:
    """Return who makes a request; the guard has seen to it that there is somebody."""
    principal = request.scope["state"].get("principal")
    if principal is None:
        raise SignInNeededError
    return cast(Principal, principal)

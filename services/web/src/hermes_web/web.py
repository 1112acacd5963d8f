"""What the controllers have at hand: made once by ``app.build``, found through the request."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from hermes_common.config import Alerting, Kind, Policies, Revision, RuleSet, Sources, Targets
from hermes_common.dicom.tags import DEFAULT_TAGS
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.health import Health
from hermes_common.runtime.sealing import KeyMissingError, Sealer, SecretRefusedError, sealed_channels, sealed_targets
from hermes_web.adapters.access_mirror import AccessMirror
from hermes_web.adapters.channels import ChannelsOnBus
from hermes_web.adapters.cleaner import CleanerOnBus
from hermes_web.adapters.commands import Commands
from hermes_web.adapters.configstore import ConfigStore
from hermes_web.adapters.database import Database
from hermes_web.adapters.fleet import Fleet
from hermes_web.adapters.hashing import Hasher
from hermes_web.adapters.identity_provider import IdentityProvider
from hermes_web.adapters.live import Live
from hermes_web.adapters.outbox import Outbox
from hermes_web.adapters.recentlog import RecentLog
from hermes_web.adapters.replays import Replays
from hermes_web.adapters.rule_hits import RuleHits
from hermes_web.adapters.targets import TargetsOnBus
from hermes_web.adapters.thumbnails import Thumbnails
from hermes_web.core.configuration import check_fit, kept_passcodes, parse_document
from hermes_web.core.roles import Principal
from hermes_web.core.standing import Standings
from hermes_web.errors import FieldProblem, InvalidError, SignInNeededError
from hermes_web.features.audit.chain import Checker
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
    cleaner: CleanerOnBus
    targets_on_bus: TargetsOnBus
    channels_on_bus: ChannelsOnBus
    thumbnails: Thumbnails
    sealer: Sealer
    audit_checker: Checker
    fleet: Fleet
    renderer: Renderer
    replays: Replays
    access: AccessMirror
    assets: Assets
    live: Live
    rule_hits: RuleHits
    standings: Standings
    recent: RecentLog
    provider: IdentityProvider | None
    """None unless one is configured."""

    async def rules(self) -> tuple[Revision, RuleSet]:
        """Return the present rules, from the bucket itself."""
        revision, document = await self.config.parsed(Kind.RULES)
        return revision, cast(RuleSet, document)

    async def targets(self) -> tuple[Revision, Targets]:
        """Return the present targets, from the bucket itself."""
        revision, document = await self.config.parsed(Kind.TARGETS)
        return revision, cast(Targets, document)

    async def alerting(self) -> tuple[Revision, Alerting]:
        """Return the present conditions, channels and silences of alerts, from the bucket itself."""
        revision, document = await self.config.parsed(Kind.ALERTING)
        return revision, cast(Alerting, document)

    async def collected(self) -> tuple[str, ...]:
        """Return the tags that are read from the images: the default list, and what the present policies add."""
        policies = cast(Policies, (await self.config.parsed(Kind.POLICIES))[1])
        return (*DEFAULT_TAGS, *policies.extra_tags)

    async def save(self, kind: Kind, document: Any, expected: int, author: str, comment: str) -> Revision:
        """Check a document against itself and the others, seal its secrets, and save it; raises what says why not."""
        parsed = parse_document(kind, document)
        if len(comment) > 2000:
            raise InvalidError("comment: at most 2000 characters")
        _, rules = await self.rules()
        _, targets = await self.targets()
        await asyncio.to_thread(check_fit, kind, parsed, rules, targets)
        if isinstance(parsed, Targets):
            parsed = self.sealed(parsed, targets)
        elif isinstance(parsed, Alerting):
            parsed = self._sealed_channels(parsed, (await self.alerting())[1])
        elif isinstance(parsed, Sources):
            parsed = kept_passcodes(parsed, cast(Sources, (await self.config.parsed(Kind.SOURCES))[1]))
        return await self.config.save(kind, parsed, expected, author, comment)

    def sealed(self, given: Targets, present: Targets) -> Targets:
        """Return targets with every secret sealed; raise :class:`InvalidError` that names one that cannot be."""
        try:
            return sealed_targets(given, present, self.sealer)
        except SecretRefusedError as error:
            place = next(n for n, target in enumerate(given.targets) if target.slug == error.slug)
            field = f"targets[{place}].{error.field}"
            raise InvalidError(problems=[FieldProblem(field, error.reason)]) from error
        except KeyMissingError as error:
            raise InvalidError(problems=[FieldProblem("targets", str(error))]) from error

    def _sealed_channels(self, given: Alerting, present: Alerting) -> Alerting:
        try:
            return sealed_channels(given, present, self.sealer)
        except SecretRefusedError as error:
            place = next(n for n, channel in enumerate(given.channels) if channel.slug == error.slug)
            field = f"channels[{place}].{error.field}"
            raise InvalidError(problems=[FieldProblem(field, error.reason)]) from error
        except KeyMissingError as error:
            raise InvalidError(problems=[FieldProblem("channels", str(error))]) from error


def web_of(connection: Connection | HttpRequest) -> Web:
    """Return the collaborators of the application that serves a connection."""
    return cast(Web, connection.app.state.web)


def principal_of(request: HttpRequest) -> Principal:
    """Return who makes a request; the guard has seen to it that there is somebody."""
    principal = request.scope["state"].get("principal")
    if principal is None:
        raise SignInNeededError
    return cast(Principal, principal)

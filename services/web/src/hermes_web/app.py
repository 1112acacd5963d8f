"""The composition root: the routes, and the one place where collaborators are made."""

import asyncio
import logging
from pathlib import Path

from litestar import Litestar, Router
from litestar.datastructures import CacheControlHeader, State
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from hermes_common.config import Kind
from hermes_common.runtime.auditanchors import BusAnchors
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import UnusableSettingsError
from hermes_common.runtime.health import Health
from hermes_common.runtime.sealing import Sealer, chain_key
from hermes_common.runtime.service import Context
from hermes_web.adapters.access_mirror import AccessMirror
from hermes_web.adapters.accounts import any_account, seed
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
from hermes_web.adapters.server import serve
from hermes_web.adapters.targets import TargetsOnBus
from hermes_web.adapters.thumbnails import Thumbnails
from hermes_web.core.passwords import fold_name, name_problem, password_problem
from hermes_web.core.roles import PUBLIC
from hermes_web.core.standing import Standings
from hermes_web.errors import UnavailableError
from hermes_web.features.account.pages import AccountPages
from hermes_web.features.alerts.api import AlertsController
from hermes_web.features.alerts.pages import AlertPages
from hermes_web.features.associations.controllers import AssociationsController, associations_page
from hermes_web.features.audit.chain import Checker
from hermes_web.features.audit.controllers import AuditController, audit_export, audit_page
from hermes_web.features.configuration.api import document_controller
from hermes_web.features.configuration.pages import HistoryPages
from hermes_web.features.deliveries.api import DeliveriesController
from hermes_web.features.deliveries.pages import DeliveryPages
from hermes_web.features.dicomweb.controllers import store_instances
from hermes_web.features.errors.pages import ErrorPages
from hermes_web.features.flow.pages import flow_page
from hermes_web.features.live.controllers import changes, changes_of_series, palette, series_news
from hermes_web.features.operations.controllers import livez, metrics, openapi, readyz
from hermes_web.features.policies.pages import PolicyPages
from hermes_web.features.quarantine.controllers import QuarantineController, QuarantinePages
from hermes_web.features.queues.pages import pause_target, queues_page, resume_target
from hermes_web.features.rules.api import RuleToolsController
from hermes_web.features.rules.live import RuleLive
from hermes_web.features.rules.mercure import MercurePages
from hermes_web.features.rules.pages import RulePages
from hermes_web.features.rules.tools import RuleToolPages
from hermes_web.features.series.api import SeriesController
from hermes_web.features.series.pages import SeriesPages
from hermes_web.features.signin.pages import (
    second_step_form,
    second_step_page,
    sign_in_form,
    sign_in_page,
    sign_out_form,
)
from hermes_web.features.signin.sso import SsoPages
from hermes_web.features.sources.api import SeenController
from hermes_web.features.sources.pages import SourcePages
from hermes_web.features.start.pages import StartPages
from hermes_web.features.status.controllers import overview, status
from hermes_web.features.storage.api import StorageController, policies_preview
from hermes_web.features.storage.pages import storage_page, sweep_form
from hermes_web.features.studies.api import StudiesController
from hermes_web.features.studies.pages import StudyPages
from hermes_web.features.system.events import events_page
from hermes_web.features.system.pages import diagnostics, system_api, system_page
from hermes_web.features.targets.api import TargetsController, target_states
from hermes_web.features.targets.pages import TargetPages
from hermes_web.features.thumbnails.api import ThumbnailsController
from hermes_web.features.thumbnails.pages import ThumbnailPages
from hermes_web.features.tokens.api import TokensController
from hermes_web.features.users.api import UsersController
from hermes_web.features.users.pages import UserPages
from hermes_web.http.answers import problem
from hermes_web.http.assets import PREFIX, Assets, find_assets
from hermes_web.http.guard import authorise, check_declarations
from hermes_web.http.headers import MAX_BODY, Shell
from hermes_web.http.rendering import Renderer
from hermes_web.settings import Settings
from hermes_web.web import Web

log = logging.getLogger(__name__)

_MIN_TOKEN = 16


class _NoRoutes(Router):
    """Litestar adds pages for its OpenAPI document, some of which load from elsewhere: none of them is served."""

    def register(self, value: ControllerRouterHandler) -> list[object]:  # type: ignore[override]  # noqa: ARG002
        return []


def make_web(settings: Settings, version: str, bus: Bus, health: Health) -> Web:
    """Return the collaborators; nothing is opened yet."""
    url = settings.database_url.get_secret_value()
    assets = find_assets()
    database = Database(url, settings.database_pool, settings.database_statement_seconds)
    return Web(
        settings=settings,
        version=version,
        bus=bus,
        health=health,
        database=database,
        hasher=Hasher(),
        outbox=Outbox(database, bus),
        config=ConfigStore(bus),
        commands=Commands(bus),
        cleaner=CleanerOnBus(bus),
        targets_on_bus=TargetsOnBus(bus),
        channels_on_bus=ChannelsOnBus(bus),
        thumbnails=Thumbnails(bus),
        sealer=Sealer(settings.secret_key),
        audit_checker=Checker(database, BusAnchors(bus), chain_key(settings.secret_key)),
        fleet=Fleet(bus),
        renderer=Renderer(version, assets),
        assets=assets,
        live=Live(bus),
        replays=Replays(url),
        access=AccessMirror(database, bus),
        rule_hits=RuleHits(database),
        standings=Standings(),
        recent=RecentLog(),
        provider=_provider(settings),
    )


def _provider(settings: Settings) -> IdentityProvider | None:
    if settings.oidc_issuer is not None:
        return IdentityProvider(settings)
    if not settings.local_sign_in:
        raise UnusableSettingsError(
            "HERMES_LOCAL_SIGN_IN is false and HERMES_OIDC_ISSUER is missing: nobody could sign in"
        )
    return None


def build(web: Web) -> Litestar:
    """Return the application; raise :class:`UndeclaredRouteError` if a route does not declare its role."""
    app = Litestar(
        route_handlers=[*_pages(), _api(), store_instances, livez, readyz, metrics, *_static(web.assets)],
        guards=[authorise],
        exception_handlers={Exception: problem},
        state=State({"web": web}),
        openapi_config=_openapi(web.version),
        request_max_body_size=MAX_BODY,
        logging_config=None,
    )
    check_declarations(app)
    return app


def _api() -> Router:
    documents = [document_controller(kind) for kind in Kind]
    areas = [TokensController, UsersController, RuleToolsController, TargetsController, SeriesController]
    lists = [StudiesController, DeliveriesController, AuditController, QuarantineController, AlertsController]
    senders = [AssociationsController, SeenController, StorageController, ThumbnailsController]
    handlers = [*documents, *areas, *lists, *senders, policies_preview, target_states, status, system_api, openapi]
    return Router("/api/v1", route_handlers=handlers, opt={"api": True})


def _pages() -> list[ControllerRouterHandler]:
    lists: list[ControllerRouterHandler] = [overview, audit_page, audit_export]
    lists += [associations_page, storage_page, sweep_form, ThumbnailPages]
    areas: list[ControllerRouterHandler] = [
        SeriesPages,
        StudyPages,
        DeliveryPages,
        ErrorPages,
        RulePages,
        RuleToolPages,
        RuleLive,
        MercurePages,
        TargetPages,
        SourcePages,
        PolicyPages,
        AlertPages,
        StartPages,
        QuarantinePages,
    ]
    lists += [system_page, diagnostics, events_page]
    lists += [flow_page, queues_page, pause_target, resume_target, series_news, changes, changes_of_series, palette]
    signing = [sign_in_page, sign_in_form, second_step_page, second_step_form, sign_out_form, SsoPages]
    return [*lists, *areas, HistoryPages, UserPages, AccountPages, *signing]


def _static(assets: Assets) -> list[Router]:
    """Return what is served as it is; what was built has its digest in its name and may be kept for ever."""
    opt = {**PUBLIC, "anonymous": True}
    own = Path(__file__).parent / "static"
    found = [create_static_files_router(path="/static", directories=[own], opt=opt, include_in_schema=False)]
    if assets.folder is not None:
        keep = CacheControlHeader(max_age=31536000, immutable=True, public=True)
        built = create_static_files_router(
            path=PREFIX, directories=[assets.folder], opt=opt, cache_control=keep, include_in_schema=False
        )
        found.append(built)
    return found


def _openapi(version: str) -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="An API token; see /users.")
    return OpenAPIConfig(
        title="Hermes",
        version=version,
        description="The HTTP API of the Hermes DICOM router. Errors are RFC 9457 problem documents.",
        security=[{"token": []}],
        components=Components(security_schemes={"token": bearer}),
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin()],
        openapi_router=_NoRoutes(path="/api/v1/schema", route_handlers=[]),
    )


async def main(context: Context[Settings]) -> None:
    """Put the service together and start its work."""
    web = make_web(context.settings, context.version, context.bus, context.health)
    context.cleanup.push_async_callback(asyncio.to_thread, web.database.close)
    context.cleanup.push_async_callback(asyncio.to_thread, web.hasher.close)
    context.health.require("database", lambda: None if web.database.is_ready else "the database is not connected yet")
    seeded = asyncio.Event()
    context.health.require("accounts", lambda: None if seeded.is_set() else "the accounts are not ready yet")
    context.health.inform("bus", context.bus.problem)
    logging.getLogger().addHandler(web.recent)
    app = Shell(build(web))
    context.work("http", serve(app, context.settings, context.stopping))
    context.background("accounts", _accounts(web, seeded))
    context.work("live", web.live.run(context.stopping))
    context.background("outbox", web.outbox.run())
    context.background("access", web.access.run())
    context.background("configuration", web.config.run())


async def _accounts(web: Web, seeded: asyncio.Event) -> None:
    await web.database.prepare()
    while not seeded.is_set():
        try:
            await seed_administrator(web)
            seeded.set()
        except UnavailableError as error:
            log.warning("the first administrator cannot be made yet: %s", error)
            await asyncio.sleep(1)


async def seed_administrator(web: Web) -> None:
    """Make the first administrator while there is no user.

    Raises :class:`UnusableSettingsError` if there is none and the environment's name or password cannot be used.
    """
    settings = web.settings
    if settings.admin_password is None or await web.database.run(any_account):
        return
    name, password = fold_name(settings.admin_user), settings.admin_password.get_secret_value()
    token = None if settings.admin_token is None else settings.admin_token.get_secret_value()
    if (wrong := name_problem(name)) is not None:
        raise UnusableSettingsError(f"HERMES_ADMIN_USER cannot be used: {wrong}")
    if (wrong := password_problem(password, name)) is not None:
        raise UnusableSettingsError(f"HERMES_ADMIN_PASSWORD cannot be used: {wrong}")
    if token is not None and len(token) < _MIN_TOKEN:
        raise UnusableSettingsError(f"HERMES_ADMIN_TOKEN cannot be used: at least {_MIN_TOKEN} characters are needed")
    hashed = await web.hasher.hash(password)
    if await web.database.run(seed, name, hashed, token):
        log.info("the first administrator is %s", name)

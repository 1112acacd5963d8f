"""Pages: Jinja templates, always escaped, with the words and numbers that every page needs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

from hermes_common.durations import format_duration
from hermes_web.core import words
from hermes_web.core.navigation import menu
from hermes_web.core.roles import Principal
from hermes_web.core.view import View
from hermes_web.http.assets import Assets
from hermes_web.http.icons import icon

AREAS = (
    *("account", "signin", "status", "series", "studies", "deliveries", "rules", "targets", "sources", "policies"),
    *("system", "start"),
    *("flow", "queues", "errors", "associations", "storage"),
    *("quarantine", "alerts", "audit", "users", "tokens", "configuration"),
)

NAVIGATION = (
    ("/", "Overview"),
    ("/flow", "Flow"),
    ("/series", "Series"),
    ("/series?q=status:unmatched", "Unmatched"),
    ("/queues", "Queues"),
    ("/deliveries", "Deliveries"),
    ("/errors", "Errors"),
    ("/rules", "Rules"),
    ("/targets", "Targets"),
    ("/sources", "Sources"),
    ("/policies", "Policies"),
    ("/storage", "Storage"),
    ("/associations", "Associations"),
    ("/quarantine", "Quarantine"),
    ("/alerts", "Alerts"),
    ("/audit", "Audit"),
    ("/users", "Users and tokens"),
    ("/system", "System"),
    ("/start", "First steps"),
)

DONE = {
    "saved": "Saved. Services apply it within a second.",
    "unchanged": "Nothing was changed.",
    "removed": "Removed.",
    "imported": "Taken over. Look at what the rules would do before you make them active.",
    "restored": "Restored as a new revision.",
    "asked": "Asked for. The page shows it as soon as it is done.",
    "created": "Created.",
    "disabled": "Disabled; sessions and tokens of the account ended.",
    "enabled": "Enabled.",
    "password": "The password is changed; all other sessions ended.",
    "role": "The role is changed; the account has to sign in again.",
    "session": "The session is ended.",
    "second-factor": "The second factor is removed; all sessions of the account ended.",
    "sessions": "All sessions of the account ended.",
    "revoked": "Revoked.",
    "saved-view": "Your views are changed.",
    "names": "Taken over. It is in the audit.",
    "undone": "What was under way is being held until somebody releases it. What is taken up later is not held.",
    "skipped": "The first steps are no longer shown; the menu leads to them.",
    "out": "You are signed out.",
}
"""What was done, by the word in the address after it: no text of a request is shown back."""


class Renderer:
    """Makes pages out of templates."""

    def __init__(self, version: str, assets: Assets) -> None:
        root = Path(str(resources.files("hermes_web")))
        features = {area: FileSystemLoader(root / "features" / area / "templates") for area in AREAS}
        self.environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(root / "templates"), PrefixLoader(features)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters.update(
            size=words.size,
            utc=words.utc,
            span=words.span,
            tone=words.tone,
            label=words.label,
            count=words.count,
            dimse=words.dimse,
            meaning=words.meaning,
            clip=words.clip,
            duration=format_duration,
        )
        self.environment.globals.update(version=version, assets=assets.links, icon=icon)

    def page(
        self,
        template: str,
        values: Mapping[str, Any],
        *,
        principal: Principal | None,
        nonce: str,
        path: str,
        query: str = "",
        view: View = View(),  # noqa: B008 - frozen
        done: str | None = None,
    ) -> str:
        """Return a page as text."""
        now = datetime.now(UTC)
        found = self.environment.get_template(template)
        common = {"principal": principal, "nonce": nonce, "path": path, "now": now, "said": DONE.get(done or "")}
        common |= {"view": view, "person": view.person, "navigation": menu(NAVIGATION, path, query)}
        return found.render({**common, "ago": lambda time: words.ago(time, now), **values})

"""How far the first steps are, and what is known when the next one fails."""

from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, func, select

from hermes_common.config import Kind, RuleState, Sources
from hermes_common.ledger import deliveries, series
from hermes_common.runtime.errors import TransientError
from hermes_common.servicestate import ServiceState
from hermes_web.adapters import choices
from hermes_web.core.firststeps import Found, Step, done_steps, next_step
from hermes_web.core.search import Search
from hermes_web.errors import MalformedError, UnavailableError
from hermes_web.features.associations.queries import AssociationItem, list_associations
from hermes_web.features.series.queries import list_series
from hermes_web.features.series.views import SeriesItem
from hermes_web.web import Web

REJECTED = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """Which steps are done, and which is next."""

    done: frozenset[Step]
    next: Step | None
    skipped: bool


@dataclass(frozen=True, slots=True)
class Listening:
    """What a scanner has to be told."""

    aet: str
    port: str
    tls_port: str


async def progress_of(web: Web) -> Progress:
    """Return how far it is; raises an :class:`UnavailableError` if that cannot be known now."""
    sources = cast(Sources, (await web.config.current(Kind.SOURCES)).parsed())
    _, targets = await web.targets()
    _, rules = await web.rules()
    tested, count, skipped = await web.database.run(_facts)
    active = sum(rule.state is RuleState.ACTIVE for rule in rules.rules)
    found = Found(len(sources.sources), len(targets.targets), tested, active, count)
    done = done_steps(found)
    return Progress(done, next_step(done), skipped)


async def open_steps(web: Web) -> Progress | None:
    """Return how far it is while there is something to show on the overview, else None."""
    try:
        progress = await progress_of(web)
    except (UnavailableError, TransientError, MalformedError):
        return None
    return None if progress.skipped or progress.next is None else progress


def listening(states: list[ServiceState] | None) -> list[Listening]:
    """Return how receivers are called, each way once."""
    found = [
        Listening(state.words["dicom_aet"], state.words.get("dicom_port", ""), state.words.get("dicom_tls_port", ""))
        for state in states or ()
        if "dicom_aet" in state.words
    ]
    return list(dict.fromkeys(found))


async def last_rejected(web: Web) -> list[AssociationItem]:
    """Return the associations that were refused last."""
    return (await web.database.run(list_associations, REJECTED, None, "rejected")).items


async def newest_series(web: Web) -> list[SeriesItem]:
    """Return the series that came last."""
    return (await web.database.run(list_series, Search({}), REJECTED, None)).items


def _facts(connection: Connection) -> tuple[bool, int, bool]:
    passed = choices.chosen(connection, choices.TARGET_TESTED) is not None
    skipped = choices.chosen(connection, choices.FIRST_STEPS) is not None
    delivered = select(deliveries.c.delivery_id).where(deliveries.c.state == "succeeded").limit(1)
    tested = passed or connection.execute(delivered).first() is not None
    some = select(series.c.series_uid).limit(1).subquery()
    return tested, connection.execute(select(func.count()).select_from(some)).scalar_one(), skipped

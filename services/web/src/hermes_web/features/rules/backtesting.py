"""Backtest: a draft of the rules against the series of the last days, beside the active rules, as a stream of messages.

``started`` with the number of series, ``progress`` now and then, and ``result``, or ``problem`` if it broke off.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from hermes_common.config import RuleSet
from hermes_common.ledger import series
from hermes_common.rules.comparison import Comparison
from hermes_common.runtime.clock import now
from hermes_web.adapters.replay_source import Window
from hermes_web.errors import WebError
from hermes_web.features.rules.stored import MOST, StoredSeries, many_series, recent_studies
from hermes_web.features.rules.study_backtest import MOST as MOST_STUDIES
from hermes_web.features.rules.study_backtest import compare_on_studies, has_studies
from hermes_web.web import Web

EXPLAINED = ("near_misses", "unknown", "errors")
"""Kinds of samples of which the clauses that are not true are shown."""
_MOST_CLAUSES = 4


@dataclass(frozen=True, slots=True)
class Backtest:
    """A backtest that can begin: the rules can be compared, and the history can be read."""

    web: Web
    comparison: Comparison
    window: Window
    revision: int
    of: int
    draft: RuleSet
    active: RuleSet

    async def messages(self) -> AsyncGenerator[dict[str, Any], None]:
        """Do it; a problem on the way is a message, too."""
        began = now()
        yield self._started()
        done = 0
        try:
            async with aclosing(self.web.replays.run(self.comparison.conditions, self.window)) as founds:
                async for found in founds:
                    self.comparison.add(found.groups)
                    done += found.series
                    yield {"type": "progress", "done": done, "of": self.of}
            result = await asyncio.to_thread(self.comparison.result)
            rules = await self._shown(result)
            studies = await self._studies()
        except WebError as error:
            yield {"type": "problem", "problem": error.document()}
            return
        seconds = round((now() - began).total_seconds(), 3)
        yield {**self._started(), "type": "result", **result, **rules, "studies": studies, "seconds": seconds}

    async def result(self) -> dict[str, Any]:
        """Do it to its end and return the last message."""
        last: dict[str, Any] = {}
        async with aclosing(self.messages()) as messages:
            async for message in messages:
                last = message
        return last

    async def _studies(self) -> dict[str, Any] | None:
        """Return what rules about studies come to for the newest studies; None if there are no such rules."""
        if not has_studies(self.draft.rules):
            return None
        window = self.window
        found = await self.web.database.run(recent_studies, MOST_STUDIES + 1, window.since, window.until)
        studies = found[:MOST_STUDIES]
        rules = await asyncio.to_thread(compare_on_studies, self.draft.rules, self.active.rules, studies)
        return {"studies": len(studies), "more": len(found) > MOST_STUDIES, "rules": rules}

    def _started(self) -> dict[str, Any]:
        return {
            "type": "started",
            "of": self.of,
            "since": self.window.since.isoformat(),
            "until": self.window.until.isoformat(),
            "revision": self.revision,
        }

    async def _shown(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the rules and the samples with what a list shows of each series."""
        uids: dict[str, None] = dict.fromkeys(result["changed"]["samples"])
        for rule in result["rules"]:
            for samples in rule["samples"].values():
                uids.update(dict.fromkeys(samples))
        known = await self.web.database.run(many_series, list(uids)[:MOST])
        return await asyncio.to_thread(self._with_series, result, known)

    def _with_series(self, result: Mapping[str, Any], known: Mapping[str, StoredSeries]) -> dict[str, Any]:
        failures = self.comparison.failures()
        rules = [
            {
                **rule,
                "failure": failures.get(rule["slug"], ""),
                "samples": {
                    kind: [self._sample(uid, known, rule["slug"] if kind in EXPLAINED else "") for uid in samples]
                    for kind, samples in rule["samples"].items()
                },
            }
            for rule in result["rules"]
        ]
        changed = [self._sample(uid, known, "") for uid in result["changed"]["samples"]]
        return {"rules": rules, "changed": {**result["changed"], "samples": changed}}

    def _sample(self, uid: str, known: Mapping[str, StoredSeries], slug: str) -> dict[str, Any]:
        stored = known.get(uid)
        if stored is None:
            return {"series_uid": uid}
        explained = self.comparison.explained(slug, stored.fields, stored.at) if slug else None
        clauses = [] if explained is None else [c for c in explained.clauses if c.outcome.value != "true"]
        return {**stored.to_dict(), "not_true": [clause.to_dict() for clause in clauses[:_MOST_CLAUSES]]}


async def prepare(web: Web, draft: RuleSet | None, days: int) -> Backtest:
    """Return a backtest of the draft (the active rules themselves if None); raise what says why it cannot begin."""
    revision, active = await web.rules()
    until = now()
    window = Window(until - timedelta(days=days), until)
    chosen = active if draft is None else draft
    comparison = await asyncio.to_thread(Comparison, chosen.rules, active.rules)
    of = await web.database.run(_count, window)
    return Backtest(web, comparison, window, revision.revision, of, chosen, active)


def _count(connection: Connection, window: Window) -> int:
    condition = (
        series.c.last_received_at >= window.since,
        series.c.last_received_at < window.until,
        series.c.decided_at.is_not(None),
    )
    return int(connection.execute(select(func.count()).select_from(series).where(*condition)).scalar_one())

"""A run: passes of scenarios until there were so many cycles, each pass ended by a join of all books."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hermes_chaos.books import Ledger
from hermes_chaos.fleet import Fleet
from hermes_chaos.scenarios import APART, LAST, SCENARIOS, Volume
from hermes_chaos.world import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for. ``scenarios`` empty: all of them that one router can go through."""

    seed: int
    cycles: int
    scenarios: Sequence[str] = ()
    seconds: float | None = None
    """No new scenario is begun after so many seconds."""
    random_kills: int = 2
    """How often a pass of ``kills`` kills each service at random."""
    outages: Sequence[str] = ()
    """What ``outages`` does: servers and seconds, "nats+s3:30"."""

    def wants(self, name: str) -> bool:
        """Return whether a scenario is asked for."""
        return name in self.scenarios or (not self.scenarios and name not in APART)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did. It ended without a violation, or there would be none."""

    plan: Plan
    world: World
    seconds: float


def run(plan: Plan, home: Path, storescp: str | None) -> Result:
    """Run; raise :class:`hermes_chaos.checker.LedgerViolation` as soon as a join finds a contradiction.

    The home is left, with every log: the report reads what the targets have there.
    """
    chance = random.Random(plan.seed)
    began = time.monotonic()
    with ExitStack() as stack:
        spool = stack.enter_context(Volume(home / "volume"))
        fleet = Fleet(home, nodes=3 if "cluster" in plan.scenarios else 1, spool=spool)
        stack.callback(fleet.stop)
        ledger = Ledger()
        world = World(fleet, ledger, chance.getrandbits(32), home, storescp)
        world.random_kills, world.outages = plan.random_kills, plan.outages
        stack.callback(world.close)
        fleet.start()
        world.configure()
        time.sleep(1)  # a change is promised to apply within a second
        _passes(plan, world, began)
        for name, scenario in LAST.items():
            if plan.wants(name):
                _do(name, scenario, world)
                _verify(world)
        return Result(plan, world, time.monotonic() - began)


def _passes(plan: Plan, world: World, began: float) -> None:
    """Do the scenarios that are asked for until there were enough cycles; join after each pass."""
    wanted = {name: scenario for name, scenario in {**SCENARIOS, **APART}.items() if plan.wants(name)}
    while wanted:
        before = world.tally.cycles.total()
        for name, scenario in wanted.items():
            if plan.seconds is not None and time.monotonic() - began > plan.seconds:
                break
            _do(name, scenario, world)
        _verify(world)
        over = plan.seconds is not None and time.monotonic() - began > plan.seconds
        if over or world.tally.cycles.total() >= plan.cycles or world.tally.cycles.total() == before:
            return


def _do(name: str, scenario: Callable[[World], None], world: World) -> None:
    began, before = time.monotonic(), world.tally.cycles.total()
    scenario(world)
    cycles = world.tally.cycles.total() - before
    log.info("%s: %d cycles in %.0f s", name, cycles, time.monotonic() - began)


def _verify(world: World) -> None:
    began = time.monotonic()
    world.settle()
    settled = time.monotonic()
    evidence = world.join()
    world.tally.deliveries = len(evidence.deliveries)
    world.tally.said_delivered = sum(outcome.result == "delivered" for outcome in evidence.outcomes)
    log.info(
        "settled in %.0f s, joined in %.0f s: %d instances, %d deliveries, %d C-STOREs at targets, "
        "%d answers to procedure steps, no contradiction",
        settled - began,
        time.monotonic() - settled,
        len(evidence.sent),
        len(evidence.deliveries),
        len(evidence.kept),
        len(evidence.steps),
    )

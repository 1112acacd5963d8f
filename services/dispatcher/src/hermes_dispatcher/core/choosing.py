"""Which endpoint of a target has the next attempt, and how many attempts there may be (ADR 0018)."""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from hermes_common.endpoints import Endpoint, Strategy


@dataclass(frozen=True, slots=True)
class Choice:
    """The endpoint that has the turn, and what each is owed after it."""

    endpoint: Endpoint
    credits: Mapping[str, int]


def usable(endpoints: Sequence[Endpoint], down: Collection[str]) -> list[Endpoint]:
    """Return the endpoints that are not down, in their order; ``down`` are tokens."""
    return [each for each in endpoints if each.token not in down]


def capacity(strategy: Strategy, endpoints: Sequence[Endpoint], down: Collection[str]) -> int:
    """Return how many attempts may run at a time, over all endpoints that are up; those of the first if none is."""
    up = usable(endpoints, down) or endpoints[:1]
    return up[0].concurrency if strategy is Strategy.FAILOVER else sum(each.concurrency for each in up)


def choose(
    strategy: Strategy,
    endpoints: Sequence[Endpoint],
    down: Collection[str],
    busy: Mapping[str, int],
    owed: Mapping[str, int],
    study_uid: str,
) -> Choice | None:
    """Return who has the turn, or None if whoever it should be has no place free, or all are down.

    ``busy`` are the attempts under way and ``owed`` the credits of earlier turns, both by token. Where a strategy names
    one endpoint and no other (failover, affinity), a full one is waited for.
    """
    up = usable(endpoints, down)
    if strategy is Strategy.FAILOVER:
        up = up[:1]
    if strategy is Strategy.STUDY_AFFINITY:
        up = sorted(up, key=lambda each: _affinity(each, study_uid), reverse=True)[:1]
    free = [each for each in up if busy.get(each.token, 0) < each.concurrency]
    if not free:
        return None
    match strategy:
        case Strategy.FAILOVER | Strategy.STUDY_AFFINITY:
            return Choice(free[0], owed)
        case Strategy.ROUND_ROBIN:
            return _in_turn(free, dict.fromkeys((each.token for each in free), 1), owed)
        case Strategy.WEIGHTED:
            return _in_turn(free, {each.token: each.weight for each in free}, owed)
        case Strategy.LEAST_BUSY:
            load = {each.token: busy.get(each.token, 0) / each.weight for each in free}
            least = min(load.values())
            idle = [each for each in free if load[each.token] == least]
            return _in_turn(idle, {each.token: each.weight for each in idle}, owed)
        case _:
            assert_never(strategy)


def _in_turn(free: Sequence[Endpoint], weights: Mapping[str, int], owed: Mapping[str, int]) -> Choice:
    """Give the turn to whom most is owed: in any row of turns each has its share, spread evenly.

    Every endpoint earns its weight, and the one that is chosen pays what all have earned. Credits are bounded, so that
    one that was full or down for long does not take every turn when it is back.
    """
    total = sum(weights.values())
    earned = {each.token: owed.get(each.token, 0) + weights[each.token] for each in free}
    chosen = max(free, key=lambda each: earned[each.token])
    earned[chosen.token] -= total
    kept = {token: max(-total, min(total, value)) for token, value in earned.items()}
    return Choice(chosen, {**owed, **kept})


def _affinity(endpoint: Endpoint, study_uid: str) -> float:
    """Return how well a study fits an endpoint (weighted rendezvous hashing): only its own endpoint's end moves it."""
    digest = hashlib.sha256(f"{endpoint.name}\x1f{study_uid}".encode()).digest()
    part = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1)
    return -endpoint.weight / math.log(part)

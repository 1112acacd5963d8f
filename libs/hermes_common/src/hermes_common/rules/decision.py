"""What a set of rules said about one series or study."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Self

from hermes_common.rules.explanation import Explanation, Verdict

SetOutcome = Literal["routed", "unmatched", "discarded", "deferred"]


class Status(StrEnum):
    """What became of one rule of a set."""

    FIRED = "fired"
    WOULD_FIRE = "would_fire"
    """It is a dry run and would have fired."""
    NOT_MATCHED = "not_matched"
    UNKNOWN = "unknown"
    FAILED = "failed"
    """It could not be compiled or evaluated."""
    NOT_REACHED = "not_reached"
    """A rule before it stopped the evaluation."""
    HELD_BACK = "held_back"
    """A fallback rule that matched, but another rule had matched."""
    OVERRULED = "overruled"
    """A rule that discards and matched, but another routes or failed."""
    OFF = "off"
    """It is a draft or paused."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule came to; ``verdict`` is None if it was not evaluated, ``explanation`` also if not asked for."""

    slug: str
    name: str
    state: str
    action: str
    priority: str
    status: Status
    verdict: Verdict | None
    targets: tuple[str, ...] = ()
    expression: str = ""
    explanation: Explanation | None = None
    reason: str = ""

    @property
    def fired(self) -> bool:
        """Whether the rule has an effect."""
        return self.status is Status.FIRED

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "slug": self.slug,
            "name": self.name,
            "state": self.state,
            "action": self.action,
            "priority": self.priority,
            "status": self.status.value,
            "verdict": None if self.verdict is None else self.verdict.value,
            "targets": list(self.targets),
            "expression": self.expression,
            "explanation": None if self.explanation is None else self.explanation.to_dict(),
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        verdict, explanation = found.get("verdict"), found.get("explanation")
        return cls(
            found["slug"],
            found["name"],
            found["state"],
            found["action"],
            found["priority"],
            Status(found["status"]),
            None if verdict is None else Verdict(verdict),
            tuple(found.get("targets", ())),
            found.get("expression", ""),
            None if explanation is None else Explanation.from_dict(explanation),
            found.get("reason", ""),
        )


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """A target to deliver to, the most urgent priority asked for, and the rules that ask, in their order."""

    target: str
    priority: str
    rules: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"target": self.target, "priority": self.priority, "rules": list(self.rules)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(found["target"], found["priority"], tuple(found["rules"]))


@dataclass(frozen=True, slots=True)
class SetDecision:
    """The plan: ``results`` in the order of the rules, ``targets`` in the order in which they were first asked for."""

    outcome: SetOutcome
    results: tuple[RuleResult, ...]
    targets: tuple[PlannedTarget, ...] = ()
    stopped_by: str = ""
    """The rule that fired and left out those after it, if one did."""

    @property
    def fired(self) -> tuple[RuleResult, ...]:
        """The rules that have an effect."""
        return tuple(result for result in self.results if result.fired)

    @property
    def failures(self) -> tuple[RuleResult, ...]:
        """The rules that should act but could not be compiled or evaluated."""
        return tuple(r for r in self.results if r.status is Status.FAILED and r.state != "dry_run")

    @property
    def dry_runs(self) -> tuple[RuleResult, ...]:
        """The rules that are evaluated but have no effect."""
        return tuple(result for result in self.results if result.state == "dry_run")

    @property
    def undecided(self) -> bool:
        """Whether nothing is routed or discarded and a rule failed, so that "unmatched" is not the whole truth."""
        return self.outcome == "unmatched" and bool(self.failures)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "outcome": self.outcome,
            "results": [result.to_dict() for result in self.results],
            "targets": [target.to_dict() for target in self.targets],
            "stopped_by": self.stopped_by,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(
            found["outcome"],
            tuple(RuleResult.from_dict(result) for result in found["results"]),
            tuple(PlannedTarget.from_dict(target) for target in found["targets"]),
            found.get("stopped_by", ""),
        )

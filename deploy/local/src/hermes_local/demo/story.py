"""What became of a series, in lines for a person: from reception to delivery."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from hermes_cli.output import clean
from hermes_local.demo.study import Series

ENDED = frozenset({"delivered", "partly_failed", "failed", "unmatched", "discarded", "deleted"})
DELIVERY_ENDED = frozenset({"succeeded", "failed", "cancelled", "dismissed"})
_FIRED = "fired"


def is_over(detail: dict[str, Any] | None, instances: int, down: Collection[str] = ()) -> bool:
    """Whether nothing more will happen by itself to a series of so many instances, as long as ``down`` targets are."""
    if detail is None or detail.get("instances", 0) < instances:
        return False
    deliveries = detail.get("deliveries") or []
    left = [delivery for delivery in deliveries if delivery.get("state") not in DELIVERY_ENDED]
    waits = bool(left) and all(delivery.get("target") in down for delivery in left)
    return detail.get("state") in ENDED or waits


def lines(series: Series, detail: dict[str, Any] | None, url: str, down: Collection[str] = ()) -> list[str]:
    """Return the story of one series; ``detail`` as ``/api/v1/series/{uid}`` gives it, None if it is not known.

    What has not come to the targets of ``down`` waits for them, and that is said.
    """
    head = f"{series.recipe.name}: {series.recipe.shows}"
    page = f"{url}/series/{series.series_uid}"
    if detail is None:
        return [head, f"  sent {len(series.files)} instances; the history does not know them yet", f"  {page}"]
    said = [head, _received(detail)]
    for decision in detail.get("decisions") or []:
        said += _decided(decision)
    for delivery in detail.get("deliveries") or []:
        said.append(_delivered(delivery, detail, down))
    return [clean(line) for line in [*said, f"  {page}"]]


def _received(detail: dict[str, Any]) -> str:
    name = f", patient {detail['patient_name']}" if detail.get("patient_name") else ""
    what = f"{detail.get('instances')} {detail.get('modality') or '?'} instances"
    source = f"{detail.get('calling_aet')} ({detail.get('address')})"
    return f"  received {what} from {source}{name}: {str(detail.get('state')).upper()}"


def _decided(decision: dict[str, Any]) -> list[str]:
    rules = decision.get("rules") or []
    fired = [rule for rule in rules if rule.get("status") == _FIRED]
    said = [f"  rule {rule.get('slug')} fired: {_why(rule)}" for rule in fired]
    if not fired:
        names = ", ".join(f"{rule.get('slug')} ({_why(rule)})" for rule in rules if rule.get("status") != "off")
        said = [f"  no rule fired: {names}" if names else "  no rule fired"]
    return said + [f"  problem: {problem}" for problem in decision.get("problems") or []]


def _why(rule: dict[str, Any]) -> str:
    if rule.get("reason"):
        return str(rule["reason"])
    clauses = []
    for clause in rule.get("clauses") or []:
        saw = f", saw {', '.join(clause['seen'])}" if clause.get("seen") else ""
        clauses.append(f"{clause.get('text')} is {clause.get('outcome')}{saw}")
    return "; ".join(clauses) or str(rule.get("expression") or rule.get("status"))


def _delivered(delivery: dict[str, Any], detail: dict[str, Any], down: Collection[str]) -> str:
    attempts = delivery.get("attempt") or 0
    text = (
        f"  -> {delivery.get('target')}: {str(delivery.get('state')).upper()}, {delivery.get('delivered')} of "
        f"{delivery.get('instances')} instances, {attempts} attempt{'' if attempts == 1 else 's'}"
    )
    took = _seconds(detail.get("last_received_at"), delivery.get("ended_at"))
    if took is not None:
        text += f", {took:.1f} s after the last image"
    if delivery.get("state") not in DELIVERY_ENDED and delivery.get("target") in down:
        why = f" ({delivery['reason']})" if delivery.get("reason") else ""
        return f"{text}{why}: the target is down; it is sent by itself as soon as the target answers"
    return f"{text} ({delivery['reason']})" if delivery.get("reason") and delivery.get("state") != "succeeded" else text


def _seconds(start: object, end: object) -> float | None:
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()

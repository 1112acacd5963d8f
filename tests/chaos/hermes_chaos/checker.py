"""The checker: joins the books of the sender, the targets and the router, and says where they contradict each other."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from hermes_chaos.books import Delivery, Evidence, Kept, Outcome, Reception, Sent, confirms

SHOWN = 40
"""Contradictions that the message of a violation has; the rest is counted."""

LATE = 30.0
"""Seconds after a fault within which a second copy is put down to it: leases, time limits and pauses have passed."""


class LedgerViolation(AssertionError):  # noqa: N818  # named so in CONTRIBUTING.md: a run is never repeated over it
    """Two records contradict each other. The message has one line for each contradiction."""

    def __init__(self, contradictions: list[str]) -> None:
        more = len(contradictions) - SHOWN
        lines = [*contradictions[:SHOWN], *([f"... and {more} more"] if more > 0 else [])]
        super().__init__(f"{len(contradictions)} contradictions\n" + "\n".join(f"  - {line}" for line in lines))
        self.contradictions = contradictions


def verify(evidence: Evidence) -> None:
    """Raise :class:`LedgerViolation` if anything contradicts anything."""
    if found := contradictions(evidence):
        raise LedgerViolation(found)


def contradictions(evidence: Evidence) -> list[str]:
    """Return every contradiction, in words, without repetition."""
    join = _Join(evidence)
    checks = (
        join.acknowledged_is_held(),
        join.steps_are_told(),
        join.held_is_unchanged(),
        join.delivered_is_confirmed(),
        join.committed_is_promised(),
        join.everything_ends(),
        join.questions_end(),
        join.nothing_goes_astray(),
        join.nothing_goes_twice(),
        join.nothing_goes_early(),
        join.books_agree(),
        (f"parked: {reason}" for reason in evidence.parked),
    )
    return list(dict.fromkeys(line for check in checks for line in check))


def unended(evidence: Evidence) -> list[str]:
    """Return what has not come to its end yet: to be waited for, or, when the time is over, stuck."""
    join = _Join(evidence)
    return [*join.acknowledged_is_held(), *join.steps_are_told(), *join.everything_ends(), *join.questions_end()]


class _Join:
    """The evidence, found by its keys."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._sent = {sent.sop_instance_uid: sent for sent in evidence.sent}
        self._receptions: defaultdict[str, list[Reception]] = defaultdict(list)
        for reception in evidence.receptions:
            self._receptions[reception.sop_instance_uid].append(reception)
        self._deliveries = {delivery.delivery_id: delivery for delivery in evidence.deliveries}
        self._outcomes: defaultdict[tuple[str, str], list[tuple[Outcome, Delivery]]] = defaultdict(list)
        for outcome in evidence.outcomes:
            if (delivery := self._deliveries.get(outcome.delivery_id)) is not None:
                self._outcomes[outcome.sop_instance_uid, delivery.target].append((outcome, delivery))
        self._kept: defaultdict[tuple[str, str], list[Kept]] = defaultdict(list)
        for kept in sorted(evidence.kept, key=lambda each: each.at):
            self._kept[kept.sop_instance_uid, kept.target].append(kept)

    def acknowledged_is_held(self) -> Iterator[str]:
        """No loss after Success: there is a reception with the sender's bytes."""
        for sent in self._acknowledged():
            receptions = self._receptions[sent.sop_instance_uid]
            if not receptions:
                yield f"lost: {_name(sent)} was acknowledged at {_time(sent.acknowledged_at)}; no reception is recorded"
            elif all(reception.digest != sent.digest for reception in receptions):
                digests = ", ".join(sorted({reception.digest[:12] for reception in receptions}))
                yield f"changed: {_name(sent)} was sent as {sent.digest[:12]} and received as {digests}"

    def steps_are_told(self) -> Iterator[str]:
        """What a modality was answered with Success is in the history."""
        for uid, verb in sorted(self._evidence.steps - self._evidence.steps_told):
            yield f"lost: procedure step {uid} was answered with Success when it was {verb}; no event says so"

    def held_is_unchanged(self) -> Iterator[str]:
        """Of what was received of a series that was not deleted an object is there, with the sender's bytes.

        An instance that was sent again has several receptions; the objects of all but one may be removed.
        """
        for reception in self._evidence.receptions:
            sent = self._sent.get(reception.sop_instance_uid)
            if sent is None:
                yield f"foreign: instance {reception.sop_instance_uid} is recorded as received and was never sent"
                continue
            if reception.digest != sent.digest:
                yield f"changed: reception {reception.reception_id} of {_name(sent)} has other bytes than were sent"
            if self._evidence.series.get(reception.series_uid) == "deleted":
                continue
            if reception.stored_digest is None:
                if any(each.stored_digest == sent.digest for each in self._receptions[reception.sop_instance_uid]):
                    continue
                yield f"lost: the object {reception.key} of {_name(sent)} is not in the store"
            elif reception.stored_digest != sent.digest:
                yield f"changed: the object {reception.key} of {_name(sent)} has other bytes than were sent"

    def delivered_is_confirmed(self) -> Iterator[str]:
        """No false "delivered": the target's own ledger has the answer, for equal bytes."""
        for (sop, target), said in self._outcomes.items():
            if not any(outcome.result == "delivered" for outcome, _ in said):
                continue
            confirmed = [kept for kept in self._kept[sop, target] if confirms(kept.status)]
            name = _name(self._sent[sop]) if sop in self._sent else f"instance {sop}"
            if not confirmed:
                saw = ", ".join(_answer(kept) for kept in self._kept[sop, target]) or "it never saw the instance"
                yield f'false "delivered": {name} at {target}; the target says: {saw}'
            elif sop in self._sent and all(kept.digest != self._sent[sop].digest for kept in confirmed):
                yield f'false "delivered": {name} at {target} has other bytes there than were sent'

    def committed_is_promised(self) -> Iterator[str]:
        """No false "committed": the target said of each instance that it keeps it."""
        instances: defaultdict[str, list[str]] = defaultdict(list)
        for outcome in self._evidence.outcomes:
            if outcome.result == "delivered":
                instances[outcome.delivery_id].append(outcome.sop_instance_uid)
        for delivery in self._evidence.deliveries:
            if delivery.commitment != "committed":
                continue
            for sop in instances[delivery.delivery_id]:
                if (delivery.target, sop) not in self._evidence.promised:
                    yield f'false "committed": instance {sop} at {delivery.target}; the target never said so'

    def questions_end(self) -> Iterator[str]:
        """Every delivery to a target that is asked for storage commitment ends committed: those here keep it all."""
        for delivery in self._evidence.deliveries:
            is_asked = delivery.target in self._evidence.committing and delivery.state == "succeeded"
            if is_asked and delivery.commitment != "committed":
                yield (
                    f"stuck, not committed: delivery {delivery.delivery_id} to {delivery.target} "
                    f"(storage commitment: {delivery.commitment or 'not asked'})"
                )

    def everything_ends(self) -> Iterator[str]:
        """Every acknowledged instance has its provable end at every target that it is meant for."""
        for sent in self._acknowledged():
            state = self._evidence.series.get(sent.series_uid, "unknown to the history")
            if not sent.ends and state != "unmatched" and self._receptions[sent.sop_instance_uid]:
                yield f"stuck: {_name(sent)} matches no rule; its series is {state}, not unmatched"
            for target, end in sent.ends.items():
                if (reason := self._why_not(sent, target, end)) is not None:
                    yield f"{reason}: {_name(sent)} at {target}; its series is {state}"

    def _why_not(self, sent: Sent, target: str, end: str) -> str | None:
        said = self._outcomes[sent.sop_instance_uid, target]
        delivered = any(outcome.result == "delivered" for outcome, _ in said)
        if end == "delivered" and not delivered:
            deliveries = [each for each in self._of_series(sent.series_uid) if each.target == target]
            if not deliveries:
                return "stuck, there is no delivery"
            return "stuck, not delivered (" + "; ".join(f"{each.state} {each.reason}" for each in deliveries) + ")"
        if end == "failed":
            if delivered:
                return None if self._confirmed(sent.sop_instance_uid, target) else "delivered, though refused"
            ended = [
                delivery for outcome, delivery in said if outcome.result == "failed" and delivery.state == "failed"
            ]
            if not ended:
                return "no provable end, neither delivered nor failed"
        return None

    def nothing_goes_astray(self) -> Iterator[str]:
        """A target sees only what was meant for it, with the bytes that were sent."""
        for (sop, target), several in self._kept.items():
            sent = self._sent.get(sop)
            if sent is None:
                yield f"foreign: {target} was sent instance {sop}, which nobody sent to the router"
                continue
            if target not in sent.ends:
                yield f"astray: {_name(sent)} was sent to {target}"
            for kept in several:
                if kept.digest != sent.digest:
                    yield f"changed: {target} was sent other bytes of {_name(sent)} ({_answer(kept)})"

    def nothing_goes_twice(self) -> Iterator[str]:
        """A second copy needs a fault between the first and itself."""
        for (sop, target), several in self._kept.items():
            confirmed = [kept for kept in several if confirms(kept.status)]
            for first, second in itertools.pairwise(confirmed):
                if not self._explained(first.at, second.at):
                    yield (
                        f"twice: {sop} was delivered to {target} at {_time(first.at)} and at {_time(second.at)}, "
                        "with no fault to explain it"
                    )

    def nothing_goes_early(self) -> Iterator[str]:
        """A series is deleted only when each of its deliveries is done; a failed one waits for a person."""
        for delivery in self._evidence.deliveries:
            deleted = self._evidence.series.get(delivery.series_uid) == "deleted"
            uncommitted = delivery.target in self._evidence.committing and delivery.commitment != "committed"
            if deleted and delivery.state == "succeeded" and uncommitted:
                yield (
                    f"early: series {delivery.series_uid} is deleted, and {delivery.target} has not committed to "
                    f"delivery {delivery.delivery_id}"
                )
            if deleted and delivery.state not in ("succeeded", "cancelled", "dismissed"):
                yield (
                    f"early: series {delivery.series_uid} is deleted, and delivery {delivery.delivery_id} to "
                    f"{delivery.target} is {delivery.state}"
                )

    def books_agree(self) -> Iterator[str]:
        """Tables, live records and API say the same, and counts are the counts of what they count."""
        of_delivery: defaultdict[str, set[Outcome]] = defaultdict(set)
        for outcome in self._evidence.outcomes:
            of_delivery[outcome.delivery_id].add(outcome)
        for delivery in self._evidence.deliveries:
            outcomes = of_delivery[delivery.delivery_id]
            delivered = sum(outcome.result == "delivered" for outcome in outcomes)
            name = f"delivery {delivery.delivery_id} to {delivery.target} ({delivery.state})"
            if delivered != delivery.delivered:
                yield f"books: {name} counts {delivery.delivered} delivered, and {delivered} outcomes say so"
            if delivery.state == "succeeded" and delivered != delivery.instances:
                yield f"books: {name} of {delivery.instances} instances has only {delivered} delivered"
            if delivery.live_state is not None:
                if delivery.live_state != delivery.state:
                    yield f"books: {name} is {delivery.live_state} in its live record"
                if (delivery.live_commitment == "committed") is not (delivery.commitment == "committed"):
                    yield (
                        f"books: storage commitment of {name} is {delivery.live_commitment} in its live record, and "
                        f"{delivery.commitment or 'nothing'} in the tables"
                    )
                if delivery.live_delivered != delivered:
                    yield f"books: {name} has {delivery.live_delivered} delivered in its live record, not {delivered}"
            if delivery.api_state != delivery.state or delivery.api_outcomes != frozenset(outcomes):
                yield f"books: {name} reads differently in the API ({delivery.api_state})"

    # -- the join

    def _acknowledged(self) -> Iterable[Sent]:
        return (sent for sent in self._evidence.sent if sent.acknowledged_at is not None)

    def _of_series(self, series_uid: str) -> list[Delivery]:
        return [delivery for delivery in self._evidence.deliveries if delivery.series_uid == series_uid]

    def _confirmed(self, sop: str, target: str) -> bool:
        return any(confirms(kept.status) for kept in self._kept[sop, target])

    def _explained(self, first: float, second: float) -> bool:
        return any(
            fault.repeats and fault.since <= second and first <= fault.until + LATE for fault in self._evidence.faults
        )


def _name(sent: Sent) -> str:
    return f"instance {sent.sop_instance_uid} (route {sent.route})"


def _answer(kept: Kept) -> str:
    answer = "no answer" if kept.status is None else f"{kept.status:04X}H"
    return f"{kept.digest[:12]} answered with {answer} at {_time(kept.at)}"


def _time(seconds: float | None) -> str:
    return "no time" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S.%f")[:-3]

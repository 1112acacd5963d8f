"""The way of one series in the order of time: pure."""

from hermes_web.features.series.views import SeriesDetail, TimelineEntry


def timeline(detail: SeriesDetail) -> list[TimelineEntry]:
    """Return what happened from the first image to the last attempt, in the order in which it began."""
    found: list[TimelineEntry] = []
    for batch in detail.batch_list:
        late = " (late instances)" if batch.batch > 1 else ""
        what = f"{batch.instances} instances received{late}"
        first, last = batch.first_received_at, batch.last_received_at
        found.append(TimelineEntry(at=first, end=last, kind="received", what=what, detail=_from(detail), state="ok"))
        found.append(
            TimelineEntry(
                at=last,
                end=batch.completed_at,
                kind="quiet",
                what=f"waited until batch {batch.batch} was quiet",
                detail=batch.waited,
            )
        )
    if not detail.batch_list:
        what = f"{detail.instances} instances received so far"
        first, last = detail.first_received_at, detail.last_received_at
        found.append(
            TimelineEntry(at=first, end=last, kind="received", what=what, detail=_from(detail), state="receiving")
        )
    for decision in detail.decisions:
        by = f"by {decision.actor}" if decision.actor else f"by rules, revision {decision.revision}"
        targets = ", ".join(item.target for item in decision.deliveries)
        what, detail_of = f"decided: {decision.outcome}", f"{by} {targets}".strip()
        at, state = decision.decided_at, decision.outcome
        found.append(TimelineEntry(at=at, kind="decided", what=what, detail=detail_of, state=state))
    found += _deliveries(detail)
    if detail.deleted_at is not None:
        found.append(TimelineEntry(at=detail.deleted_at, kind="deleted", what="objects deleted", state="deleted"))
    return sorted(found, key=lambda entry: entry.at)


def _from(detail: SeriesDetail) -> str:
    return f"from {detail.calling_aet} at {detail.address}"


def _deliveries(detail: SeriesDetail) -> list[TimelineEntry]:
    targets = {item.delivery_id: item.target for item in detail.deliveries}
    found = [
        TimelineEntry(
            at=attempt.started_at,
            end=attempt.ended_at,
            kind="attempt",
            what=f"attempt {attempt.attempt} to {targets.get(attempt.delivery_id, '?')}",
            detail=attempt.reason,
            state=attempt.result or "sending",
            about=attempt.delivery_id,
        )
        for attempt in detail.attempts
        if attempt.started_at is not None
    ]
    for item in detail.deliveries:
        if item.state in {"cancelled", "dismissed"}:
            at = item.ended_at or item.updated_at
            what = f"delivery to {item.target} {item.state}"
            found.append(
                TimelineEntry(
                    at=at,
                    kind=item.state,
                    what=what,
                    detail=f"by {item.actor}",
                    state=item.state,
                    about=item.delivery_id,
                )
            )
    return found

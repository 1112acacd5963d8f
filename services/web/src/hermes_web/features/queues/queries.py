"""What the history says about the queue of each target."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from hermes_common.ledger import deliveries
from hermes_common.runtime.clock import now
from hermes_web.features.paging import View
from hermes_web.features.status.queries import WAITING

STEPS = 12
STEP = timedelta(minutes=5)


class QueueDetail(View):
    """The queue of one target."""

    target: str
    states: dict[str, int]
    """Deliveries by state: queued, sending, retrying, failed."""
    priorities: dict[str, int]
    """Deliveries that have not ended, by priority."""
    oldest: datetime | None = None
    """When the delivery that waits longest was queued."""
    next_attempt: datetime | None = None
    octets: int = 0
    """Size of what waits."""
    throughput: list[int]
    """Deliveries that succeeded in each of the last twelve spans of five minutes, the oldest first."""

    @property
    def waiting(self) -> int:
        """Deliveries that have not ended."""
        return sum(self.states.get(state, 0) for state in WAITING)


def queue_details(connection: Connection) -> dict[str, QueueDetail]:
    """Return the queue of every target that has something waiting, failed, or delivered in the last hour."""
    table, at = deliveries, now()
    found: dict[str, QueueDetail] = {}

    def of(target: str) -> QueueDetail:
        empty = QueueDetail(target=target, states={}, priorities={}, throughput=[0] * STEPS)
        return found.setdefault(target, empty)

    waiting = connection.execute(
        select(
            table.c.target,
            table.c.state,
            table.c.priority,
            func.count(),
            func.min(table.c.queued_at),
            func.min(table.c.next_attempt_at),
            func.sum(table.c.octets),
        )
        .where(table.c.state.in_((*WAITING, "failed")))
        .group_by(table.c.target, table.c.state, table.c.priority)
    )
    for target, state, priority, count, oldest, following, octets in waiting:
        queue = of(target)
        queue.states[state] = queue.states.get(state, 0) + count
        if state in WAITING:
            queue.priorities[priority] = queue.priorities.get(priority, 0) + count
            known = {
                "oldest": min(filter(None, (oldest, queue.oldest)), default=None),
                "next_attempt": min(
                    filter(None, (following if state == "retrying" else None, queue.next_attempt)), default=None
                ),
                "octets": queue.octets + int(octets),
            }
            found[target] = queue.model_copy(update=known)
    since = at - STEP * STEPS
    step = func.floor(func.extract("epoch", table.c.updated_at - since) / STEP.total_seconds())
    done = connection.execute(
        select(table.c.target, step, func.count())
        .where(table.c.state == "succeeded", table.c.updated_at >= since)
        .group_by(table.c.target, step)
    )
    for target, number, count in done:
        of(target).throughput[min(int(number), STEPS - 1)] += count
    return found

"""The state of the whole, and the one sentence that says it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel

from hermes_common.alerting import AlertKind
from hermes_common.runtime.clock import now
from hermes_web.adapters.fleet import Answer
from hermes_web.core.words import count, span
from hermes_web.errors import UnavailableError
from hermes_web.features.alerts.queries import AlertsItem
from hermes_web.features.status.queries import (
    Queue,
    ServiceRow,
    Totals,
    open_alerts,
    queues,
    running_services,
    totals,
)
from hermes_web.web import Web

EXPECTED = ("receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web")
LATE = timedelta(minutes=15)


class ServiceState(BaseModel):
    """A process of a service: what its events say, and whether it answers now."""

    service: str
    instance: str
    version: str
    state: str
    """started, stopped, crashed; ``missing`` for a service of which no process answers."""
    answers: bool
    reason: str = ""
    started_at: datetime | None = None


class Problem(BaseModel):
    """Something that is not fine, and where to look."""

    text: str
    link: str


class Status(BaseModel):
    """The state of the whole; what PostgreSQL knows is null while it is away."""

    fine: bool
    headline: str
    problems: list[Problem]
    services: list[ServiceState]
    services_asked_at: datetime
    """When the services were last asked; at most a minute before ``time``."""
    queues: list[Queue] | None = None
    oldest_waiting: datetime | None = None
    last_hour: Totals | None = None
    last_day: Totals | None = None
    alerts: list[AlertsItem] | None = None
    time: datetime


async def status_of(web: Web) -> Status:
    """Return the state of the whole; never raises for a part that is away."""
    asked = await web.fleet.ask()
    answers = asked.value
    try:
        rows = await web.database.run(running_services)
        waiting = await web.database.run(queues)
        hour = await web.database.run(totals, timedelta(hours=1))
        day = await web.database.run(totals, timedelta(days=1))
        alerts = await web.database.run(open_alerts)
        history = None
    except UnavailableError as error:
        rows, waiting, hour, day, alerts, history = [], None, None, None, None, error
    services = service_states(answers, rows)
    oldest = min((queue.oldest for queue in waiting or () if queue.oldest), default=None)
    problems = find_problems(answers, services, waiting, alerts, history, now())
    return Status(
        fine=not problems,
        headline=headline(problems),
        problems=problems,
        services=services,
        services_asked_at=now() - asked.age,
        queues=waiting,
        oldest_waiting=oldest,
        last_hour=hour,
        last_day=day,
        alerts=alerts,
        time=now(),
    )


def service_states(answers: Sequence[Answer] | None, rows: Sequence[ServiceRow]) -> list[ServiceState]:
    """Return every process that answers or is known, and a row for each service of which none answers."""
    live = {answer.instance: answer for answer in answers or ()}
    found = [
        ServiceState(
            service=row.service,
            instance=row.instance,
            version=row.version,
            state=row.state,
            answers=row.instance in live,
            reason=row.reason,
            started_at=row.started_at,
        )
        for row in rows
    ]
    known = {row.instance for row in rows}
    for answer in live.values():
        if answer.instance not in known:
            service = answer.name.removeprefix("hermes-")
            found.append(
                ServiceState(
                    service=service, instance=answer.instance, version=answer.version, state="started", answers=True
                )
            )
    present = {item.service for item in found if item.answers}
    if answers is not None:
        shown = {item.service for item in found}
        missing = [name for name in EXPECTED if name not in present and name not in shown]
        found += [
            ServiceState(service=name, instance="", version="", state="missing", answers=False) for name in missing
        ]
    order = {name: index for index, name in enumerate(EXPECTED)}
    return sorted(found, key=lambda item: (order.get(item.service, 99), not item.answers, item.instance))


def find_problems(
    answers: Sequence[Answer] | None,
    services: Sequence[ServiceState],
    waiting: Sequence[Queue] | None,
    alerts: Sequence[AlertsItem] | None,
    history: UnavailableError | None,
    at: datetime,
) -> list[Problem]:
    """Return what is not fine, the most important first."""
    found = []
    if answers is None:
        found.append(Problem(text="the bus (NATS) is away: nothing is routed until it is back", link="/"))
    else:
        present = {item.service for item in services if item.answers}
        missing = [name for name in EXPECTED if name not in present]
        if missing:
            found.append(Problem(text=f"no answer from {', '.join(missing)}", link="/#services"))
    if history is not None:
        found.append(Problem(text=f"{history.detail[:1].lower()}{history.detail[1:]}", link="/"))
    failed = sum(queue.counts.get("failed", 0) for queue in waiting or ())
    if failed:
        found.append(
            Problem(
                text=f"{count(failed, 'failed delivery waits', 'failed deliveries wait')} for a person",
                link="/deliveries?state=failed",
            )
        )
    down = {alert.about: alert for alert in alerts or () if alert.kind == AlertKind.TARGET_DOWN}
    queued = {queue.target: queue for queue in waiting or ()}
    for target, alert in down.items():
        text = f"{target} is down for {span(at - alert.raised_at)}"
        if target in queued and queued[target].waiting:
            text = f"{text}, {queued[target].waiting} waiting"
        found.append(Problem(text=text, link=f"/targets/{target}"))
    for queue in waiting or ():
        if queue.target not in down and queue.oldest is not None and at - queue.oldest > LATE:
            text = f"{queue.target}: {queue.waiting} waiting, the oldest for {span(at - queue.oldest)}"
            found.append(Problem(text=text, link=f"/deliveries?target={queue.target}"))
    told = {AlertKind.TARGET_DOWN, *({AlertKind.DELIVERY_FAILED} if failed else ())}
    critical = [alert for alert in alerts or () if alert.severity == "critical" and alert.kind not in told]
    if critical:
        what = "other critical alert" if down or failed else "critical alert"
        found.append(Problem(text=count(len(critical), what), link="/alerts?state=open"))
    return found


def headline(problems: Sequence[Problem]) -> str:
    """Return the one sentence."""
    if not problems:
        return "All fine"
    return f"{count(len(problems), 'problem')}: {'; '.join(problem.text for problem in problems[:3])}"

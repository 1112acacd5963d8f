"""What is found by looking: conditions that no event says, and the alerts that they raise and clear.

An alert of these kinds is open for as long as its condition holds. Its id derives from what it is about and how many
there were of it before, so that two bookkeepers which look at the same time raise the same one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from hermes_bookkeeper.core.alerts import Say, cleared, raised
from hermes_bookkeeper.core.rhythm import WINDOW, Rhythm
from hermes_common.alerting import WATCHED, AlertKind, Conditions
from hermes_common.alerttexts import lasting
from hermes_common.room import Room

SERVICES: Final = ("receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web")
FAILURES: Final = 3
"""Attempts after which a channel counts as failing."""
_EASE: Final = 3
"""Percent by which room has to grow beyond its limit before an alert about it is over."""

Key = tuple[str, str]
"""Kind and about."""


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that is open."""

    alert_id: str
    kind: str
    about: str


@dataclass(frozen=True, slots=True)
class Late:
    """Deliveries of one target that wait for too long, without those that are meant to."""

    target: str
    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Sender:
    """When a sender sent last, and its rhythm if there is one to go by."""

    aet: str
    last: datetime
    rhythm: Rhythm | None = None


@dataclass(frozen=True, slots=True)
class Failing:
    """A channel that does not take its messages."""

    channel: str
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class History:
    """What the tables say."""

    late: Sequence[Late]
    last_sent: Mapping[str, datetime]
    """By sender."""
    quarantined: Mapping[str, int]
    failing: Sequence[Failing]
    open_alerts: Sequence[OpenAlert]
    counts: Mapping[Key, int]
    """How many alerts of a kind there were about something, open ones included."""
    waiting: Mapping[str, tuple[int, datetime]] = field(default_factory=dict)
    """By target: deliveries that have not ended, and when the oldest was queued."""
    open_by_kind: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found. ``None`` is what could not be found out: of that nothing is raised, and nothing is over."""

    now: datetime
    late: Sequence[Late] = ()
    senders: Sequence[Sender] = ()
    quarantined: Mapping[str, int] = field(default_factory=dict)
    failing: Sequence[Failing] = ()
    silence_of_services: Mapping[str, timedelta] | None = None
    """For how long no process of it answered, of each service; zero for one that answers."""
    rooms: Sequence[Room] | None = None
    open_alerts: Sequence[OpenAlert] = ()
    counts: Mapping[Key, int] = field(default_factory=dict)
    """How many alerts of a kind there were about something, open ones included."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An alert that there has to be."""

    kind: AlertKind
    about: str
    severity: Literal["warning", "critical"]
    message: str


@dataclass(slots=True)
class _Found:
    wanted: list[Wanted] = field(default_factory=list)
    undecided: set[Key] = field(default_factory=set)
    """Of these nothing is said: it is too early, or not known."""


def changes(seen: Seen, conditions: Conditions) -> list[Say]:
    """Return the alerts to raise and to clear."""
    opened = {(alert.kind, alert.about): alert for alert in seen.open_alerts}
    found = _Found()
    _queues(seen, conditions, opened, found)
    _services(seen, conditions, opened, found)
    _rooms(seen, conditions, opened, found)
    _quarantine(seen, conditions, found)
    _silences(seen, conditions, found)
    _channels(seen, found)
    wanted: dict[Key, Wanted] = {(item.kind, item.about): item for item in found.wanted}
    says = [
        raised(f"{about}/{seen.counts.get((kind, about), 0)}", kind, about, item.severity, item.message)
        for (kind, about), item in wanted.items()
        if (kind, about) not in opened
    ]
    for key, alert in opened.items():
        if alert.kind in WATCHED and key not in wanted and key not in found.undecided:
            says.append(cleared(alert.alert_id, alert.kind, alert.about, _over(alert, seen)))
    return says


def _queues(seen: Seen, conditions: Conditions, opened: Mapping[Key, OpenAlert], found: _Found) -> None:
    for late in seen.late:
        if conditions.queue_age is None or (AlertKind.TARGET_DOWN, late.target) in opened:
            continue  # one alert is enough: that it is down
        message = (
            f"{late.count} {_plural(late.count, 'delivery', 'deliveries')} to {late.target} "
            f"{_plural(late.count, 'has', 'have')} waited for more than {lasting(conditions.queue_age)}, "
            f"the oldest for {lasting(seen.now - late.oldest)}"
        )
        found.wanted.append(Wanted(AlertKind.QUEUE_LATE, late.target, "warning", message))


def _services(seen: Seen, conditions: Conditions, opened: Mapping[Key, OpenAlert], found: _Found) -> None:
    limit = conditions.service_missing
    kind = AlertKind.SERVICE_MISSING
    if seen.silence_of_services is None:
        found.undecided |= {key for key in opened if key[0] == kind}
        return
    for service, silence in seen.silence_of_services.items():
        if limit is None or not silence:
            continue
        if silence < limit:
            found.undecided.add((kind, service))
            continue
        message = f"No process of the service {service} has answered for {lasting(silence)}"
        found.wanted.append(Wanted(kind, service, "critical", message))


def _rooms(seen: Seen, conditions: Conditions, opened: Mapping[Key, OpenAlert], found: _Found) -> None:
    both = (AlertKind.SPOOL_FILLING, AlertKind.DISK_FILLING)
    known: set[Key] = set()
    for about, pending, limit in _spools(seen.rooms or ()):
        key = (AlertKind.SPOOL_FILLING, about)
        known.add(key)
        used = 100 * pending / limit
        if conditions.spool_used is not None and used >= conditions.spool_used - (_EASE if key in opened else 0):
            message = (
                f"The spool of the {about} holds {_size(pending)} that wait for the object store, {used:.0f} % of its "
                "limit: when it is full, instances are refused"
            )
            found.wanted.append(Wanted(AlertKind.SPOOL_FILLING, about, "critical", message))
    for about, free, total in _volumes(seen.rooms or ()):
        key = (AlertKind.DISK_FILLING, about)
        known.add(key)
        left = 100 * free / total
        if conditions.disk_free is not None and left <= conditions.disk_free + (_EASE if key in opened else 0):
            message = f"The volume of the {about} has {_size(free)} left, {left:.0f} % of {_size(total)}"
            found.wanted.append(Wanted(AlertKind.DISK_FILLING, about, "critical", message))
    found.undecided |= {key for key in opened if key[0] in both and key not in known and _is_on(key[0], conditions)}


def _is_on(kind: str, conditions: Conditions) -> bool:
    limit = conditions.spool_used if kind == AlertKind.SPOOL_FILLING else conditions.disk_free
    return limit is not None


def _spools(rooms: Iterable[Room]) -> list[tuple[str, int, int]]:
    """Return name, bytes that wait and limit of each spool; the workers of a receiver share one limit."""
    found: dict[str, tuple[int, int]] = {}
    for room in rooms:
        if room.spool_limit:
            name = f"{room.service} on {room.host}"
            pending, limit = found.get(name, (0, 1))
            found[name] = (max(pending, room.spool_pending), max(limit, room.spool_limit))
    return [(name, *figures) for name, figures in found.items()]


def _volumes(rooms: Iterable[Room]) -> list[tuple[str, int, int]]:
    """Return name, free and total bytes of each volume that there is."""
    found: dict[str, tuple[int, int]] = {}
    for room in rooms:
        for volume in room.volumes:
            if volume.total:
                found[f"{volume.what} on {room.host}"] = (volume.free, volume.total)
    return [(name, *figures) for name, figures in found.items()]


def _quarantine(seen: Seen, conditions: Conditions, found: _Found) -> None:
    for aet, count in seen.quarantined.items():
        if conditions.quarantine is not None and count >= conditions.quarantine:
            noun = _plural(count, "instance", "instances")
            message = f"{count} {noun} of {aet or 'a sender without a name'} went into quarantine within the last hour"
            found.wanted.append(Wanted(AlertKind.QUARANTINED, aet or "-", "warning", message))


def _silences(seen: Seen, conditions: Conditions, found: _Found) -> None:
    silent = conditions.silent
    by_hand = {item.calling_aet.strip(): item.after for item in silent.senders}
    for sender in seen.senders:
        silence = seen.now - sender.last
        if sender.aet in by_hand:
            after = by_hand[sender.aet]
            if after is not None and silence >= after:
                message = f"{sender.aet} has sent nothing for {lasting(silence)}"
                found.wanted.append(Wanted(AlertKind.SOURCE_SILENT, sender.aet, "warning", message))
            continue
        if not silent.learned or sender.rhythm is None or not silent.at_least <= silence <= WINDOW:
            continue
        missed = sender.rhythm.missed(sender.last, seen.now)
        if missed >= silent.factor:
            message = (
                f"{sender.aet} has sent nothing for {lasting(silence)}; in that time it usually sends about "
                f"{missed:.0f} times"
            )
            found.wanted.append(Wanted(AlertKind.SOURCE_SILENT, sender.aet, "warning", message))


def _channels(seen: Seen, found: _Found) -> None:
    for item in seen.failing:
        message = f"Messages over the channel {item.channel} fail, {item.attempts} times now: {item.reason}"
        found.wanted.append(Wanted(AlertKind.CHANNEL_FAILING, item.channel, "warning", message))


def _over(alert: OpenAlert, seen: Seen) -> str:  # noqa: PLR0911  # a table: one line a kind
    """Return in words why an alert is over."""
    match AlertKind(alert.kind):
        case AlertKind.QUEUE_LATE:
            is_down = any(item.kind == AlertKind.TARGET_DOWN and item.about == alert.about for item in seen.open_alerts)
            return "the target is down, which is an alert of its own" if is_down else "nothing waits for that long"
        case AlertKind.SERVICE_MISSING:
            return "the service answers"
        case AlertKind.SPOOL_FILLING | AlertKind.DISK_FILLING:
            return "there is room again"
        case AlertKind.QUARANTINED:
            return "nothing more went into quarantine for an hour"
        case AlertKind.CHANNEL_FAILING:
            return "messages are taken again, or there is nothing left to send"
        case AlertKind.SOURCE_SILENT:
            last = next((item.last for item in seen.senders if item.aet == alert.about), None)
            is_back = last is not None and seen.now - last < timedelta(hours=1)
            return "it sends again" if is_back else "it is not watched any more"
        case _:
            return "it is not so any more"


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _size(octets: int) -> str:
    value, units = float(octets), ["B", "KB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}"

"""Whom an alert is told, and when: a decision for each piece of news, and for each message that was not taken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hermes_common.alerting import Alerting, AnyChannel, Severity
from hermes_common.ids import derived_id

RAISED, CLEARED, REMINDER = "raised", "cleared", "reminder"
WAITING, SENT, FAILED, WITHDRAWN = "waiting", "sent", "failed", "withdrawn"

TOO_OLD: Final = timedelta(hours=24)
"""News that is older is told to nobody: a history that is written again must not send last week's mail again. A message
that could not be sent for as long has failed."""

MOST_WAITING: Final = 1000
"""Messages that wait for one channel; what comes beyond is not sent, and that is said."""

MOST_REMINDERS: Final = 50
"""Of one alert over one channel."""

LOOK_AGAIN: Final = timedelta(minutes=1)
"""How often a silenced alert is looked at: a silence can be ended early."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is now."""

    alert_id: str
    kind: str
    about: str
    severity: str
    message: str
    reason: str
    raised_at: datetime
    cleared_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class News:
    """That an alert was raised or cleared, in the words of an event."""

    event_id: str
    what: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """A message about an alert that exists."""

    message_id: str
    channel: str
    what: str
    state: str
    attempt: int


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to make. ``state`` is waiting, or failed where there is no room for it."""

    message_id: str
    alert_id: str
    channel: str
    what: str
    next_at: datetime
    state: str = WAITING
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Look at the news again then."""

    look_at: datetime


@dataclass(frozen=True, slots=True)
class Tell:
    """What is to be done about the news, in one word why, and with that it is dealt with."""

    outcome: str
    messages: Sequence[NewMessage] = ()
    withdraw: Sequence[str] = ()
    """Ids of messages that nobody needs any more."""


def decide(news: News, alert: Alert | None, told: Sequence[Told], alerting: Alerting, now: datetime) -> Tell | Later:
    """Return what to do about a piece of news."""
    if now - news.time > TOO_OLD:
        return Tell("too old")
    if alert is None:
        return Tell("no such alert")
    if news.what == CLEARED:
        return _over(news, alert, told, alerting, now)
    if alert.cleared_at is not None:
        return Tell("over before it was told")
    if (until := alerting.silenced_until(alert.kind, alert.about, now)) is not None:
        return Later(min(until, now + LOOK_AGAIN))
    channels = [item for item in alerting.channels if item.wants(alert.kind, alert.about, alert.severity)]
    messages = [message_to(channel, news.event_id, RAISED, alert, now) for channel in channels]
    return Tell("told" if messages else "no channel wants it", messages)


def _over(news: News, alert: Alert, told: Sequence[Told], alerting: Alerting, now: datetime) -> Tell:
    """An end is told to those who were told, or tried to be told, of the beginning; to others it is no news."""
    withdraw = [item.message_id for item in told if item.state == WAITING and item.attempt == 0]
    messages = []
    for channel in alerting.channels:
        of_it = [item for item in told if item.channel == channel.slug and item.message_id not in withdraw]
        if channel.enabled and channel.recovery and any(item.state in (SENT, WAITING) for item in of_it):
            messages.append(message_to(channel, news.event_id, CLEARED, alert, now))
    return Tell("told" if messages else "nobody had been told", messages, withdraw)


def message_to(channel: AnyChannel, key: str, what: str, alert: Alert, now: datetime) -> NewMessage:
    """Return a message about an alert; it waits for the end of the quiet hours unless the alert is critical."""
    quiet = channel.quiet.end_after(now) if channel.quiet and alert.severity != Severity.CRITICAL else None
    message_id = derived_id("alert.message", key, channel.slug)
    return NewMessage(message_id, alert.alert_id, channel.slug, what, now if quiet is None else quiet)


@dataclass(frozen=True, slots=True)
class Open:
    """An open alert that a channel was told of: when last, and how many reminders there were."""

    alert: Alert
    channel: str
    last: datetime
    reminders: int


def reminders(opened: Iterable[Open], alerting: Alerting, now: datetime) -> list[NewMessage]:
    """Return the reminders that are due."""
    found = []
    for item in opened:
        channel, alert = alerting.channel(item.channel), item.alert
        if channel is None or channel.reminder is None or not channel.wants(alert.kind, alert.about, alert.severity):
            continue
        is_due = now - item.last >= channel.reminder and item.reminders < MOST_REMINDERS
        if is_due and alerting.silenced_until(alert.kind, alert.about, now) is None:
            key = f"{alert.alert_id}/reminder/{item.reminders + 1}"
            found.append(message_to(channel, key, REMINDER, alert, now))
    return found


def within_room(message: NewMessage, waiting: int) -> NewMessage:
    """Return the message, as one that is not sent where too many wait already."""
    if waiting < MOST_WAITING:
        return message
    reason = f"not sent: {MOST_WAITING} messages wait for this channel already"
    return NewMessage(
        message.message_id, message.alert_id, message.channel, message.what, message.next_at, FAILED, reason
    )


def pause_after(attempt: int) -> timedelta:
    """Return how long a channel rests after its ``attempt``-th failure in a row: 10 s doubling up to 15 min."""
    return timedelta(seconds=min(10.0 * 2.0 ** min(max(attempt - 1, 0), 10), 900.0))

"""Messages as what goes over a channel: a title and a text for people, a document for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hermes_bookkeeper.core.telling import CLEARED, REMINDER, Alert
from hermes_common.alerting import Alerting, AnyChannel
from hermes_common.alerttexts import LONGEST_BODY, body_of, instant, lasting, title_of, words_of
from hermes_common.ids import derived_id

SHOWN: Final = 20
"""Messages of which one letter has the text; of the others it has the number."""

_STATES = {CLEARED: "over", REMINDER: "still open"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is to be sent now."""

    message_id: str
    what: str
    attempt: int
    alert: Alert


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent at once over one channel."""

    id: str
    title: str
    body: str
    tone: str
    """``failure``, ``warning`` or ``success``."""
    document: dict[str, Any]


def letter_of(messages: Sequence[Message], channel: AnyChannel, alerting: Alerting, now: datetime) -> Letter:
    """Return one letter for one or more messages, in the words of the channel's templates."""
    texts = []
    for message in messages[:SHOWN]:
        values = values_of(message, alerting, now)
        texts.append((title_of(channel.title, values), body_of(channel.body, values)))
    if len(messages) == 1:
        title, body = texts[0]
    else:
        title = _summary(messages, alerting)
        parts = [f"{head}\n{text}" for head, text in texts]
        if len(messages) > SHOWN:
            parts.append(f"and {len(messages) - SHOWN} more: they are on the page of alerts")
        body = "\n\n".join(parts)[: 2 * LONGEST_BODY]
    return Letter(
        id=derived_id("alert.letter", *sorted(message.message_id for message in messages)),
        title=title,
        body=body or title,
        tone=_tone(messages),
        document=_document(messages, alerting, now),
    )


def values_of(message: Message, alerting: Alerting, now: datetime) -> dict[str, str]:
    """Return the fields of a message's templates."""
    alert = message.alert
    end = alert.cleared_at if message.what == CLEARED and alert.cleared_at is not None else now
    state = _STATES.get(message.what, "raised")
    subject = f"{words_of(alert.kind)}: {alert.about}"
    if message.what == CLEARED:
        subject += f" (after {lasting(end - alert.raised_at)})"
    return {
        "site": alerting.site,
        "kind": alert.kind,
        "subject": subject,
        "about": alert.about,
        "severity": alert.severity,
        "state": state,
        "message": alert.message,
        "reason": f"Over: {alert.reason}" if message.what == CLEARED and alert.reason else "",
        "raised": instant(alert.raised_at),
        "duration": lasting(end - alert.raised_at),
        "link": f"{alerting.address}/alerts" if alerting.address else "",
    }


def _summary(messages: Sequence[Message], alerting: Alerting) -> str:
    counted = Counter((words_of(item.alert.kind), _STATES.get(item.what, "raised")) for item in messages)
    kinds = ", ".join(f"{number} {kind} ({state})" for (kind, state), number in counted.most_common(5))
    return title_of(f"[$site] {len(messages)} alerts: $message", {"site": alerting.site, "message": kinds})


def _tone(messages: Sequence[Message]) -> str:
    if all(message.what == CLEARED for message in messages):
        return "success"
    serious = any(message.alert.severity == "critical" and message.what != CLEARED for message in messages)
    return "failure" if serious else "warning"


def _document(messages: Sequence[Message], alerting: Alerting, now: datetime) -> dict[str, Any]:
    return {
        "version": 1,
        "site": alerting.site,
        "sent_at": now.isoformat(),
        "messages": [
            {
                "id": message.message_id,
                "what": message.what,
                "alert_id": message.alert.alert_id,
                "kind": message.alert.kind,
                "about": message.alert.about,
                "severity": message.alert.severity,
                "message": message.alert.message,
                "reason": message.alert.reason,
                "raised_at": message.alert.raised_at.isoformat(),
                "cleared_at": None if message.alert.cleared_at is None else message.alert.cleared_at.isoformat(),
                "link": f"{alerting.address}/alerts" if alerting.address else None,
            }
            for message in messages
        ],
    }

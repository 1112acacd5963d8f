"""Open alerts put together: a target that takes nothing raises one for each delivery, and is one thing to see. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hermes_web.features.alerts.queries import AlertsItem

_RANK: Final = {"critical": 0, "warning": 1}


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """Alerts of one kind about one thing, the newest first; never empty."""

    kind: str
    about: str
    """A target, a sender, a rule; empty where the alerts of this kind are about nothing that several can share."""
    items: tuple[AlertsItem, ...]

    @property
    def severity(self) -> str:
        """The worst among them."""
        return min((item.severity for item in self.items), key=_rank)

    @property
    def newest(self) -> datetime:
        """When the last one was raised."""
        return self.items[0].raised_at

    @property
    def oldest(self) -> datetime:
        """When the first one was raised."""
        return self.items[-1].raised_at


def grouped(items: Sequence[AlertsItem]) -> list[AlertGroup]:
    """Return the alerts by kind and by what they are about, critical ones first, then the group with the newest.

    What an alert is about is a word, or one and, behind a slash, which of its own: ``pacs/`` and a delivery's id.
    """
    found: dict[tuple[str, str], list[AlertsItem]] = {}
    for item in sorted(items, key=lambda item: (item.raised_at, item.alert_id), reverse=True):
        found.setdefault((item.kind, item.about.partition("/")[0]), []).append(item)
    groups = [AlertGroup(kind, about, tuple(alerts)) for (kind, about), alerts in found.items()]
    return sorted(groups, key=lambda group: (_rank(group.severity), -group.newest.timestamp()))


def _rank(severity: str) -> int:
    return _RANK.get(severity, len(_RANK))

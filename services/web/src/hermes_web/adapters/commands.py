"""What people ask for, put on the work stream for the owner of the state; and live records."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from hermes_common import subjects
from hermes_common.commands import DeliveryCommand, SeriesCommand, StudyCommand
from hermes_common.records import DeliveryRecord, StudyRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id
from hermes_web.core.actions import DeliveryAction

Scope = Literal["missing", "all"]


class Commands:
    """Puts commands into the queues. A command that was accepted is carried out once, later."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def series(
        self,
        series_uid: str,
        action: Literal["route", "reevaluate", "discard"],
        actor: str,
        reason: str = "",
        targets: Sequence[str] = (),
    ) -> str:
        """Ask the router; return the id of the command."""
        command = SeriesCommand(
            command_id=new_id(),
            actor=actor,
            reason=reason,
            series_uid=series_uid,
            action=action,
            targets=tuple(targets),
        )
        await self._bus.enqueue(subjects.SERIES_COMMANDS, command, command.command_id)
        return command.command_id

    async def delivery(
        self,
        delivery_id: str,
        action: DeliveryAction,
        actor: str,
        reason: str = "",
        scope: Scope = "missing",
        to: str | None = None,
        bulk: str = "",
    ) -> str:
        """Ask the dispatcher; return the id of the command."""
        command = DeliveryCommand(
            command_id=new_id(),
            actor=actor,
            reason=reason,
            delivery_id=delivery_id,
            action=action,
            scope=scope,
            to=to,
            bulk=bulk,
        )
        await self._bus.enqueue(subjects.DELIVERY_COMMANDS, command, command.command_id)
        return command.command_id

    async def study(
        self,
        study_uid: str,
        action: Literal["complete", "route", "discard"],
        actor: str,
        reason: str = "",
        targets: Sequence[str] = (),
    ) -> str:
        """Ask the router; return the id of the command."""
        command = StudyCommand(
            command_id=new_id(),
            actor=actor,
            reason=reason,
            study_uid=study_uid,
            action=action,
            targets=tuple(targets),
        )
        await self._bus.enqueue(subjects.STUDY_COMMANDS, command, command.command_id)
        return command.command_id

    async def live_study(self, study_uid: str) -> tuple[StudyRecord, datetime | None] | None:
        """Return the live record of a study and when it is looked at next, or None."""
        await self._bus.connected()
        found = await self._bus.load(subjects.STATE, subjects.study_state(study_uid), StudyRecord)
        return None if found is None else (found[0], await self._bus.armed(subjects.study_timer(study_uid)))

    async def live_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the live record of a delivery, which is ahead of the history, or None."""
        await self._bus.connected()
        found = await self._bus.load(subjects.STATE, subjects.delivery_state(delivery_id), DeliveryRecord)
        return None if found is None else found[0]

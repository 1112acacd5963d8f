"""Series join their study: its live record names them before anything of them is decided.

So a study of which a series is still being received is not taken as complete, whichever router looks at it.
"""

from collections import OrderedDict
from datetime import datetime, timedelta

from hermes_common import subjects
from hermes_common.records import StudyRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.errors import ConflictError
from hermes_router.core import studies
from hermes_router.core.completeness import SOONEST
from hermes_router.handlers.performing import Steps

REMEMBERED = 10_000
ATTEMPTS = 20


class Studies:
    """The live records of studies, and their timers."""

    def __init__(self, bus: Bus, config: ConfigView, steps: Steps) -> None:
        self._bus = bus
        self._config = config
        self._steps = steps
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def load(self, study_uid: str) -> tuple[StudyRecord, int] | None:
        """Return the record of a study with its revision."""
        return await self._bus.load(subjects.STATE, subjects.study_state(study_uid), StudyRecord)

    async def store(self, record: StudyRecord, revision: int | None) -> int:
        """Write the record of a study over the given revision (None: there is none yet); return the new one."""
        key = subjects.study_state(record.study_uid)
        if revision is None:
            return await self._bus.create(subjects.STATE, key, record)
        return await self._bus.update(subjects.STATE, key, record, revision)

    async def join(self, study_uid: str, series_uid: str) -> bool:
        """Have the record of a study name a series; return False if the study has too many to be followed.

        What was joined before is remembered and not looked up again: see :meth:`batched`.
        """
        if (study_uid, series_uid) in self._known:
            self._known.move_to_end((study_uid, series_uid))
            return True
        record = await self._change(study_uid, series_uid, None, reopen=False)
        if series_uid not in record.series:
            return False
        self._known[study_uid, series_uid] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return True

    async def batched(self, study_uid: str, series_uid: str, expected: int | None, *, afresh: bool = False) -> None:
        """Say that a series has something that its study has to decide: it is open, and its timer is armed."""
        record = await self._change(study_uid, series_uid, expected, reopen=True, afresh=afresh)
        soon = afresh or record.expected is not None or await self._steps.concern(study_uid)
        wait = SOONEST if soon else self._config.policies.completion.study.quiet_period
        await self.look_at(study_uid, now() + wait)

    async def look_at(self, study_uid: str, at: datetime) -> None:
        """Have a study looked at at an instant, and not at another that was named before."""
        await self._bus.arm_after(subjects.study_timer(study_uid), subjects.study_due(study_uid), at)

    async def look_soon(self, study_uid: str, wait: timedelta = SOONEST) -> None:
        """Have a study looked at after a while."""
        await self.look_at(study_uid, now() + wait)

    async def _change(
        self, study_uid: str, series_uid: str, expected: int | None, *, reopen: bool, afresh: bool = False
    ) -> StudyRecord:
        for _ in range(ATTEMPTS):
            loaded = await self.load(study_uid)
            record, revision = loaded if loaded is not None else (None, None)
            at = now()
            changed = studies.joined(record, study_uid, series_uid, at) or record
            if changed is None:  # a record that is not there is always joined
                raise AssertionError(f"study {study_uid}: joined nothing")
            if reopen:
                changed = studies.with_expected(studies.reopened(changed, at), expected)
                changed = changed.model_copy(update={"afresh": True}) if afresh else changed
            if changed is record or changed == record:
                return changed
            try:
                await self.store(changed, revision)
            except ConflictError:
                continue
            return changed
        raise ConflictError(f"study {study_uid}: {ATTEMPTS} attempts to join it failed")

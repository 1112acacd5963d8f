"""Configuration documents in the bucket: read, saved by compare-and-set, and said once they are saved."""

import asyncio
import logging
from typing import Any

from pydantic import ValidationError

from hermes_common import subjects
from hermes_common.config import AnyDocument, Kind, Revision
from hermes_common.events import ConfigChanged
from hermes_common.ids import derived_id
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.configview import default
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.errors import BusUnavailableError, ConflictError
from hermes_common.secrets import shown
from hermes_web.errors import PreconditionFailedError

log = logging.getLogger(__name__)

_PAUSE = 2.0


class ConfigStore:
    """The one writer of the bucket ``hermes_config``, apart from the same code in other web services."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._unsaid: list[tuple[Revision, dict[str, Any]]] = []
        self._parsed: dict[Kind, tuple[Revision, AnyDocument]] = {}

    async def current(self, kind: Kind) -> Revision:
        """Return the last revision of a document, from the bucket itself; revision 0 if nobody saved one."""
        await self._bus.connected()
        found = await self._bus.load(subjects.CONFIG, kind.value, Revision)
        return default(kind) if found is None else found[0]

    async def parsed(self, kind: Kind) -> tuple[Revision, AnyDocument]:
        """Return the last revision and its document as a model, which is made once a revision: it takes long."""
        present = await self.current(kind)
        known = self._parsed.get(kind)
        if known is None or known[0] != present:
            known = (present, present.parsed())
            self._parsed[kind] = known
        return known

    async def save(self, kind: Kind, document: AnyDocument, expected: int, author: str, comment: str) -> Revision:
        """Save a document on top of revision ``expected``; :class:`PreconditionFailedError` if it is not the last."""
        found = await self._bus.load(subjects.CONFIG, kind.value, Revision)
        before = default(kind) if found is None else found[0]
        if before.revision != expected:
            raise self._late(kind, before)
        saved = Revision(
            kind=kind,
            revision=expected + 1,
            author=author,
            comment=comment,
            time=now(),
            document=document.model_dump(mode="json"),
        )
        try:
            if found is None:
                await self._bus.create(subjects.CONFIG, kind.value, saved)
            else:
                await self._bus.update(subjects.CONFIG, kind.value, saved, found[1])
        except ConflictError as error:
            raise self._late(kind, await self.current(kind)) from error
        crash_point("web.saved")
        self._unsaid.append((saved, before.document if before.revision else {}))
        await self._say_pending()
        return saved

    async def history(self, kind: Kind) -> list[Revision]:
        """Return the revisions that the bucket still holds, newest first."""
        await self._bus.connected()
        found: dict[int, Revision] = {}
        stream, subject, after = f"KV_{subjects.CONFIG}", f"$KV.{subjects.CONFIG}.{kind.value}", 0
        # One by one: the client's own history of a bucket is at times empty, and leaves a reader on the server.
        while (entry := await self._bus.following(stream, subject, after)) is not None:
            after = entry.sequence
            try:
                revision = Revision.model_validate_json(entry.data)
            except ValidationError:
                log.warning("configuration: an entry of %s cannot be read", kind.value)
                continue
            found[revision.revision] = revision
        return [found[number] for number in sorted(found, reverse=True)]

    async def run(self) -> None:
        """Say the last revision of each kind again, then whatever could not be said; until cancelled.

        A crash between saving and saying loses nothing: the id of the event is derived from the revision.
        """
        await self._bus.ready()
        recovered = False
        while True:
            try:
                if not recovered:
                    await self._recover()
                    recovered = True
                await self._say_pending()
            except BusUnavailableError as error:
                log.warning("configuration: %s", error)
            await asyncio.sleep(_PAUSE)

    async def _recover(self) -> None:
        for kind in Kind:
            revisions = await self.history(kind)
            if revisions:
                before = revisions[1].document if len(revisions) > 1 else {}
                self._unsaid.append((revisions[0], before))

    async def _say_pending(self) -> None:
        for item in list(self._unsaid):
            revision, before = item
            event = ConfigChanged(
                kind=revision.kind,
                revision=revision.revision,
                author=revision.author,
                comment=revision.comment,
                before=shown(before),
                after=shown(revision.document),
            )
            event_id = derived_id("config", revision.kind.value, str(revision.revision))
            try:
                await self._bus.publish(event, event_id, revision.time)
            except BusUnavailableError as error:
                log.warning(
                    "configuration: revision %d of %s is saved, and said later: %s", event.revision, event.kind, error
                )
                return
            if item in self._unsaid:
                self._unsaid.remove(item)

    @staticmethod
    def _late(kind: Kind, present: Revision) -> PreconditionFailedError:
        return PreconditionFailedError(
            f"{kind.value} is at revision {present.revision}, saved by {present.author}: your change was not saved"
        )

"""The spool of one worker, and what empties it: uploads, the grace period of the copies, a look at what was missed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hermes_receiver.adapters.board import Board
from hermes_receiver.adapters.spool import Spool
from hermes_receiver.handlers.grace import Grace
from hermes_receiver.handlers.uploading import Uploader

log = logging.getLogger(__name__)

_LOOK: Final = timedelta(seconds=5)
_LOOK_WHEN_BUSY: Final = timedelta(seconds=30)


@dataclass(slots=True)
class Line:
    """What takes the entries of one spool away."""

    spool: Spool
    uploader: Uploader
    grace: Grace
    worker: int = 0
    is_unclean: bool = False
    """Whether the last receiver on the spool did not stop in order."""

    async def keep_copies(self) -> None:
        """Check the copies after an unclean stop, then remove them as they become due; runs until cancelled."""
        if self.is_unclean:
            log.warning("spool %d was not left in order: its copies are checked against the store", self.worker)
        await self.grace.run(await self.uploader.checked() if self.is_unclean else ())

    async def look(self, board: Board) -> None:
        """Find what nobody has told of, and put the counts of an empty spool right; runs until cancelled."""
        while True:
            published = board.published(self.worker)
            await self.uploader.look()
            if not self.uploader.is_busy:
                board.settle(self.worker, published)
            await asyncio.sleep((_LOOK_WHEN_BUSY if self.uploader.is_busy else _LOOK).total_seconds())

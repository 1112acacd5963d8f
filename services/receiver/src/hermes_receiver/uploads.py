"""The process that takes the entries of all spools of a receiver to the object store and the bus.

Beside the workers, so that the interpreter of a worker belongs to its associations (ADR-0025). What waits is what lies
in the spools; that workers tell of it only makes it quick.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.service import Context
from hermes_common.runtime.store import store_of
from hermes_receiver.adapters import notices
from hermes_receiver.adapters.holdings import IndexingPublisher
from hermes_receiver.adapters.share import Share, shared_board
from hermes_receiver.adapters.spool import Spool, SpoolBusyError, worker_folder
from hermes_receiver.adapters.tally import Tally
from hermes_receiver.core.collecting import Collected, Collecting
from hermes_receiver.handlers.grace import Grace
from hermes_receiver.handlers.line import Line
from hermes_receiver.handlers.uploading import Uploader
from hermes_receiver.settings import Settings

log = logging.getLogger(__name__)

_WAY: Final = 5
"""How far this process gives way to those that receive (nice)."""


async def main(context: Context[Settings], share: Share) -> None:
    """Start uploading on ``context``. Raises SpoolBusyError, or OSError when a spool cannot be used."""
    settings, board = context.settings, shared_board()
    assert board is not None  # noqa: S101 - whoever has a share has a board
    os.nice(_WAY)
    context.cleanup.callback(os.close, _locked(settings.spool))
    objects = store_of(settings, settings.upload_parallel)
    context.cleanup.callback(objects.close)
    config = ConfigView(context.bus, _cache(settings.spool))
    collected: Collected = Collecting(settings.extra_tags, lambda: config.policies.extra_tags)
    lines = []
    for worker in range(share.workers):
        spool = Spool(worker_folder(settings.spool, worker), worker=worker, tally=Tally(board, worker))
        spool.attach()
        context.cleanup.callback(spool.detach)
        parallel = -(-settings.upload_parallel // share.workers)
        uploader = Uploader(spool, objects, IndexingPublisher(context.bus, context.bus), collected, parallel)
        grace = Grace(spool, uploader.finished, settings.spool_grace, settings.limits())
        lines.append(Line(spool, uploader, grace, worker, worker in share.unclean))
    context.background("configuration", config.run())
    context.health.inform("configuration", config.problem)
    context.health.inform("bus", context.bus.problem)
    context.health.inform("uploads", lambda: _problem(lines))
    for line in lines:
        context.background(f"uploads {line.worker}", line.uploader.run())
        context.background(f"copies {line.worker}", line.keep_copies())
        context.background(f"spool {line.worker}", line.look(board))
    context.background("notices", notices.listen(share.notices_fd, _offering(lines)))


def _cache(folder: Path) -> Path:
    """Return where the configuration is kept for a start without the bus; the first time with what a worker has kept,
    so that what waits is read as the policies say.
    """
    cache, of_a_worker = folder / "configuration-uploads.json", folder / "configuration.json"
    if not cache.exists() and of_a_worker.exists():
        shutil.copyfile(of_a_worker, cache)
    return cache


def _offering(lines: Sequence[Line]) -> Callable[[int, str, bool], None]:
    def offer(worker: int, entry: str, quarantined: bool) -> None:
        if worker < len(lines):
            lines[worker].uploader.offer(entry, quarantined=quarantined)

    return offer


def _problem(lines: Sequence[Line]) -> str | None:
    return next((words for line in lines if (words := line.uploader.problem()) is not None), None)


def _locked(folder: Path) -> int:
    """Return a descriptor that holds the lock of uploading from ``folder``."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    fd = os.open(folder / "uploads.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise SpoolBusyError(folder) from exc
    return fd

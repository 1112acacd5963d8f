"""The receiver as several processes: binds the port, keeps the others running, and speaks for all of them.

What each process owns and what they share: ADR-0010; why one of them uploads: ADR-0025.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from hermes_common.runtime.service import Context
from hermes_receiver.adapters import notices
from hermes_receiver.adapters.board import Board
from hermes_receiver.adapters.share import Port, Role, Share, listening
from hermes_receiver.adapters.spool import Spool, is_unclean, worker_folder, worker_folders
from hermes_receiver.adapters.workers import Worker
from hermes_receiver.core.limits import Ack
from hermes_receiver.settings import Settings

log = logging.getLogger(__name__)


async def main(context: Context[Settings]) -> None:
    """Start the workers on ``context``. Raises OSError when a port or a spool cannot be had, CertificateError."""
    settings = context.settings
    settings.certificates()  # workers would fail over them, again and again
    count, places = settings.receiver_workers, settings.max_associations
    metrics = Path(tempfile.mkdtemp(prefix="hermes-receiver-"))
    context.cleanup.callback(shutil.rmtree, metrics, ignore_errors=True)
    sockets = listening(settings)
    for sock in sockets.values():
        context.cleanup.callback(sock.close)
    with tempfile.TemporaryFile() as file:
        file.truncate(Board.size(count, places))
        board_fd = os.dup(file.fileno())
    context.cleanup.callback(os.close, board_fd)
    board = Board(board_fd, count, places)

    def buried(share: Share, pid: int) -> None:
        if share.role is Role.RECEIVE:
            board.clear(share.number)
        mark_process_dead(pid, path=str(metrics))  # type: ignore[no-untyped-call]

    unclean = _take_stock(settings, board)
    read, write = _notices(context)
    shares = [
        Share(Role.RECEIVE, number, count, places, board_fd, -1, -1, write, _numbers(sockets))
        for number in range(count)
    ]
    workers = [Worker(share, _environment(settings, share, metrics), buried) for share in shares]
    everyone = list(workers)
    if settings.ack is Ack.SPOOLED:
        share = Share(Role.UPLOAD, 0, count, places, board_fd, -1, -1, read, {}, unclean)
        everyone.append(Worker(share, _environment(settings, share, metrics), buried))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(metrics))  # type: ignore[no-untyped-call]
    context.serve_health(registry)
    context.health.require("workers", lambda: _none_ready(workers))
    context.health.inform("bus", context.bus.problem)
    for process in everyone:
        context.health.inform(process.name, process.problem)
        context.work(process.name, process.run(context.stopping))
    for name, sock in sockets.items():
        log.info("%s on %s:%d, %d workers", name.value, *sock.getsockname()[:2], count)


def _take_stock(settings: Settings, board: Board) -> tuple[int, ...]:
    """Count what waits in the spool of each worker; return the workers whose last user did not stop in order. Raises
    OSError when a folder cannot be used.
    """
    folders = [worker_folder(settings.spool, worker) for worker in range(settings.receiver_workers)]
    unclean = [worker for worker, folder in enumerate(folders) if is_unclean(folder)]
    if any(map(is_unclean, worker_folders(settings.spool, settings.receiver_workers))):
        unclean.append(0)  # who takes over what they have left, here and now: nobody uploads or removes yet
    first = Spool(settings.spool, workers=settings.receiver_workers)
    first.open()
    first.close(clean=not first.was_unclean)
    for worker, folder in enumerate(folders):
        spool = Spool(folder)
        spool.attach()
        board.add_published(worker, spool.waiting())
        spool.detach()
    return tuple(unclean)


def _notices(context: Context[Settings]) -> tuple[int, int]:
    """Return both ends of the pipe of notices; they stay open here, so that neither side ever finds it closed."""
    read, write = notices.pipe()
    for fd in (read, write):
        context.cleanup.callback(os.close, fd)
    return read, write


def _numbers(sockets: Mapping[Port, socket.socket]) -> dict[str, int]:
    return {name.value: sock.fileno() for name, sock in sockets.items()}


def _environment(settings: Settings, share: Share, metrics: Path) -> dict[str, str]:
    """Return the environment of a process: ours, and for a worker a spool and a share of the uploads of its own."""
    common = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    if share.role is Role.UPLOAD:
        return common
    return common | {
        "HERMES_SPOOL": str(worker_folder(settings.spool, share.number)),
        "HERMES_UPLOAD_PARALLEL": str(-(-settings.upload_parallel // settings.receiver_workers)),
    }


def _none_ready(workers: list[Worker]) -> str | None:
    """Return what is wrong when no worker receives; None as long as one does."""
    if any(worker.is_ready for worker in workers):
        return None
    return f"no worker receives; worker 0: {workers[0].problem()}"

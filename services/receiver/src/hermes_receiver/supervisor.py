"""The receiver as several processes: binds the port, keeps the workers running, and speaks for all of them.

What each process owns and what they share: ADR-0010.
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
from hermes_receiver.adapters.board import Board
from hermes_receiver.adapters.share import Port, Share, listening
from hermes_receiver.adapters.spool import worker_folder
from hermes_receiver.adapters.workers import Worker
from hermes_receiver.settings import Settings

log = logging.getLogger(__name__)


async def main(context: Context[Settings]) -> None:
    """Start the workers on ``context``. Raises OSError when a port cannot be bound."""
    settings = context.settings
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

    def buried(number: int, pid: int) -> None:
        board.clear(number)
        mark_process_dead(pid, path=str(metrics))  # type: ignore[no-untyped-call]

    workers = [
        Worker(
            _share(settings, number, board_fd, sockets),
            _environment(settings, number, metrics),
            buried,
        )
        for number in range(count)
    ]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(metrics))  # type: ignore[no-untyped-call]
    context.serve_health(registry)
    context.health.require("workers", lambda: _none_ready(workers))
    context.health.inform("bus", context.bus.problem)
    for number, worker in enumerate(workers):
        context.health.inform(f"worker {number}", worker.problem)
        context.work(f"worker {number}", worker.run(context.stopping))
    for name, sock in sockets.items():
        log.info("%s on %s:%d, %d workers", name.value, *sock.getsockname()[:2], count)


def _share(settings: Settings, number: int, board_fd: int, sockets: Mapping[Port, socket.socket]) -> Share:
    return Share(
        number=number,
        workers=settings.receiver_workers,
        places=settings.max_associations,
        board_fd=board_fd,
        status_fd=-1,
        lifeline_fd=-1,
        sockets={name.value: sock.fileno() for name, sock in sockets.items()},
    )


def _environment(settings: Settings, number: int, metrics: Path) -> dict[str, str]:
    """Return the environment of a worker: ours, with a spool and a share of the uploads of its own."""
    return {
        **os.environ,
        "HERMES_SPOOL": str(worker_folder(settings.spool, number)),
        "HERMES_UPLOAD_PARALLEL": str(-(-settings.upload_parallel // settings.receiver_workers)),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }


def _none_ready(workers: list[Worker]) -> str | None:
    """Return what is wrong when no worker receives; None as long as one does."""
    if any(worker.is_ready for worker in workers):
        return None
    return f"no worker receives; worker 0: {workers[0].problem()}"

"""How many associations are open, over all ports and worker processes of the receiver."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Final

from hermes_receiver.adapters import metrics
from hermes_receiver.adapters.board import Board, Full
from hermes_receiver.adapters.share import inherited, shared_board
from hermes_receiver.core.limits import Limits
from hermes_receiver.core.negotiation import Rejection, over_limit

_COURTESY: Final = timedelta(milliseconds=2)


class Admissions:
    """Counts associations in and out. Safe for use by many threads."""

    def __init__(self, limits: Limits) -> None:
        share = inherited()
        self._limits = limits
        self._worker = 0 if share is None else share.number
        self._board = shared_board() or Board(-1, 1, limits.associations)
        self._guard = threading.Lock()
        self._serving = 0

    def admit(self, host: str) -> int | Rejection:
        """Count one in and return what :meth:`leave` wants, or say why there is no room."""
        limits = self._limits
        found = self._board.claim(
            self._worker, host, in_all=limits.associations, of_host=limits.associations_per_address
        )
        if not isinstance(found, Full):
            metrics.ASSOCIATIONS.set(self._board.open(self._worker))
            return found
        if found.of_host >= limits.associations_per_address:
            return over_limit(f"{found.of_host} associations from one address are open")
        return over_limit(f"{found.in_all} associations are open, which is the limit")

    def came(self) -> None:
        """Say that this process serves one connection more, with or without an association."""
        self._serve(1)

    def went(self) -> None:
        """Say that this process serves one connection less."""
        self._serve(-1)

    def _serve(self, change: int) -> None:
        with self._guard:
            self._serving += change
            self._board.set_serving(self._worker, self._serving)

    def courtesy(self) -> timedelta:
        """Return how long to wait before taking a connection, so that a worker with less to do may take it."""
        return _COURTESY * min(self._board.ahead(self._worker), 5)

    def leave(self, place: int) -> None:
        """Count one out."""
        self._board.leave(self._worker, place)
        metrics.ASSOCIATIONS.set(self._board.open(self._worker))

"""How many bytes wait in a spool, counted where they come in and where they leave."""

from __future__ import annotations

import threading

from hermes_receiver.adapters.board import Board


class Tally:
    """The counts of one spool, kept on a board. Safe for use by many threads.

    One process calls :meth:`write`, :meth:`publish` and :meth:`press`; the same one or another :meth:`finish` and
    :meth:`take_pressure`.
    """

    def __init__(self, board: Board | None = None, worker: int = 0) -> None:
        """Without a board: counts for one process alone."""
        self._board = Board(-1, 1, 1) if board is None else board
        self._worker = worker
        self._guard = threading.Lock()

    def write(self, octets: int) -> None:
        """Count bytes that are being written; negative when they are dropped."""
        with self._guard:
            self._board.add_writing(self._worker, octets)

    def publish(self, octets: int) -> None:
        """Count bytes that wait from now on."""
        with self._guard:
            self._board.add_published(self._worker, octets)

    def finish(self, octets: int) -> None:
        """Count bytes that do not wait any more; negative when they wait again."""
        with self._guard:
            self._board.add_finished(self._worker, octets)

    def press(self) -> None:
        """Say that the volume had no room for an instance."""
        self._board.press(self._worker)

    def take_pressure(self) -> bool:
        """Return whether it had no room since this was last asked."""
        return self._board.take_pressure(self._worker)

    @property
    def pending(self) -> int:
        """Bytes that wait in this spool, those being written included."""
        return self._board.pending_of(self._worker)

    @property
    def all_pending(self) -> int:
        """The same for all spools of the receiver."""
        return self._board.pending()

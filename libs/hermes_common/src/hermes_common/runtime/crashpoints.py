"""Named points at which the process kills itself when the environment says so: for tests of what survives.

``HERMES_CRASH_POINT=spool.renamed`` dies at the first passage, ``spool.renamed:3`` at the third. Without the variable
a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

_NAME, _, _COUNT = os.environ.get("HERMES_CRASH_POINT", "").partition(":")
_left = int(_COUNT) if _COUNT.isdigit() else 1
_guard = threading.Lock()


def crash_point(name: str) -> None:
    """Die by SIGKILL if ``name`` is the point that the environment names and its turn has come."""
    if name != _NAME:
        return
    global _left  # noqa: PLW0603 - counts passages of the whole process
    with _guard:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

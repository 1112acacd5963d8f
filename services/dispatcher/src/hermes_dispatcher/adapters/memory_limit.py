"""A limit of memory for a process that is given what strangers sent."""

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

_SPARE: Final = 128 * 1024 * 1024
"""What the process may take beside the data set."""


def limit_memory(most: int) -> None:
    """Let no order take more than it may; where the system does not say what is taken, the estimates stand alone."""
    with suppress(OSError, ValueError):
        taken = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (taken + most + _SPARE, hard))

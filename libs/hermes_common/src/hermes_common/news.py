"""What the bookkeeper tells whoever listens after each commit: that the history has something new.

It is said on a subject that no stream keeps. Who misses it looks again a little later.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict

MOST_SERIES: Final = 100
"""Series that one message names; beyond that it says that there are more."""


class Recorded(BaseModel):
    """What a commit was about."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    series: tuple[str, ...] = ()
    """UIDs of the series that it was about, :data:`MOST_SERIES` at most."""
    more: bool = False
    """Whether there were more series than are named."""
    instances_only: bool = False
    """Whether it had nothing but receptions of instances, of which there may be thousands a second."""

    def is_about(self, series_uid: str) -> bool:
        """Return whether it may have been about a series."""
        return self.more or series_uid in self.series

"""Which attributes are taken out of an instance: the default list, the settings of this receiver, the policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hermes_common.dicom.tags import DEFAULT_TAGS, TagSelection

Collected: TypeAlias = Callable[[], TagSelection]
"""The selection for the next instance."""


class Collecting:
    """A :data:`Collected` that follows the policies: compiled anew when what they add has changed."""

    def __init__(self, fixed: tuple[str, ...], added: Callable[[], tuple[str, ...]]) -> None:
        self._fixed = (*DEFAULT_TAGS, *fixed)
        self._added = added
        self._compiled: tuple[tuple[str, ...], TagSelection] = ((), TagSelection.of(self._fixed))

    def __call__(self) -> TagSelection:
        """Return the present selection. Any thread may ask: two that find a change at once compile the same."""
        added = self._added()
        known, selection = self._compiled
        if known != added:
            selection = TagSelection.of((*self._fixed, *added))
            self._compiled = (added, selection)
        return selection

"""The API tokens that are valid, followed from the bus; the last known list is kept for a start without it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from hermes_common import subjects
from hermes_common.access import KEY, AccessList, AccessToken
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_receiver.adapters.dicomweb import TokensUnknownError
from hermes_receiver.adapters.holdings import Records

log = logging.getLogger(__name__)

_PERIOD: Final = 5.0
_AGAIN: Final = 1.0
"""A secret that is not known makes us look once more, at most this often."""
_LOOK: Final = 3.0


class Tokens:
    """:meth:`run` on the event loop; :meth:`authorise` from any other thread."""

    def __init__(self, records: Records, cache: Path) -> None:
        self._records = records
        self._cache = cache
        self._loop = asyncio.get_running_loop()
        self._guard = threading.Lock()
        self._known: AccessList | None = None
        self._looked = 0.0

    async def run(self) -> None:
        """Follow the list until cancelled."""
        await asyncio.to_thread(self._load_cache)
        while True:
            await self._refresh()
            await asyncio.sleep(_PERIOD)

    def authorise(self, secret: str) -> AccessToken | None:
        """Return whose secret it is, or None; raises TokensUnknownError while no list has been seen."""
        found = None if self._known is None else self._known.find(secret, now())
        if found is None:
            self._look_again()
            found = None if self._known is None else self._known.find(secret, now())
        if self._known is None:
            raise TokensUnknownError("which tokens are valid is not known yet")
        return found

    def _look_again(self) -> None:
        """Return when the list has been looked at since this call: a token that was just made counts at once. Whoever
        comes while another looks waits for the next look, which serves all of them.
        """
        asked = time.monotonic()
        if not self._guard.acquire(timeout=_AGAIN + 2 * _LOOK):
            return
        try:
            if self._looked >= asked:
                return
            time.sleep(max(0.0, self._looked + _AGAIN - time.monotonic()))
            self._looked = time.monotonic()
            with suppress(TimeoutError, RuntimeError):  # RuntimeError: the loop has ended
                asyncio.run_coroutine_threadsafe(self._refresh(), self._loop).result(_LOOK * 2)
        finally:
            self._guard.release()

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_LOOK):
                loaded = await self._records.load(subjects.STATE, KEY, AccessList)
        except (TransientError, TimeoutError, ValidationError) as exc:
            log.debug("the API tokens cannot be read: %s", exc)
            return
        known = AccessList() if loaded is None else loaded[0]
        if known != self._known:
            self._known = known
            await asyncio.to_thread(self._store_cache, known)

    def _load_cache(self) -> None:
        try:
            self._known = AccessList.model_validate_json(self._cache.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as exc:
            log.warning("the copy of the API tokens in %s cannot be read: %s", self._cache, exc)

    def _store_cache(self, known: AccessList) -> None:
        temporary = self._cache.with_suffix(".part")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(known.model_dump_json())
            temporary.replace(self._cache)
        except OSError as exc:
            log.warning("the copy of the API tokens in %s cannot be written: %s", self._cache, exc)

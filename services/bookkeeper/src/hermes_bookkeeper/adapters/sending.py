"""Sending a letter in a process of its own, which is ended when it takes too long."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from pydantic import TypeAdapter, ValidationError

from hermes_bookkeeper.core.letters import Letter
from hermes_common.alerting import AnyChannel, AppriseChannel, WebhookChannel
from hermes_common.runtime.sealing import Sealer, SealingError, opened
from hermes_common.targettests import Step

LIMIT: Final = timedelta(seconds=40)
"""Of one attempt, whatever happens on the network."""
_MOST: Final = 64 * 1024
_STEPS: TypeAdapter[list[Step]] = TypeAdapter(list[Step])
_PASSED_ON: Final = ("PATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TMPDIR", "HOME")
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class Post:
    """Sends letters."""

    def __init__(self, sealer: Sealer, limit: timedelta = LIMIT) -> None:
        self._sealer = sealer
        self._limit = limit

    async def send(self, channel: AnyChannel, letter: Letter) -> list[Step]:
        """Return the steps that were made; the last one says whether the letter was taken. Raises nothing."""
        begun = time.monotonic()
        try:
            plain = opened(channel, self._sealer)
        except SealingError as error:
            return [_failed("open the sealed address", begun, str(error))]
        asked = {"id": letter.id, "title": letter.title, "body": letter.body, "tone": letter.tone}
        asked |= {"kind": plain.kind, "document": letter.document}  # type: ignore[dict-item]
        match plain:
            case AppriseChannel():
                asked["url"] = plain.url.get_secret_value()
            case WebhookChannel():
                asked |= {"url": plain.url, "key": plain.key.get_secret_value()}
        return await self._run(json.dumps(asked).encode(), begun)

    async def _run(self, asked: bytes, begun: float) -> list[Step]:
        """Run the program. Its environment has no secret of ours in it."""
        names = (*_PASSED_ON, *_PROXIES)
        environment = {name: os.environ[name] for name in names if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "hermes_bookkeeper.sendletter"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            limit=_MOST,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(asked), self._limit.total_seconds())
        except TimeoutError:
            return [_failed("send", begun, f"not finished after {self._limit.total_seconds():g} s")]
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            return _STEPS.validate_json(out)
        except ValidationError:
            return [_failed("send", begun, f"the sending program ended with {process.returncode}")]


def is_taken(steps: Sequence[Step]) -> bool:
    """Return whether a letter was taken."""
    return bool(steps) and all(step.ok for step in steps)


def _failed(name: str, begun: float, detail: str) -> Step:
    taken = round((time.monotonic() - begun) * 1000, 1)
    return Step(name=name, ok=False, milliseconds=taken, detail=detail[:1000])

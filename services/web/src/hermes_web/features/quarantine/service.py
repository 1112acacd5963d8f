"""Having bytes received again: what the API and the page do alike."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from hermes_common.events import InstanceDownloaded, InstanceResubmitted
from hermes_web.adapters.outbox import put
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, UnavailableError
from hermes_web.features.quarantine.asking import ReceiverAnswer, ask_receiver, known_id
from hermes_web.web import Web

MOST = 50
_TOGETHER = 120.0
"""Seconds for all of those that were ticked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one; ``reason`` is empty if it is an instance now."""

    reception_id: str
    code: int
    body: bytes
    stored: bool
    reason: str


async def resubmit(web: Web, authorization: str, reception_id: str, actor: str, address: str) -> Outcome:
    """Have one received again; who had it done, and what became of it, is in the audit."""
    path = f"/quarantine/{known_id(reception_id)}/resubmit"
    answer = await ask_receiver(web, authorization, "POST", path)
    body = await answer.aread()
    stored, reason = _read(answer.status_code, body)
    event = InstanceResubmitted(
        reception_id=reception_id, actor=actor, address=address, stored=stored, reason=reason[:1000]
    )
    await web.database.run(put, event)
    web.outbox.nudge()
    return Outcome(reception_id, answer.status_code, body, stored, reason)


async def download(web: Web, authorization: str, reception_id: str, actor: str, address: str) -> ReceiverAnswer:
    """Return the receiver's answer with the bytes, once it is in the audit who takes them; raises what says why not."""
    async with AsyncExitStack() as stack:
        answer = await ask_receiver(web, authorization, "GET", f"/quarantine/{known_id(reception_id)}")
        stack.push_async_callback(answer.close)
        await web.database.run(put, InstanceDownloaded(reception_id=reception_id, actor=actor, address=address))
        stack.pop_all()
    web.outbox.nudge()
    return answer


async def resubmit_many(web: Web, authorization: str, ids: Sequence[str], actor: str, address: str) -> list[Outcome]:
    """Have up to fifty received again, one after the other; those for which time is too short are said to be left."""
    if not ids:
        raise InvalidError(problems=[FieldProblem("ids", "tick at least one")])
    wanted = [known_id(reception_id) for reception_id in dict.fromkeys(ids)][:MOST]
    found: list[Outcome] = []
    try:
        async with asyncio.timeout(_TOGETHER):
            for reception_id in wanted:
                outcome = await _one_of_many(web, authorization, reception_id, actor, address)
                found.append(outcome)  # what is done when time is over stays in the list
    except TimeoutError:
        left = wanted[len(found) :]
        found += [Outcome(reception_id, 0, b"", False, "there was no time left for it") for reception_id in left]
    return found


async def _one_of_many(web: Web, authorization: str, reception_id: str, actor: str, address: str) -> Outcome:
    try:
        return await resubmit(web, authorization, reception_id, actor, address)
    except (NotFoundError, UnavailableError) as error:
        return Outcome(reception_id, error.status, b"", False, error.detail)


def _read(code: int, body: bytes) -> tuple[bool, str]:
    """Return whether it was stored, and why not: the receiver answers JSON, or a line of text."""
    try:
        said = json.loads(body)
    except ValueError:
        return code == 200, "" if code == 200 else body[:500].decode("utf-8", "replace").strip()
    if not isinstance(said, dict):
        return code == 200, ""
    stored = code == 200 and said.get("stored") is not False
    return stored, "" if stored else str(said.get("reason") or said.get("detail") or "it still makes no instance")

"""A DICOMweb service as a target: STOW-RS of the bytes as they were received (PS3.18 10.5).

Instances go in batches as one multipart request, streamed. What became of each is read from the answer: one that the
answer does not name has not been delivered. A batch that is refused as a whole is sent again one by one, so that only
what the target does not take is refused.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from hermes_common.dicom.status import meaning_of
from hermes_common.runtime.clock import new_id
from hermes_common.targets import StowTarget
from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.adapters.targets.feeding import part10
from hermes_dispatcher.adapters.targets.http import Answer, Http, trouble_of
from hermes_dispatcher.adapters.targets.interface import Permit, Report
from hermes_dispatcher.adapters.targets.oauth2 import Authorisation
from hermes_dispatcher.adapters.targets.steps import StepFailedError, Steps, TroubleError, reach
from hermes_dispatcher.adapters.targets.tls import context_of
from hermes_dispatcher.core.outcomes import Delivered, NotDelivered, Outcome, Trouble, outcome_of

LARGEST_BATCH: Final = 32 * 1024 * 1024
"""Octets of data sets after which a batch is sent, whatever its number of instances."""

_INSTANCE, _FAILED, _STORED = "00081155", "00081198", "00081199"
_FAILURE, _WARNING = "00081197", "00081196"
_NOBODY: Final = "2.25.0"


@dataclass(frozen=True, slots=True)
class _Part:
    item: Item
    prepared: Prepared


class StowSender:
    """Sends over HTTP, one request at a time."""

    def __init__(self, target: StowTarget, slowest: int) -> None:
        """``slowest``: octets a second that the target has to take at least (:func:`http.slowest_of`)."""
        self._target = target
        self._slowest = slowest
        self._url = f"{target.url}/studies"

    def send(self, items: Sequence[Item], supply: Supply, report: Report, permit: Permit) -> NotDelivered | None:
        """Send them; see :class:`~hermes_dispatcher.adapters.targets.interface.Sender`."""
        try:
            http = Http(
                self._target.tls,
                self._target.connect_timeout,
                self._target.response_timeout,
                self._slowest,
            )
        except TroubleError as error:
            return error.outcome
        stream = supply(items)
        permit.killed_by(http.kill)
        try:
            authorisation = Authorisation(self._target.auth, http)
            for batch in self._batches(stream, report):
                try:
                    if not permit.may_send:
                        return None
                    trouble = self._deliver(http, authorisation, batch, report, permit)
                finally:
                    for part in batch:
                        part.prepared.close()
                if trouble is not None:
                    return trouble
        finally:
            permit.killed_by(None)
            stream.close()
            http.close()
        return None

    def test(self, steps: Steps) -> None:
        """Resolve, connect, TLS, a token where one is asked for, and a search that finds nothing."""
        target = self._target
        parts = urlsplit(target.url)
        is_tls = parts.scheme == "https"
        limit = min(target.connect_timeout, steps.limit)
        http = steps.take("settings", lambda: Http(target.tls, limit, steps.limit), lambda _: "usable")
        tls = context_of(target.tls) if is_tls and target.tls else http.manager.connection_pool_kw["ssl_context"]
        port = parts.port or (443 if is_tls else 80)
        reach(steps, parts.hostname or "", port, tls if is_tls else None).close()
        try:
            authorisation = Authorisation(target.auth, http)
            if authorisation.asks:
                steps.take("token", authorisation.header, lambda _: "the token service gave one")
            steps.take(
                "HTTP", lambda: self._searched(http, authorisation), lambda found: f"answered HTTP {found.status}"
            )
        except StepFailedError:
            http.kill()
            raise
        finally:
            http.close()

    def _searched(self, http: Http, authorisation: Authorisation) -> Answer:
        """Search for a study that nobody has. A service without QIDO-RS answers 404, 405 or 501: it is alive."""
        headers = {"Accept": "application/dicom+json", **authorisation.header()}
        answer = http.request("GET", f"{self._url}?StudyInstanceUID={_NOBODY}&limit=1", headers)
        if answer.status < 300 or answer.status in (400, 404, 405, 406, 415, 501):
            return answer
        raise trouble_of(answer.status, "", alone=False)

    def _batches(
        self, stream: Generator[tuple[Item, Prepared | NotDelivered], None, None], report: Report
    ) -> Iterator[list[_Part]]:
        batch: list[_Part] = []
        octets = 0
        try:
            for item, prepared in stream:
                if isinstance(prepared, NotDelivered):
                    report(item, prepared, 0)
                    continue
                batch.append(_Part(item, prepared))
                octets += prepared.octets
                if len(batch) >= self._target.batch or octets >= LARGEST_BATCH:
                    full, batch, octets = batch, [], 0
                    yield full
            if batch:
                full, batch = batch, []
                yield full
        finally:
            for part in batch:
                part.prepared.close()

    def _deliver(
        self, http: Http, authorisation: Authorisation, batch: list[_Part], report: Report, permit: Permit
    ) -> NotDelivered | None:
        """Send a batch and report what became of each; return what ends the attempt."""
        try:
            outcomes = self._post(http, authorisation, batch)
        except TroubleError as error:
            if error.trouble is not Trouble.REFUSED:
                return error.outcome
            if len(batch) > 1:
                return self._one_by_one(http, authorisation, batch, report, permit)
            outcomes = {batch[0].item.instance.sop_instance_uid: error.outcome}
        for part in batch:
            uid = part.item.instance.sop_instance_uid
            report(part.item, outcomes.get(uid, _UNNAMED), part.prepared.octets)
        busy = [found for found in outcomes.values() if isinstance(found, NotDelivered)]
        whole = len(busy) == len(batch) and all(found.trouble is Trouble.BUSY for found in busy)
        return busy[0] if busy and whole else None

    def _one_by_one(
        self, http: Http, authorisation: Authorisation, batch: list[_Part], report: Report, permit: Permit
    ) -> NotDelivered | None:
        for part in batch:
            if not permit.may_send:
                return None
            trouble = self._deliver(http, authorisation, [part], report, permit)
            if trouble is not None:
                return trouble
        return None

    def _post(self, http: Http, authorisation: Authorisation, batch: list[_Part]) -> dict[str, Outcome]:
        answer = self._posted(http, authorisation, batch)
        if answer.status == 401 and authorisation.renew():
            answer = self._posted(http, authorisation, batch)
        named = outcomes_in(answer.body) if answer.status in (200, 202, 400, 409) else {}
        if named or answer.status in (200, 202):
            return named
        is_refusal = answer.status in (400, 406, 409, 413, 415, 422)
        raise trouble_of(answer.status, "", alone=is_refusal, wait=answer.wait)

    def _posted(self, http: Http, authorisation: Authorisation, batch: list[_Part]) -> Answer:
        boundary = f"hermes-{new_id()}"
        octets, body = multipart(boundary, [part.prepared for part in batch])
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
            **authorisation.header(),
        }
        return http.request("POST", self._url, headers, body, octets)


_UNNAMED = NotDelivered(Trouble.BUSY, "the answer of the target does not name this instance")


def multipart(boundary: str, batch: Sequence[Prepared]) -> tuple[int, Iterator[bytes]]:
    """Return the size and the bytes of a multipart/related body with one DICOM file in each part (PS3.18 8.7.3)."""
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    end = f"--{boundary}--\r\n".encode()
    parts = [part10(prepared) for prepared in batch]

    def chunks() -> Iterator[bytes]:
        for _, bytes_of in parts:
            yield head
            yield from bytes_of
            yield b"\r\n"
        yield end

    return sum(len(head) + size + 2 for size, _ in parts) + len(end), chunks()


def outcomes_in(body: bytes) -> dict[str, Outcome]:
    """Return what the Store Instances Response says of each instance (PS3.18 table 10.5.3-2, PS3.3 C.12.1.4).

    Whatever is no such response says nothing of any instance.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    outcomes: dict[str, Outcome] = {}
    for entry in _sequence(found, _STORED):
        warning = _number(entry, _WARNING)
        words = "" if warning is None else f"{warning:04X}H {meaning_of(warning).words}"
        outcomes[_uid(entry)] = Delivered(warning, words)
    for entry in _sequence(found, _FAILED):
        failure = _number(entry, _FAILURE)
        outcome = outcome_of(meaning_of(0x0110 if failure is None else failure), "")
        if isinstance(outcome, Delivered):  # named among the failed: it is not there, whatever the code says
            outcome = NotDelivered(Trouble.BUSY, f"named as failed, with the reason {failure:04X}H", failure)
        outcomes[_uid(entry)] = outcome
    outcomes.pop("", None)
    return outcomes


def _sequence(document: Any, tag: str) -> list[dict[str, Any]]:
    values = document.get(tag) if isinstance(document, dict) else None
    items = values.get("Value") if isinstance(values, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _first(entry: dict[str, Any], tag: str) -> Any:
    value = entry.get(tag)
    values = value.get("Value") if isinstance(value, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _uid(entry: dict[str, Any]) -> str:
    value = _first(entry, _INSTANCE)
    return value.strip(" \0") if isinstance(value, str) else ""


def _number(entry: dict[str, Any], tag: str) -> int | None:
    value = _first(entry, tag)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF else None

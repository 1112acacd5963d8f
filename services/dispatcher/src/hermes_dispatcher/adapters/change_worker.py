"""The process that changes data sets: orders on standard input, results on standard output, one at a time.

A process of its own, because decoders are given what strangers send: one that crashes, hangs or takes all memory takes
nothing else with it. Each message is a line of JSON and as many octets as its ``octets`` says.
"""

import json
import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import Any, BinaryIO

from pydantic import SecretStr
from pydicom import config

from hermes_common.changes import Changes
from hermes_dispatcher.adapters.memory_limit import limit_memory
from hermes_dispatcher.core.changing.change import change
from hermes_dispatcher.core.changing.errors import UnchangeableError
from hermes_dispatcher.core.changing.order import Order


def _order(given: dict[str, Any]) -> Order:
    changes = None
    if given["changes"] is not None:
        changes = Changes.model_validate({**given["changes"], "key": SecretStr(given["key"])})
    return Order(given["syntax"], changes, given["to"], given["ratio"], given["most"])


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    while line := source.readline():
        given = json.loads(line)
        data = source.read(given["octets"])
        answer, body = _answer(given, data)
        sink.write(json.dumps({**answer, "octets": len(body)}).encode() + b"\n")
        sink.write(body)
        sink.flush()


def _answer(given: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        found = change(data, _order(given), compare=given["compare"])
    except UnchangeableError as error:
        return {"ok": False, "reason": str(error)}, b""
    except MemoryError:
        return {"ok": False, "reason": f"changing it takes more than the {given['most']} octets that are allowed"}, b""
    names = ("syntax", "sop_class_uid", "sop_instance_uid", "series_uid", "study_uid", "changed", "same")
    answer: dict[str, Any] = {"ok": True, **{name: getattr(found, name) for name in names}}
    answer["differences"] = [item.model_dump() for item in found.differences]
    return answer, b"" if given["compare"] else found.data


def main() -> None:
    """Serve until nobody asks any more."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the service, which ends this process when it is done
    warnings.simplefilter("ignore")
    logging.disable()  # what a library logs may quote a value of a patient
    config.settings.reading_validation_mode = config.IGNORE  # what we write is checked where we write it
    config.settings.writing_validation_mode = config.IGNORE
    limit_memory(int(sys.argv[1]))
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with suppress(BrokenPipeError):
        _serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()

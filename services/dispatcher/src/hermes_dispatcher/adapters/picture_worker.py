"""The process that makes small pictures: instances on standard input, pictures on standard output, one at a time.

A process of its own, and not one of those that change what is sent: what a picture does to its decoder holds up no
delivery. Each message is a line of JSON and as many octets as its ``octets`` says.
"""

import json
import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import Any, BinaryIO

from pydicom import config

from hermes_common.thumbnails import NoPicture
from hermes_dispatcher.adapters.memory_limit import limit_memory
from hermes_dispatcher.core.picturing.errors import NoPictureError
from hermes_dispatcher.core.picturing.picture import picture


def _serve(source: BinaryIO, sink: BinaryIO, most: int) -> None:
    while line := source.readline():
        given = json.loads(line)
        answer, body = _answer(source.read(given["octets"]), given["syntax"], most)
        sink.write(json.dumps({**answer, "octets": len(body)}).encode() + b"\n")
        sink.write(body)
        sink.flush()


def _answer(data: bytes, syntax: str, most: int) -> tuple[dict[str, Any], bytes]:
    try:
        found = picture(data, syntax, most)
    except NoPictureError as error:
        return {"why_not": error.why, "reason": str(error)}, b""
    except MemoryError:
        reason = f"a picture of it takes more than the {most} octets of memory that are allowed"
        return {"why_not": NoPicture.TOO_LARGE, "reason": reason}, b""
    return {"frame": found.frame, "frames": found.frames}, found.png


def main() -> None:
    """Serve until nobody asks any more."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the service, which ends this process when it is done
    with suppress(OSError):
        os.nice(10)  # deliveries come first
    warnings.simplefilter("ignore")
    logging.disable()  # what a library logs may quote a value of a patient
    config.settings.reading_validation_mode = config.IGNORE
    most = int(sys.argv[1])
    limit_memory(most)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with suppress(BrokenPipeError):
        _serve(sys.stdin.buffer, sink, most)


if __name__ == "__main__":
    main()

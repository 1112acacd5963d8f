"""Errors of the outside world that pass by themselves.

TransientError            try again later; nothing is wrong with what was asked
├── BusUnavailableError   the bus is away, slow or full
└── (StoreUnavailable of the object store; see runtime.objectstore.errors)
ConflictError             somebody else changed the record first: load it again
MessageTooLargeError      larger than the bus takes: trying again is of no use
BusLostError              the connection was closed for good: the service has to start again
UnusableSettingsError     the environment asks for what cannot be: starting again is of no use
"""

import traceback
from pathlib import PurePath


def without_words(error: BaseException) -> str:
    """Return what kind of error it is and where it was raised; its own words may quote a value of a patient."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    return f"{type(error).__name__} in {PurePath(frames[-1].filename).name}, line {frames[-1].lineno}"


def steps_to(error: BaseException) -> str:
    """Return the traceback of an error for a log, without its words."""
    return "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__


class TransientError(Exception):
    """Something outside is away; the same request may succeed later."""


class BusUnavailableError(TransientError):
    """The bus did not take or answer a request in time."""


class ConflictError(Exception):
    """A record was changed by somebody else since it was loaded."""


class MessageTooLargeError(ValueError):
    """A message is larger than the bus takes (``max_payload`` of the server)."""


class BusLostError(Exception):
    """The server closed the connection for good, and the client does not connect again by itself."""


class UnusableSettingsError(Exception):
    """The environment asks for what cannot be; the message names the variable and says what to do."""

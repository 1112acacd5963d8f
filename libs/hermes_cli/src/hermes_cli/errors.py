"""What the command line says instead of a traceback: what is wrong, and what to do about it.

CliError                 exit code 1
├── UsageError           exit code 2: the command line itself cannot be meant
└── ApiError             the router answered with a problem (RFC 9457), or did not answer
    ├── UnreachableError     no connection, no answer in time, or something that is no Hermes
    └── ChangedMeanwhileError    412: somebody else saved the document first
"""


class CliError(Exception):
    """An expected failure; ``str()`` is for the person at the terminal."""

    exit_code = 1


class UsageError(CliError):
    """The command line cannot be meant."""

    exit_code = 2


class ApiError(CliError):
    """The router refused; ``status`` is the HTTP status, 0 when there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(ApiError):
    """The router did not answer."""


class ChangedMeanwhileError(ApiError):
    """The document has a newer revision than the one that was changed."""

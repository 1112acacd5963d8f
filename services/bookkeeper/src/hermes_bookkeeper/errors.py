"""Errors of the bookkeeper.

TransientError (hermes_common.runtime.errors)
└── DatabaseUnavailableError   PostgreSQL is away, full, locked or not set up: the same will succeed later
    └── InUseError             somebody reads a table that has to be had alone for a moment
RefusedError                   PostgreSQL will never take what it was given
"""

from hermes_common.runtime.errors import TransientError


class DatabaseUnavailableError(TransientError):
    """The database did not take or answer a request, for a reason that passes or that a person has to mend."""


class InUseError(DatabaseUnavailableError):
    """A table has to be had alone for a moment, and somebody reads it for longer than we make others wait."""


class RefusedError(Exception):
    """The database refused the values themselves: they break a type, a limit or a constraint."""

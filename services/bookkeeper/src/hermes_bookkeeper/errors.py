"""Errors of the bookkeeper.

TransientError (hermes_common.runtime.errors)
└── DatabaseUnavailableError   PostgreSQL is away, full, locked or not set up: the same will succeed later
RefusedError                   PostgreSQL will never take what it was given
"""

from hermes_common.runtime.errors import TransientError


class DatabaseUnavailableError(TransientError):
    """The database did not take or answer a request, for a reason that passes or that a person has to mend."""


class RefusedError(Exception):
    """The database refused the values themselves: they break a type, a limit or a constraint."""

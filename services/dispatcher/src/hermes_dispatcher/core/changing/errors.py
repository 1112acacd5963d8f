"""Why a data set cannot be changed as its target asks."""


class UnchangeableError(Exception):
    """It is not sent; the message says why, and what would have to be different."""

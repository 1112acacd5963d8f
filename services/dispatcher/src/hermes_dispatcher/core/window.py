"""How far a sending thread may run ahead of what is durable: what a crash costs at most is sending that again."""

from typing import Final

LEAST: Final = 16
MOST: Final = 64
ROOM: Final = 256 * 1024
"""Octets that make a window larger than the least: small instances come faster than they can be made durable."""


def window(instances: int, octets: int) -> int:
    """Return how many instances with an answer may be ahead, in a delivery of so many instances and octets."""
    if octets <= 0:
        return LEAST
    return min(max(ROOM * instances // octets, LEAST), MOST)

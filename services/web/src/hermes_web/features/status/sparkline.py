"""Numbers of the last hours as a row of bars: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 120.0, 30.0
_GAP = 1.0
_LOWEST = 1.0


@dataclass(frozen=True, slots=True)
class Stroke:
    """One bar, and the number that it stands for."""

    x: float
    y: float
    width: float
    height: float
    number: int


def strokes(numbers: Sequence[int]) -> list[Stroke]:
    """Return bars of even width, the largest number as high as the drawing; nothing is a line on the ground."""
    most = max(numbers, default=0)
    step = WIDTH / max(len(numbers), 1)
    found = []
    for index, number in enumerate(numbers):
        height = _LOWEST if number == 0 else max(number / most * HEIGHT, 2.5)
        place = round(index * step, 2)
        found.append(Stroke(place, round(HEIGHT - height, 2), round(step - _GAP, 2), round(height, 2), number))
    return found

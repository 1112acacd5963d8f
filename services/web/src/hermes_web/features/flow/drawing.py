"""The ways as ribbons between three columns: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from hermes_web.features.flow.queries import Way, Ways

WIDTH, HEIGHT = 1000.0, 380.0
COLUMNS = (190.0, 490.0, 800.0)
"""Where the boxes of sources, rules and targets begin."""
BOX = 12.0
_GAP = 16.0
_THINNEST = 2.0


@dataclass(frozen=True, slots=True)
class Box:
    """One source, rule or target; ``kind`` is source, rule, outcome or target."""

    name: str
    kind: str
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Ribbon:
    """A way as an area; ``path`` is that of an SVG."""

    way: Way
    path: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of it, and how high it is."""

    boxes: tuple[Box, ...]
    ribbons: tuple[Ribbon, ...]
    height: float


def draw(ways: Ways) -> Drawing | None:
    """Return the drawing, the busiest on top; None if nothing went anywhere."""
    if not ways.into_rules and not ways.into_targets:
        return None
    sources = _sums(ways.into_rules, "start")
    middle = _larger(_sums(ways.into_rules, "end"), _sums(ways.into_targets, "start"))
    targets = _sums(ways.into_targets, "end")
    columns = (sources, middle, targets)
    most = max(sum(column.values()) for column in columns)
    scale = HEIGHT / max(most, 1)
    boxes: dict[tuple[int, str], Box] = {}
    height = 0.0
    for number, column in enumerate(columns):
        y = 24.0
        for name, series in sorted(column.items(), key=lambda item: (-item[1], item[0])):
            kind = ("source", "rule" if name.startswith("rule:") else "outcome", "target")[number]
            box = Box(name.removeprefix("rule:"), kind, COLUMNS[number], round(y, 1), max(series * scale, 6.0))
            boxes[number, name] = box
            y += box.height + _GAP
        height = max(height, y)
    ribbons = [*_ribbons(ways.into_rules, boxes, 0, scale), *_ribbons(ways.into_targets, boxes, 1, scale)]
    return Drawing(tuple(boxes.values()), tuple(ribbons), round(height, 1))


def _sums(ways: Sequence[Way], side: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for way in ways:
        name = getattr(way, side)
        found[name] = found.get(name, 0) + way.series
    return found


def _larger(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def _ribbons(ways: Sequence[Way], boxes: dict[tuple[int, str], Box], column: int, scale: float) -> list[Ribbon]:
    leaving: dict[str, float] = {}
    arriving: dict[str, float] = {}
    found = []
    for way in sorted(ways, key=lambda item: (boxes[column, item.start].y, boxes[column + 1, item.end].y, item.tone)):
        start, end = boxes[column, way.start], boxes[column + 1, way.end]
        wide = max(way.series * scale, _THINNEST)
        y0 = start.y + leaving.get(way.start, 0.0)
        y1 = end.y + arriving.get(way.end, 0.0)
        leaving[way.start] = leaving.get(way.start, 0.0) + way.series * scale
        arriving[way.end] = arriving.get(way.end, 0.0) + way.series * scale
        x0, x1 = start.x + BOX, end.x
        middle = (x0 + x1) / 2
        path = (
            f"M{x0:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
            f"V{y1 + wide:.1f}C{middle:.1f} {y1 + wide:.1f} {middle:.1f} {y0 + wide:.1f} {x0:.1f} {y0 + wide:.1f}Z"
        )
        found.append(Ribbon(way, path))
    return found

"""The ways as ribbons between three columns: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from hermes_web.features.flow.queries import Way, Ways

BOX = 12.0
_THINNEST = 2.0


@dataclass(frozen=True, slots=True)
class Layout:
    """The measures of a drawing, in units of its view box."""

    width: float
    height: float
    """Of the boxes of the busiest column, together."""
    columns: tuple[float, float, float]
    """Where the boxes of sources, rules and targets begin."""
    top: float
    gap: float
    """Between two boxes of a column."""
    above: bool
    """Whether a name stands above its box, else beside it."""
    letters: tuple[int, int, int]
    """How many letters of a name fit, by column."""


WIDE = Layout(1000.0, 380.0, (190.0, 490.0, 800.0), 24.0, 16.0, above=False, letters=(21, 28, 21))
NARROW = Layout(340.0, 300.0, (0.0, 164.0, 328.0), 44.0, 26.0, above=True, letters=(15, 16, 15))
"""For a telephone: the names above their boxes, so that the three columns fit beside each other."""


@dataclass(frozen=True, slots=True)
class Box:
    """One source, rule or target; ``kind`` is source, rule, outcome or target."""

    name: str
    kind: str
    x: float
    y: float
    height: float
    text_x: float
    text_y: float
    anchor: str
    """Which point of the text stands there: start, middle or end."""
    letters: int
    """How many letters of the name fit."""


@dataclass(frozen=True, slots=True)
class Ribbon:
    """A way as an area; ``path`` is that of an SVG."""

    way: Way
    path: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of it, and how high it is."""

    layout: Layout
    boxes: tuple[Box, ...]
    ribbons: tuple[Ribbon, ...]
    height: float


def draw(ways: Ways, layout: Layout = WIDE) -> Drawing | None:
    """Return the drawing, the busiest on top; None if nothing went anywhere."""
    if not ways.into_rules and not ways.into_targets:
        return None
    sources = _sums(ways.into_rules, "start")
    middle = _larger(_sums(ways.into_rules, "end"), _sums(ways.into_targets, "start"))
    targets = _sums(ways.into_targets, "end")
    columns = (sources, middle, targets)
    most = max(sum(column.values()) for column in columns)
    scale = layout.height / max(most, 1)
    boxes: dict[tuple[int, str], Box] = {}
    height = 0.0
    for number, column in enumerate(columns):
        y = layout.top
        for name, series in sorted(column.items(), key=lambda item: (-item[1], item[0])):
            kind = ("source", "rule" if name.startswith("rule:") else "outcome", "target")[number]
            box = _box(layout, number, name.removeprefix("rule:"), kind, round(y, 1), max(series * scale, 6.0))
            boxes[number, name] = box
            y += box.height + layout.gap
        height = max(height, y)
    ribbons = [*_ribbons(ways.into_rules, boxes, 0, scale), *_ribbons(ways.into_targets, boxes, 1, scale)]
    return Drawing(layout, tuple(boxes.values()), tuple(ribbons), round(height, 1))


def _box(layout: Layout, column: int, name: str, kind: str, y: float, height: float) -> Box:
    """Return a box, and where its name stands: above it, or beside it in the middle of its height."""
    x = layout.columns[column]
    if layout.above:
        text_x, text_y, anchor = (
            (x, x + BOX / 2, x + BOX)[column],
            y - 6.0,
            ("start", "middle", "end")[column],
        )
    else:
        text_x, text_y, anchor = (
            x - 8.0 if column == 0 else x + BOX + 8.0,
            y + max(height / 2 + 5.0, 12.0),
            "end" if column == 0 else "start",
        )
    return Box(name, kind, x, y, height, text_x, round(text_y, 1), anchor, layout.letters[column])


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

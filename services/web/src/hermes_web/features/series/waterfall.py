"""The way of one series as a drawing: a lane for each batch, decision and delivery, over one scale of time. Pure.

Nothing of what was done is shortened; long waits are, because a delivery that is tried again after six hours would
otherwise leave no room for anything else. The drawing says where.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from hermes_web.core.words import count, label, span
from hermes_web.features.series.views import SeriesDetail

WIDTH = 1000.0
_THINNEST = 5.0
_TICKS = 5
_LONG = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a lane: something that was done, or a wait."""

    start: datetime
    end: datetime
    tone: str
    title: str
    link: str = ""
    is_wait: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """One row: what it is about, and its parts in the order of time."""

    name: str
    detail: str
    state: str
    link: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A segment on the drawing, from ``x`` over ``width``."""

    segment: Segment
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Row:
    """A lane on the drawing; ``lasted`` is from its first to its last instant."""

    lane: Lane
    boxes: tuple[Box, ...]
    lasted: timedelta


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of it. ``ticks`` are offsets from the start at even distances, ``breaks`` where a wait was shortened."""

    rows: tuple[Row, ...]
    ticks: tuple[timedelta, ...]
    breaks: tuple[float, ...]


def draw(detail: SeriesDetail, now: datetime) -> Drawing | None:
    """Return the drawing of a series; what is under way goes on until ``now``."""
    lanes = [*_batches(detail), *_decisions(detail), *_deliveries(detail, now)]
    segments = [segment for lane in lanes for segment in lane.segments]
    if not segments:
        return None
    scale = Scale(segments)
    rows = tuple(_row(lane, scale) for lane in lanes if lane.segments)
    ticks = tuple(scale.offset(WIDTH * step / (_TICKS - 1)) for step in range(_TICKS))
    return Drawing(rows, ticks, scale.breaks)


def _row(lane: Lane, scale: "Scale") -> Row:
    boxes = []
    for segment in lane.segments:
        x, end = scale.x(segment.start), scale.x(segment.end)
        thinnest = 1.0 if segment.is_wait else _THINNEST
        x = min(x, WIDTH - thinnest)
        boxes.append(Box(segment, round(x, 1), round(max(end - x, thinnest), 1)))
    waits_first = sorted(boxes, key=lambda box: not box.segment.is_wait)
    return Row(lane, tuple(waits_first), lane.segments[-1].end - lane.segments[0].start)


class Scale:
    """Instants on a line of :data:`WIDTH` units, with long waits of everybody shortened."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        edges = sorted({edge for segment in segments for edge in (segment.start, segment.end)})
        work = [segment for segment in segments if not segment.is_wait]
        pieces = _pieces(edges, work)
        busy = sum((end - start for start, end, idle in pieces if not idle), timedelta())
        longest = max(busy / 2, timedelta(seconds=5))
        self._starts: list[datetime] = []
        self._places: list[tuple[float, float]] = []
        lengths = []
        for start, end, idle in pieces:
            length = end - start
            is_cut = idle and length > _LONG and length > busy * 4
            self._starts.append(start)
            lengths.append((longest if is_cut else length, length, is_cut))
        whole = sum((shown for shown, _, _ in lengths), timedelta()).total_seconds() or 1.0
        at, breaks = 0.0, []
        for shown, length, is_cut in lengths:
            width = shown.total_seconds() / whole * WIDTH
            self._places.append((at, width / (length.total_seconds() or 1.0)))
            if is_cut:
                breaks.append(round(at + width / 2, 1))
            at += width
        self._first = edges[0]
        self.breaks = tuple(breaks)

    def x(self, at: datetime) -> float:
        """Return where an instant is."""
        if not self._starts:
            return 0.0
        index = max(bisect_right(self._starts, at) - 1, 0)
        place, pace = self._places[index]
        return place + (at - self._starts[index]).total_seconds() * pace

    def offset(self, x: float) -> timedelta:
        """Return how long after the start a place on the line is."""
        if not self._starts:
            return timedelta()
        index = max(bisect_right([place for place, _ in self._places], x) - 1, 0)
        place, pace = self._places[index]
        inside = timedelta(seconds=(x - place) / pace) if pace else timedelta()
        return self._starts[index] - self._first + inside


def _pieces(edges: Sequence[datetime], work: Sequence[Segment]) -> list[tuple[datetime, datetime, bool]]:
    """Return the time between edges, and whether nothing was done in it; neighbours of one kind are one piece."""
    found: list[tuple[datetime, datetime, bool]] = []
    for start, end in pairwise(edges):
        idle = not any(segment.start < end and segment.end > start for segment in work)
        if found and found[-1][2] is idle:
            found[-1] = (found[-1][0], end, idle)
        else:
            found.append((start, end, idle))
    return found


def _batches(detail: SeriesDetail) -> list[Lane]:
    if not detail.batch_list:
        title = f"{count(detail.instances, 'instance')} received so far"
        part = Segment(detail.first_received_at, detail.last_received_at, "busy", title)
        return [Lane("Received", f"{count(detail.instances, 'instance')} so far", "receiving", "", (part,))]
    lanes = []
    for batch in detail.batch_list:
        came = batch.last_received_at - batch.first_received_at
        quiet = batch.completed_at - batch.last_received_at
        parts = (
            Segment(batch.first_received_at, batch.last_received_at, "good", f"received in {span(came)}"),
            Segment(
                batch.last_received_at, batch.completed_at, "quiet", f"{span(quiet)} until it was quiet", is_wait=True
            ),
        )
        name = "Received" if len(detail.batch_list) == 1 else f"Received, batch {batch.batch}"
        waited = f": {batch.waited}" if batch.waited else ""
        about = f"{count(batch.instances, 'instance')}, then quiet{waited}"
        lanes.append(Lane(name, about, "", "#instances", parts))
    return lanes


def _decisions(detail: SeriesDetail) -> list[Lane]:
    tones = {"routed": "good", "unmatched": "warn", "discarded": "quiet", "deferred": "busy"}
    lanes = []
    for decision in detail.decisions:
        by = f"by {decision.actor}" if decision.actor else f"rules, revision {decision.revision}"
        title = f"{label(decision.outcome)} {by}"
        part = Segment(
            decision.decided_at, decision.decided_at, tones.get(decision.outcome, "quiet"), title, "#decisions"
        )
        lanes.append(Lane("Decided", by, decision.outcome, "#decisions", (part,)))
    return lanes


def _deliveries(detail: SeriesDetail, now: datetime) -> list[Lane]:
    tones = {"succeeded": "good", "failed": "bad", "retrying": "warn"}
    lanes = []
    for delivery in detail.deliveries:
        link = f"/deliveries/{delivery.delivery_id}"
        ended = delivery.ended_at or max(now, delivery.updated_at)
        parts: list[Segment] = []
        at = delivery.queued_at
        for attempt in detail.attempts:
            if attempt.delivery_id != delivery.delivery_id or attempt.started_at is None:
                continue
            stop = attempt.ended_at or ended
            if attempt.started_at > at:
                waited = f"waited {span(attempt.started_at - at)}"
                parts.append(Segment(at, attempt.started_at, "quiet", waited, is_wait=True))
            at_which = f" at {attempt.endpoint}" if attempt.endpoint else ""
            took = span(stop - attempt.started_at)
            said = f"attempt {attempt.attempt}{at_which}, {took}: {label(attempt.result or 'sending')}"
            title = f"{said}. {attempt.reason}" if attempt.reason else said
            tone = tones.get(attempt.result, "quiet") if attempt.result else "busy"
            parts.append(Segment(attempt.started_at, max(stop, attempt.started_at), tone, title[:300], link))
            at = max(stop, attempt.started_at)
        if delivery.state in {"queued", "retrying", "held"} and ended > at:
            parts.append(Segment(at, ended, "quiet", f"waits since {span(ended - at)}", is_wait=True))
        tried = count(delivery.attempt, "attempt") if delivery.attempt else "no attempt yet"
        lanes.append(Lane(f"To {delivery.target}", tried, delivery.state, link, tuple(parts)))
    return lanes

"""Sets of positions as a short text: ``0-499,502`` says which instances of a manifest a target has."""

from collections.abc import Iterable, Iterator, Set


def format_ranges(positions: Iterable[int]) -> str:
    """Return the text of a set of positions (integers from 0)."""
    runs: list[list[int]] = []
    for position in sorted(set(positions)):
        if runs and position == runs[-1][1] + 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_ranges(text: str) -> set[int]:
    """Return the positions that :func:`format_ranges` wrote; raise ``ValueError`` on anything else."""
    positions: set[int] = set()
    for run in text.split(",") if text else []:
        first, _, last = run.partition("-")
        positions.update(range(int(first), int(last or first) + 1))
    return positions


class Positions(Set[int]):
    """A set of positions that grows, its text at hand: what comes in order costs the same however many there are."""

    def __init__(self, text: str = "") -> None:
        """Take what :func:`format_ranges` wrote."""
        self._positions = parse_ranges(text)
        self._head = ""
        self._last: tuple[int, int] | None = None
        self._sort()

    def add(self, position: int) -> None:
        """Add a position; one that is there stays."""
        if position in self._positions:
            return
        self._positions.add(position)
        if self._last is None or position != self._last[1] + 1:
            self._sort()
        else:
            self._last = (self._last[0], position)

    def text(self) -> str:
        """Return them as :func:`format_ranges` does."""
        if self._last is None:
            return ""
        first, last = self._last
        return self._head + (str(first) if first == last else f"{first}-{last}")

    def _sort(self) -> None:
        head, comma, tail = format_ranges(self._positions).rpartition(",")
        first, _, last = tail.partition("-")
        self._head = head + comma
        self._last = (int(first), int(last or first)) if tail else None

    def __contains__(self, position: object) -> bool:
        return position in self._positions

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

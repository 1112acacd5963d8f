"""Sets of positions as a short text: ``0-499,502`` says which instances of a manifest a target has."""

from collections.abc import Iterable


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

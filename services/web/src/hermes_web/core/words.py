"""Values as people read them: sizes, times, spans, statuses."""

from datetime import UTC, datetime, timedelta

from hermes_common.dicom.status import meaning_of

NOTHING = "\u2013"
"""What is shown where there is nothing."""
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
GOOD, BUSY, WARN, BAD, QUIET = "good", "busy", "warn", "bad", "quiet"
_TONES = {
    GOOD: "delivered succeeded complete started active enabled true match routed saved ok ready closed fired admin up",
    BUSY: "receiving completed sending queued opened urgent viewer session running open deferred",
    WARN: "retrying unmatched partly_failed unknown warning dry_run paused held_back would_fire missing aborted token",
    BAD: "held failed crashed critical error rejected denied unreachable down",
}
_BY_WORD = {word: tone for tone, words in _TONES.items() for word in words.split()}


def tone(state: str) -> str:
    """Return the tone in which a state is shown, always beside its word."""
    return _BY_WORD.get(state, QUIET)


def size(octets: int | None) -> str:
    """Return a size with three significant digits, in powers of 1000."""
    if octets is None:
        return NOTHING
    value, unit = float(octets), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{octets} B" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"


def utc(time: datetime | None) -> str:
    """Return an instant in UTC, to the second; one beyond the calendar as it was written."""
    if time is None:
        return NOTHING
    try:
        return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return time.isoformat(" ", "seconds")


def span(value: timedelta | float | None) -> str:
    """Return a span of time with its two largest units."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < 0:
        return "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    for unit, length, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def ago(time: datetime | None, now: datetime) -> str:
    """Return how long ago an instant was."""
    if time is None:
        return "never"
    return f"{span(now - time)} ago" if now >= time else f"in {span(time - now)}"


def label(word: str) -> str:
    """Return a state or a name as words."""
    return word.replace("_", " ")


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its word."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def dimse(status: int | None) -> str:
    """Return a DIMSE status in hexadecimal."""
    return NOTHING if status is None else f"0x{status:04X}"


def meaning(status: int | None) -> str:
    """Return a DIMSE status in words (PS3.4 B.2.3)."""
    return "" if status is None else meaning_of(status).words


def clip(text: str, most: int = 160) -> str:
    """Return a text of a stranger no longer than ``most`` characters; the rest is an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"

"""The last messages of this process for the diagnostics bundle: what was said, without the values that were put in."""

import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

KEPT: Final = 500
_OURS: Final = "hermes_"


@dataclass(frozen=True, slots=True)
class Line:
    """A message: ``text`` is the sentence of the program, in which every value is still a place holder."""

    at: datetime
    level: str
    logger: str
    text: str
    error: str


class RecentLog(logging.Handler):
    """Keeps the last messages of our own modules."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[Line] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        if record.name.startswith(_OURS) and isinstance(record.msg, str):
            kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
            at = datetime.fromtimestamp(record.created, UTC)
            error = "" if kind is None else kind.__name__
            self._lines.append(Line(at, record.levelname, record.name, record.msg[:500], error))

    def lines(self) -> list[str]:
        """Return the messages, the oldest first."""
        return [
            f"{line.at:%Y-%m-%dT%H:%M:%SZ} {line.level} {line.logger}: {line.text} {line.error}".rstrip()
            for line in list(self._lines)
        ]

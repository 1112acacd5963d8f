"""Series as a file: CSV (RFC 4180) that a spreadsheet may open, or Parquet; a page of rows in memory at a time."""

import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from hermes_common.events import ExportMade
from hermes_common.runtime.clock import now
from hermes_web.adapters.outbox import put
from hermes_web.core.columns import NUMBERS, Columns
from hermes_web.core.search import Search
from hermes_web.core.spreadsheet import csv_lines
from hermes_web.errors import InvalidError
from hermes_web.features.series.queries import export_rows
from hermes_web.web import Web

Format = Literal["csv", "parquet"]
Row = Mapping[str, Any]

PAGE = 1000
"""Rows read at a time, each page in a transaction of its own: a slow reader holds no connection."""
MOST = 2_000_000
"""Rows of one export; a narrower search is for more."""
MEDIA = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


class Writer(Protocol):
    """Turns rows into the bytes of a file."""

    def begin(self) -> bytes:
        """Return what the file begins with."""
        ...

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return what rows add to it."""
        ...

    def end(self) -> bytes:
        """Return what it ends with."""
        ...


async def export(
    web: Web, search: Search, columns: Columns, kind: Format, asked: ExportMade
) -> tuple[AsyncIterator[bytes], dict[str, str]]:
    """Return the bytes of a file with the series that fit a search, and its headers. That it was asked for is audited.

    Series that are received while it is written may be missing from it. Raises :class:`InvalidError` where Parquet
    cannot be written.
    """
    writer = WRITERS[kind](columns)
    await web.database.run(put, asked)
    web.outbox.nudge()
    name = f"series-{now():%Y%m%d-%H%M%S}.{kind}"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return _pages(web, search, columns, writer), headers


async def _pages(web: Web, search: Search, columns: Columns, writer: Writer) -> AsyncIterator[bytes]:
    after, left = None, MOST
    yield writer.begin()
    while left > 0:
        rows, after = await web.database.run(export_rows, search, columns, min(PAGE, left), after)
        if rows and (part := writer.rows(rows)):
            yield part
        left -= len(rows)
        if after is None:
            break
    yield writer.end()


class CsvWriter:
    """Text with commas; several values of one attribute with a backslash between them."""

    def __init__(self, columns: Columns) -> None:
        self._names = columns.names

    def begin(self) -> bytes:
        """Return the line of names."""
        return csv_lines([self._names])

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a line a row."""
        return csv_lines([[row[name] for name in self._names] for row in rows])

    def end(self) -> bytes:
        """Nothing."""
        return b""


class ParquetWriter:
    """Typed columns: numbers, instants in UTC, text, and lists of text for attributes. A row group a page."""

    def __init__(self, columns: Columns) -> None:
        if find_spec("pyarrow") is None:
            raise InvalidError(
                "Parquet cannot be written here",
                "Install the web service with it: hermes-web[parquet]. CSV needs nothing.",
            )
        import pyarrow  # an optional extra, and slow to import
        import pyarrow.parquet

        types = {name: pyarrow.list_(pyarrow.string()) for name in columns.tags}
        types |= {name: pyarrow.int64() for name in NUMBERS}
        at = pyarrow.timestamp("us", tz="UTC")
        fields = [(name, types.get(name, at if name.endswith("_at") else pyarrow.string())) for name in columns.names]
        self._schema = pyarrow.schema(fields)
        self._sink = io.BytesIO()
        self._writer = pyarrow.parquet.ParquetWriter(pyarrow.PythonFile(_Sink(self._sink), mode="w"), self._schema)
        self._batch = pyarrow.RecordBatch.from_pylist

    def begin(self) -> bytes:
        """Return the magic bytes."""
        return self._taken()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a row group."""
        self._writer.write_batch(self._batch([dict(row) for row in rows], schema=self._schema))
        return self._taken()

    def end(self) -> bytes:
        """Return the footer."""
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        written = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return written


class _Sink:
    """A file that is only ever appended to, and knows how much it has been given though that is taken away."""

    closed = False

    def __init__(self, sink: io.BytesIO) -> None:
        self._sink = sink
        self._position = 0

    def write(self, part: bytes) -> int:
        """Take some bytes."""
        self._position += len(part)
        return self._sink.write(part)

    def tell(self) -> int:
        """Return how many have been taken."""
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was taken stays readable."""


WRITERS: dict[Format, Callable[[Columns], Writer]] = {"csv": CsvWriter, "parquet": ParquetWriter}

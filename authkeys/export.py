"""The audit log as CSV that no spreadsheet takes for a program."""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.http import StreamingHttpResponse

from authkeys.chain import COLUMNS
from authkeys.models import AuthLog

HEADER = ("id", *COLUMNS, "hash")
# With these a spreadsheet begins a formula; behind an apostrophe it shows them.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Line:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def as_cell(value: Any) -> str:
    """A value as a spreadsheet is to show it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_lines(rows: Iterable[AuthLog]) -> Iterator[str]:
    """The header, then a line for each row."""
    writer = csv.writer(Line())
    yield writer.writerow(HEADER)
    for row in rows:
        yield writer.writerow([as_cell(getattr(row, name)) for name in HEADER])


def csv_answer(rows: Any) -> StreamingHttpResponse:
    """The rows as a file, which is made while it is sent."""
    return StreamingHttpResponse(
        csv_lines(rows.iterator(chunk_size=2000)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="audit.csv"', "Cache-Control": "no-store"},
    )

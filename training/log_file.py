"""A session's whole log as text."""

from collections.abc import Iterator
from datetime import UTC, datetime

from django.http import StreamingHttpResponse

from training.models import TrainingSession

BLOCK = 1000
INDENT = "    "


def as_text(line: int, timestamp: datetime, level: str, message: str) -> str:
    """An entry; what follows its first line is indented, so that at the margin every line is an entry."""
    at = timestamp.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"{line} {at} {level} {message}".replace("\n", f"\n{INDENT}") + "\n"


def log_text(session: TrainingSession) -> Iterator[str]:
    """All entries that there are now, some at a time: nobody waits for the end of a log that grows."""
    entries = session.log_entries.filter(line__lt=session.next_line()).order_by("line")
    rows = entries.values_list("line", "timestamp", "level", "message")
    line = 0
    while block := list(rows.filter(line__gt=line)[:BLOCK]):
        yield "".join(as_text(*row) for row in block)
        line = block[-1][0]


def log_answer(session: TrainingSession) -> StreamingHttpResponse:
    """The log as a file, which is made while it is sent."""
    return StreamingHttpResponse(
        log_text(session),
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{session.session_id}.log"'},
    )

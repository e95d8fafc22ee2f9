"""Reading the step series of a session: never more points than were asked for, and no extreme lost among them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Min

from training.models import SeriesPoint, TrainingSession

DEFAULT_POINTS = 1000
# Fewer would have no room for the first and the last, the lowest and the highest, and a gap.
FEWEST_POINTS = 10
MOST_POINTS = 10_000

# Of each bucket of steps the lowest point, the highest, and one null if it holds any, so that a gap is seen; beside
# them the first and the last of all. The join walks each bucket's part of the index, where window functions would sort
# all points. Division of whole numbers is whole here, on SQLite and on PostgreSQL.
CHOOSE_POINTS = """
    WITH buckets AS (
        SELECT (step - %(first)s) / %(width)s AS number, MIN(value) AS lowest, MAX(value) AS highest,
            MIN(CASE WHEN value IS NULL THEN step END) AS gap
        FROM points
        WHERE session_id = %(session)s AND name = %(name)s AND step BETWEEN %(first)s AND %(last)s
        GROUP BY 1
    )
    SELECT MIN(points.step), points.value, MIN(points.timestamp)
    FROM buckets JOIN points ON points.session_id = %(session)s AND points.name = %(name)s
        AND points.step BETWEEN %(first)s + buckets.number * %(width)s
        AND %(first)s + buckets.number * %(width)s + (%(width)s - 1)
    WHERE points.value = buckets.lowest OR points.value = buckets.highest OR points.step = buckets.gap
        OR points.step IN (%(first)s, %(last)s)
    GROUP BY buckets.number, points.value, points.step = %(last)s
    ORDER BY 1
"""


Point = tuple[int, float | None, datetime]  # its step, its value, when it was measured


@dataclass(frozen=True)
class Series:
    """One series: how many points there are, and those chosen to show it. Nulls stand where a value was not finite."""

    name: str
    count: int = 0
    steps: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    timestamps: list[datetime] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As an answer has it. The lowest and the highest of all points are among the chosen ones."""
        finite = [value for value in self.values if value is not None]
        return {
            "name": self.name,
            "count": self.count,
            "minimum": min(finite, default=None),
            "maximum": max(finite, default=None),
            "steps": self.steps,
            "values": self.values,
            "timestamps": self.timestamps,
        }


def read_series(
    session: TrainingSession, names: Sequence[str] | None = None, points: int = DEFAULT_POINTS, after: int | None = None
) -> list[Series]:
    """The session's series behind the step `after`, by these names or all by name, each with at most `points` points.

    A name that has no points comes back empty: they may be on their way.
    """
    rows = SeriesPoint.objects.filter(session=session)
    if names is not None:
        rows = rows.filter(name__in=names)
    if after is not None:
        rows = rows.filter(step__gt=after)
    # Of the index alone, which is a fraction of what reading the values costs.
    figures = rows.order_by("name").values_list("name").annotate(Count("pk"), Min("step"), Max("step"))
    found: dict[str, Series] = {}
    for name, count, first, last in figures:
        if count <= points:
            shown = rows.filter(name=name, step__lte=last).order_by("step")
            chosen = list(shown.values_list("step", "value", "timestamp"))
        else:
            chosen = _choose(session, name, first, last, (points - 2) // 2)
            if len(chosen) > points:  # nulls take a third place in their buckets
                chosen = _choose(session, name, first, last, (points - 2) // 3)
        steps, values, timestamps = (list(column) for column in zip(*chosen, strict=True))
        found[name] = Series(name, count, steps, values, timestamps)
    return [found.get(name) or Series(name) for name in (found if names is None else dict.fromkeys(names))]


def _choose(session: TrainingSession, name: str, first: int, last: int, buckets: int) -> list[Point]:
    width = -(-(last - first + 1) // buckets)
    parameters: dict[str, int | str] = {
        "session": session.pk,
        "name": name,
        "first": first,
        "last": last,
        "width": width,
    }
    with connection.cursor() as cursor:
        cursor.execute(CHOOSE_POINTS, parameters)
        return [(step, value, _moment(timestamp)) for step, value, timestamp in cursor.fetchall()]


def _moment(timestamp: datetime | str) -> datetime:
    """A time as the database tells it to whoever asks in SQL: SQLite knows it as a text, in UTC."""
    return timestamp if isinstance(timestamp, datetime) else datetime.fromisoformat(timestamp).replace(tzinfo=UTC)

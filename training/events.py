"""What has happened, as events: each kind of them is the rows of one table, told in the order in which they came.

Rows come in the order of their ids, because one transaction writes at a time; so a position in each table says all that
somebody was told, and what lies behind it is what he was not.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Self

from django.db import connection
from django.db.models import F, QuerySet
from rest_framework.utils.encoders import JSONEncoder

from monitoring.models import Sample
from monitoring.serializers import SystemInfoSerializer
from training.models import LogEntry, Metric, SeriesPoint, Transition
from training.serializers import LogEntrySerializer, MetricSerializer, TransitionSerializer

# So many rows of a kind are read at once, out of so many: of whose sessions they are is seen only by reading them.
PAGE = 500
WINDOW = 50_000

NEWEST = """
    SELECT (SELECT MAX(id) FROM transitions), (SELECT MAX(id) FROM metrics), (SELECT MAX(id) FROM points),
        (SELECT MAX(id) FROM logs), (SELECT MAX(id) FROM samples)
"""
POSITION = "-".join(["[0-9]{1,19}"] * 5)


@dataclass(frozen=True)
class Position:
    """How far somebody was told: the id of the newest row of each kind."""

    transition: int = 0
    metric: int = 0
    points: int = 0
    log: int = 0
    resources: int = 0

    def __str__(self) -> str:
        return "-".join(map(str, astuple(self)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what str() wrote. Raises ValueError for anything else."""
        if not re.fullmatch(POSITION, text):
            raise ValueError(text)
        return cls(*map(int, text.split("-")))

    @classmethod
    def newest(cls) -> Self:
        """The end of all tables as they are now."""
        with connection.cursor() as cursor:
            cursor.execute(NEWEST)
            return cls(*(newest or 0 for newest in cursor.fetchone()))

    def not_beyond(self, other: "Position") -> "Position":
        """Of each kind the smaller of both: a database that was put back knows nothing of what came later."""
        return Position(*map(min, astuple(self), astuple(other)))


@dataclass(frozen=True)
class Event:
    """One thing that happened, and how far who is told of it has come."""

    name: str
    data: Any
    position: Position

    def encode(self) -> bytes:
        """As the HTML standard has it; JSON holds no line break."""
        return f"id: {self.position}\nevent: {self.name}\ndata: {as_json(self.data)}\n\n".encode()


def as_json(data: Any) -> str:
    return ENCODER.encode(data)


ENCODER = JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Kind:
    """Where events of one kind come from, and how rows become their data, each with the id of its last row."""

    rows: Callable[[], QuerySet[Any]]
    written: Callable[[list[Any]], Iterable[tuple[int, Any]]]
    belongs_to_session: bool = True


def one_by_one(serializer: Callable[[Any], Any]) -> Callable[[list[Any]], Iterator[tuple[int, Any]]]:
    return lambda rows: ((row.pk, serializer(row)) for row in rows)


def transition_data(transition: Transition) -> Any:
    return {"session_id": transition.session.session_id, **TransitionSerializer(transition).data}


def sample_data(sample: Sample) -> Any:
    return {**SystemInfoSerializer(sample).data, "gpus": sample.gpus}


def points_data(points: list[SeriesPoint]) -> Iterator[tuple[int, Any]]:
    """All of them at once, since a trainer writes many; they are of one session."""
    series: dict[str, dict[str, list[Any]]] = {}
    for point in points:
        curve = series.setdefault(point.name, {"steps": [], "values": []})
        curve["steps"].append(point.step)
        curve["values"].append(point.value)
    if points:
        last = points[-1]
        yield last.pk, {"session_id": last.session.session_id, "series": series, "timestamp": last.timestamp}


# In this order: who is told of a metric knows already that the session runs.
KINDS = {
    "transition": Kind(lambda: Transition.objects.select_related("session"), one_by_one(transition_data)),
    "metric": Kind(
        lambda: Metric.objects.select_related("session"), one_by_one(lambda metric: MetricSerializer(metric).data)
    ),
    "points": Kind(lambda: SeriesPoint.objects.select_related("session"), points_data),
    "log": Kind(
        lambda: LogEntry.objects.select_related("session"), one_by_one(lambda entry: LogEntrySerializer(entry).data)
    ),
    "resources": Kind(Sample.objects.all, one_by_one(sample_data), belongs_to_session=False),
}
assert list(KINDS) == [field.name for field in fields(Position)]


@dataclass(frozen=True)
class Interest:
    """What somebody wants to be told: these kinds of events, of one session or, without it, of all."""

    kinds: tuple[str, ...]
    session: int | None = None

    def happened(self, since: Position, until: Position) -> tuple[list[Event], Position]:
        """The first events behind `since`, and how far they lead: to `until`, if there were not too many."""
        events: list[Event] = []
        position = since
        for name in KINDS:
            reached = getattr(until, name)
            if name in self.kinds and getattr(position, name) < reached:
                rows, reached = self._rows(name, getattr(position, name), reached)
                for last, data in KINDS[name].written(rows):
                    position = replace(position, **{name: last})
                    events.append(Event(name, data, position))
            position = replace(position, **{name: reached})
        return events, position

    def _rows(self, name: str, since: int, until: int) -> tuple[list[Any], int]:
        """The first rows of a kind behind an id, and the id up to which there is none but these."""
        kind = KINDS[name]
        until = min(until, since + WINDOW)
        rows = kind.rows().filter(pk__gt=since, pk__lte=until).order_by("pk")
        if self.session is not None and kind.belongs_to_session:
            # By the sum and not by the column: its index would lead to all rows that the session ever had.
            rows = rows.alias(of_session=F("session_id") + 0).filter(of_session=self.session)
        found = list(rows[:PAGE])
        return found, found[-1].pk if len(found) == PAGE else until

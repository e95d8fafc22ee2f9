"""Journal to rows: what the trainer wrote is stored exactly once, whatever crashes in between.

A trainer runs its owner's code too, so nothing in a journal is trusted: an event that is not as the journal has it is
left out, the session's log says so, and what comes after it is read.
"""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from training.journal import read_events
from training.models import LogEntry, TrainingSession

# An epoch that was done again after a crash replaces its row: the weights come from the later one. It goes before it is
# written anew, with a new id, by which those are told of it who were told of the first.
FORGET_METRIC = "DELETE FROM metrics WHERE session_id = %s AND epoch = %s"
STORE_METRIC = """
    INSERT INTO metrics (session_id, epoch, timestamp, loss, accuracy, val_loss, val_accuracy)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (session_id, epoch) DO UPDATE SET timestamp = excluded.timestamp, loss = excluded.loss,
        accuracy = excluded.accuracy, val_loss = excluded.val_loss, val_accuracy = excluded.val_accuracy
"""
METRIC_KEYS = ("loss", "accuracy", "val_loss", "val_accuracy")
# So does a step that was done again.
FORGET_POINT = "DELETE FROM points WHERE session_id = %s AND name = %s AND step = %s"
STORE_POINT = """
    INSERT INTO points (session_id, name, step, value, timestamp) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (session_id, name, step) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp
"""
STORE_LOG_ENTRY = "INSERT INTO logs (session_id, timestamp, level, message) VALUES (%s, %s, %s, %s)"

# What the columns hold.
LARGEST_EPOCH = 2**31 - 1
LARGEST_STEP = 2**53  # every reader of JSON can tell it from its neighbours
LONGEST_LEVEL = 10
LONGEST_NAME = 50
# Three centuries: what is farther away has no date.
LONGEST_SECONDS = 1e10
# A comma parts the names in a query.
SERIES_NAME = re.compile(r"[^\x00-\x1f\x7f,\ud800-\udfff]{1,100}")
# Half a surrogate pair is no text in any encoding, and some databases take no null.
NO_TEXT = re.compile("[\x00\ud800-\udfff]")
DEEPEST = 32


class MalformedEvent(ValueError):
    """An event is not as the journal has it; says what of it."""


def ingest(session: TrainingSession) -> bool:
    """Store the events behind `session.journal_offset`, together with the new offset. False when there were none.

    The offset moves only from where this caller saw it, so of two readers one stores and the other does nothing.
    """
    chunk = read_events(session.directory.events, session.journal_offset)
    if chunk.offset == session.journal_offset:
        return False
    rows = Rows(session)
    if chunk.events:
        rows.columns["heard_at"] = timezone.now()  # by this clock, whatever the trainer takes for the time
    for event in chunk.events:
        rows.add(event)
    with transaction.atomic():
        row = TrainingSession.objects.filter(pk=session.pk, journal_offset=session.journal_offset)
        if row.update(journal_offset=chunk.offset):
            rows.store()
    session.refresh_from_db()
    return True


class Rows:
    """What the events of one read come to, in rows. Made before the transaction, which is kept short."""

    def __init__(self, session: TrainingSession) -> None:
        self.session = session
        self.metrics: list[Sequence[Any]] = []
        self.points: list[Sequence[Any]] = []
        self.log_entries: list[Sequence[Any]] = []
        self.columns: dict[str, Any] = {}  # of the session itself
        self.newest_epoch = 0
        self.left_out: dict[str, str] = {}  # a sentence, with the first case of it
        self.readers: dict[str, Callable[[dict[str, Any]], None]] = {
            "epoch": self.add_epoch,
            "log": self.add_log_entry,
            "points": self.add_points,
            "progress": self.add_progress,
            "record": self.add_document,
            "report": self.add_document,
            "start": self.add_start,
        }

    def add(self, event: dict[str, Any]) -> None:
        """Take an event in, or note that it is left out. Events of other kinds are not the database's business."""
        kind = event["event"]
        try:
            if kind in self.readers:
                self.readers[kind](event)
        except MalformedEvent as error:
            self.leave_out(f"An event of the kind {kind} is not as the journal has it and is left out:", str(error))

    def add_epoch(self, event: dict[str, Any]) -> None:
        epoch = whole_number("epoch", event.get("epoch"), 1, LARGEST_EPOCH)
        values = [number(key, event.get(key)) for key in METRIC_KEYS]
        self.metrics.append((self.session.pk, epoch, time(event), *values))
        self.newest_epoch = max(self.newest_epoch, epoch)

    def add_log_entry(self, event: dict[str, Any]) -> None:
        level, message = text("level", event.get("level")), text("message", event.get("message"))
        self.log_entries.append((self.session.pk, time(event), level[:LONGEST_LEVEL], message))

    def add_points(self, event: dict[str, Any]) -> None:
        at = time(event)
        steps = [whole_number("a step", step, 0, LARGEST_STEP) for step in sequence("steps", event.get("steps"))]
        series = event.get("series")
        if not isinstance(series, dict):
            raise MalformedEvent("series is not an object")
        points = []
        for name, listed in series.items():
            values = [number("a value", value) for value in sequence("the values of a series", listed)]
            if len(values) != len(steps):
                raise MalformedEvent(f"a series has {len(values)} values for {len(steps)} steps")
            if SERIES_NAME.fullmatch(name):
                points += [(self.session.pk, name, step, value, at) for step, value in zip(steps, values, strict=True)]
            else:
                sentence = "A series is left out, since its name is not 1 to 100 printable characters without a comma:"
                self.leave_out(sentence, text("name", name)[:120])
        self.points += points

    def add_document(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        document = event.get(kind)
        if not isinstance(document, dict):
            raise MalformedEvent(f"{kind} is not an object")
        self.columns[kind] = storable(document)

    def add_start(self, event: dict[str, Any]) -> None:
        name = event.get("resumed_from")
        # How fast the attempt before was tells nothing of this one.
        pace = {"samples_per_second": None, "seconds_left": None}
        self.columns |= {"resumed_from": "" if name is None else text("resumed_from", name)[:LONGEST_NAME], **pace}

    def add_progress(self, event: dict[str, Any]) -> None:
        planned = whole_number("steps_planned", event.get("steps_planned"), 0, LARGEST_STEP)
        self.columns |= {
            "steps_done": whole_number("steps_done", event.get("steps_done"), 0, planned),
            "steps_planned": planned,
            "samples_per_second": quantity("samples_per_second", event.get("samples_per_second")),
            "seconds_left": quantity("seconds_left", event.get("seconds_left"), LONGEST_SECONDS),
        }

    def leave_out(self, sentence: str, case: str) -> None:
        self.left_out.setdefault(sentence, case)

    def store(self) -> None:
        """Write everything, inside the caller's transaction."""
        if self.session.attempt > 1:
            execute_each(FORGET_METRIC, [row[:2] for row in self.metrics])
            execute_each(FORGET_POINT, [row[:3] for row in self.points])
        execute_each(STORE_METRIC, self.metrics)
        execute_each(STORE_POINT, self.points)
        execute_each(STORE_LOG_ENTRY, self.log_entries)
        columns = dict(self.columns)
        if self.newest_epoch > (self.session.current_epoch or 0):
            columns |= {"current_epoch": self.newest_epoch, "crashes_since_epoch": 0}
        if columns:
            TrainingSession.objects.filter(pk=self.session.pk).update(**columns)
        for sentence, case in self.left_out.items():
            self.warn_once(sentence, case)

    def warn_once(self, sentence: str, case: str) -> None:
        """Say in the session's log what is left out; what happens in every step is said the first time."""
        if not LogEntry.objects.filter(session=self.session, level="WARNING", message__startswith=sentence).exists():
            self.session.log("WARNING", f"{sentence} {case}")


def execute_each(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


# --- What an event may hold ---


def time(event: dict[str, Any]) -> Any:
    """An event's time as the database's own adapter wants it."""
    try:
        at = datetime.fromisoformat(event["at"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise MalformedEvent("at is not a time") from None
    return connection.ops.adapt_datetimefield_value(at)


def whole_number(name: str, value: Any, smallest: int, largest: int) -> int:
    if type(value) is not int or not smallest <= value <= largest:
        raise MalformedEvent(f"{name} is not a whole number from {smallest} to {largest}")
    return value


def number(name: str, value: Any) -> float | None:
    """A finite number; null for what is not finite, and for null."""
    if value is None:
        return None
    if type(value) is not float and type(value) is not int:
        raise MalformedEvent(f"{name} is not a number")
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def quantity(name: str, value: Any, largest: float = math.inf) -> float | None:
    """A number from 0 up; null for what is not finite or beyond the largest, and for null."""
    result = number(name, value)
    if result is not None and result < 0:
        raise MalformedEvent(f"{name} is negative")
    return None if result is None or result > largest else result


def sequence(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedEvent(f"{name} is not a list")
    return value


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise MalformedEvent(f"{name} is not a text")
    return NO_TEXT.sub("\ufffd", value)


def storable(value: Any, depth: int = 0) -> Any:
    """A value of JSON as every database takes it: what is not finite or beyond 64 bits becomes null."""
    if depth > DEEPEST:
        raise MalformedEvent(f"it is nested deeper than {DEEPEST}")
    if isinstance(value, dict):
        return {text("a name", name): storable(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner, depth + 1) for inner in value]
    if isinstance(value, str):
        return text("a text", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    return value

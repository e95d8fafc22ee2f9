"""Journal to rows: what the trainer wrote is stored exactly once, whatever crashes in between."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from training.journal import read_events
from training.models import TrainingSession

# An epoch that was done again after a crash replaces its row: the weights come from the later one.
STORE_METRIC = """
    INSERT INTO metrics (session_id, epoch, timestamp, loss, accuracy, val_loss, val_accuracy)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (session_id, epoch) DO UPDATE SET timestamp = excluded.timestamp, loss = excluded.loss,
        accuracy = excluded.accuracy, val_loss = excluded.val_loss, val_accuracy = excluded.val_accuracy
"""
METRIC_KEYS = ("loss", "accuracy", "val_loss", "val_accuracy")
STORE_LOG_ENTRY = "INSERT INTO logs (session_id, timestamp, level, message) VALUES (%s, %s, %s, %s)"


def ingest(session: TrainingSession) -> bool:
    """Store the events behind `session.journal_offset`, together with the new offset. False when there were none.

    The offset moves only from where this caller saw it, so of two readers one stores and the other does nothing.
    """
    chunk = read_events(session.directory.events, session.journal_offset)
    if chunk.offset == session.journal_offset:
        return False
    with transaction.atomic():
        row = TrainingSession.objects.filter(pk=session.pk, journal_offset=session.journal_offset)
        if row.update(journal_offset=chunk.offset):
            _store_epochs(session, [event for event in chunk.events if event["event"] == "epoch"])
            _store_log(session, [event for event in chunk.events if event["event"] == "log"])
    session.refresh_from_db()
    return True


def _store_epochs(session: TrainingSession, events: Sequence[dict[str, Any]]) -> None:
    if not events:
        return
    _insert(
        STORE_METRIC,
        ([session.pk, event["epoch"], _time(event["at"]), *(event[key] for key in METRIC_KEYS)] for event in events),
    )
    newest = max(event["epoch"] for event in events)
    if newest > (session.current_epoch or 0):
        TrainingSession.objects.filter(pk=session.pk).update(current_epoch=newest, crashes_since_epoch=0)


def _store_log(session: TrainingSession, events: Iterable[dict[str, Any]]) -> None:
    _insert(STORE_LOG_ENTRY, ([session.pk, _time(event["at"]), event["level"], event["message"]] for event in events))


def _insert(statement: str, rows: Iterable[Sequence[Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, list(rows))


def _time(text: str) -> Any:
    """An event's time as the database's own adapter wants it."""
    return connection.ops.adapt_datetimefield_value(datetime.fromisoformat(text))

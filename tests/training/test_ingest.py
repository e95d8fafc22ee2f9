"""Journal to rows: each event once, whatever crashes and whoever reads beside us."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.conftest import MakeSession
from training.ingest import ingest
from training.journal import JournalWriter
from training.models import LogEntry, Metric, TrainingSession
from training.state import State

pytestmark = pytest.mark.django_db

# What a trainer does between two reads: an epoch, a log line, or a crash that makes the next attempt redo epochs.
acts = st.lists(st.sampled_from(["epoch", "log", "read", "crash", "two-readers"]), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(acts, st.integers(0, 3))
def test_every_epoch_is_one_row_and_every_line_one_entry(
    make_session: MakeSession, story: list[str], redone: int
) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    attempt, epoch, reached, lines = 1, 0, 0, 0
    writer = JournalWriter(session.directory.events, attempt)
    for act in [*story, "read"]:
        if act == "epoch":
            epoch += 1
            reached = max(reached, epoch)
            writer.epoch(epoch, loss=attempt, accuracy=0.5, val_loss=None, val_accuracy=0.25)
        elif act == "log":
            lines += 1
            writer.log("INFO", f"line {lines}")
        elif act == "crash":
            writer.close()
            attempt, epoch = attempt + 1, max(0, epoch - redone)
            writer = JournalWriter(session.directory.events, attempt)
        elif act == "two-readers":
            rival = TrainingSession.objects.get(pk=session.pk)
            ingest(session)
            ingest(rival)
        else:
            ingest(session)
    writer.close()
    assert list(Metric.objects.filter(session=session).values_list("epoch", flat=True)) == list(range(1, reached + 1))
    messages = LogEntry.objects.filter(session=session).values_list("message", flat=True)
    assert list(messages) == [f"line {number}" for number in range(1, lines + 1)]
    session.refresh_from_db()
    assert session.current_epoch == (reached or None)


def test_a_read_that_breaks_stores_nothing(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    writer.log("INFO", "before")
    with session.directory.events.open("ab") as file:
        file.write(b'{"event": "epoch", "attempt": 1, "at": "no time at all", "epoch": 1}\n')
    with pytest.raises(ValueError, match="no time at all"):
        ingest(session)
    assert not session.log_entries.exists()
    assert TrainingSession.objects.get().journal_offset == 0


def test_a_journal_that_lost_its_end_with_the_power_is_read_on(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    for number in range(3):
        writer.log("INFO", f"line {number}")
    writer.close()
    ingest(session)
    os.truncate(session.directory.events, session.directory.journal_size_bytes() - 100)  # the last line and some

    session.begin_attempt()
    writer = JournalWriter(session.directory.events, session.attempt)
    writer.log("INFO", "line 3")
    writer.close()
    ingest(session)
    assert [entry.message for entry in session.log_entries.all()] == [f"line {number}" for number in range(4)]


def test_a_session_without_a_journal_has_nothing_to_read(make_session: MakeSession) -> None:
    assert not ingest(make_session(state=State.RUNNING))

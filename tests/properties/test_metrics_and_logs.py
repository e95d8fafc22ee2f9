"""What a session reports while it runs and after: metrics and log entries."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import strategies as st
from pytest_django import Settings

from tests.properties.api import Api
from tests.properties.inputs import CONFIG, configs, printed, texts
from tests.properties.rules import for_all
from tests.properties.runs import Act, Epoch, Run, epochs, play, stories
from training.models import Metric, TrainingSession
from training.tasks import clean_up_ended_sessions

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("datasets")]

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
lines = st.tuples(st.sampled_from(LEVELS), printed(min_size=0))
LONG = CONFIG | {"epochs": 1000}


@for_all(story=st.lists(epochs(), max_size=5))
def test_property_06_a_running_sessions_metrics_hold_epoch_loss_and_accuracy(api: Api, story: list[Epoch]) -> None:
    session_id = api.start(LONG)
    with Run() as run:
        assert api.get(f"/training/{session_id}/metrics") is None
        for number, epoch in enumerate(story, start=1):
            run.journal.epoch(number, **epoch.metrics)
            run.poll()
            metrics = api.get(f"/training/{session_id}/metrics")
            assert metrics.pop("timestamp")
            assert metrics == {"session_id": session_id, "epoch": number, **epoch.metrics}
            assert api.status(session_id)["state"] == "running"


@for_all(story=stories())
def test_property_07_metrics_is_the_highest_epoch(api: Api, story: list[Act]) -> None:
    """Also while the trainer is doing lower epochs again after a crash."""
    session_id = api.start(LONG)
    with Run() as run:
        outcome = play(run, story)

        metrics = api.get(f"/training/{session_id}/metrics")

    highest = max(outcome, default=None)
    if highest is None:
        assert metrics is None
    else:
        assert metrics.pop("timestamp")
        assert metrics == {"session_id": session_id, "epoch": highest, **outcome[highest]}


@for_all(story=stories(), limit=st.integers(1, 5))
def test_property_08_history_is_all_epochs_in_order(api: Api, story: list[Act], limit: int) -> None:
    session_id = api.start(LONG)
    with Run() as run:
        outcome = play(run, story)

        history = api.get(f"/training/{session_id}/history")
        pages = api.get_all_pages(f"/training/{session_id}/history", limit)

    assert [row for page in pages for row in page] == history
    assert all(len(page) == limit for page in pages[:-1])
    assert all(row.pop("timestamp") for row in history)
    assert history == [{"session_id": session_id, "epoch": epoch, **outcome[epoch]} for epoch in sorted(outcome)]


@for_all(config=configs(most_epochs=12), story=stories())
def test_property_09_e_epochs_are_e_rows_whatever_crashed_in_between(
    api: Api, config: dict[str, Any], story: list[Act]
) -> None:
    session_id = api.start(config)
    with Run() as run:
        done = len(play(run, story))
        for epoch in range(done + 1, config["epochs"] + 1):
            run.journal.epoch(epoch, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5)
        run.complete()

    status = api.status(session_id)
    assert (status["state"], status["current_epoch"]) == ("completed", config["epochs"])
    history = api.get(f"/training/{session_id}/history")
    assert [row["epoch"] for row in history] == list(range(1, config["epochs"] + 1))
    assert Metric.objects.count() == config["epochs"]


@for_all(written=st.lists(lines, max_size=20), polls=st.sets(st.integers(0, 19)), limit=st.integers(1, 25))
def test_property_21_n_log_entries_come_back_as_n_with_time_and_message(
    api: Api, written: list[tuple[str, str]], polls: set[int], limit: int
) -> None:
    session_id = api.start(CONFIG)
    with Run() as run:
        for number, (level, message) in enumerate(written):
            run.journal.log(level, message)
            if number in polls:
                run.poll()
        run.poll()

        entries = api.get(f"/training/{session_id}/logs")
        newest = api.get(f"/training/{session_id}/logs", limit=limit)

    assert [(entry["level"], entry["message"]) for entry in entries] == written
    assert all(entry["timestamp"] and entry["session_id"] == session_id for entry in entries)
    assert newest == entries[-limit:]


@for_all(written=st.lists(lines, min_size=1, max_size=6))
def test_property_23_a_running_sessions_new_log_entries_can_be_read_at_once(
    api: Api, written: list[tuple[str, str]]
) -> None:
    session_id = api.start(CONFIG)
    with Run() as run:
        for number, (level, message) in enumerate(written, start=1):
            run.journal.log(level, message)
            run.poll()
            entries = api.get(f"/training/{session_id}/logs")
            assert len(entries) == number
            assert (entries[-1]["level"], entries[-1]["message"]) == (level, message)
            assert api.status(session_id)["state"] == "running"


@for_all(
    written=st.lists(lines, max_size=8),
    ending=st.sampled_from(["completed", "failed", "stopped"]),
    days_later=st.integers(0, 400),
)
def test_property_24_logs_persist_after_the_end(
    api: Api, settings: Settings, written: list[tuple[str, str]], ending: str, days_later: int
) -> None:
    """Also when the session has been cleaned up."""
    settings.SESSION_RETENTION_DAYS = 7
    session_id = api.start(CONFIG)
    with Run() as run:
        for level, message in written:
            run.journal.log(level, message)
        if ending == "completed":
            run.complete()
        elif ending == "failed":
            run.fail("bad_dataset", "The data is no good.", "Traceback")
            written = [*written, ("ERROR", "Traceback")]
        else:
            api.post(f"/training/{session_id}/stop")
            run.obey_stop()
    TrainingSession.objects.update(ended_at=timezone.now() - timedelta(days=days_later))
    assert clean_up_ended_sessions() == (days_later >= 7)

    assert api.status(session_id)["state"] == ending
    entries = api.get(f"/training/{session_id}/logs")
    assert [(entry["level"], entry["message"]) for entry in entries] == written


ISO_8601 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@for_all(written=st.lists(st.tuples(times, texts()), max_size=8))
def test_property_25_every_entry_has_an_iso_8601_time(
    api: Api, settings: Settings, written: list[tuple[datetime, str]]
) -> None:
    """Those of the trainer its own, and those of the server too."""
    settings.CRASH_ATTEMPTS = 1
    session_id = api.start(CONFIG)
    with Run() as run:
        for at, message in written:
            # As the journal's writer does it, but at a time of our choice.
            event = {"event": "log", "attempt": 1, "level": "INFO", "message": message, "at": at.isoformat()}
            with run.session.directory.events.open("a") as file:
                file.write(json.dumps(event) + "\n")
        run.journal.epoch(1, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5)
        run.die()

    *entries, last = api.get(f"/training/{session_id}/logs")
    history = api.get(f"/training/{session_id}/history")
    for entry in (*entries, last, *history):
        assert re.fullmatch(ISO_8601, entry["timestamp"])
    assert [datetime.fromisoformat(entry["timestamp"]) for entry in entries] == [at for at, _ in written]
    assert timezone.now() - datetime.fromisoformat(last["timestamp"]) < timedelta(minutes=5)

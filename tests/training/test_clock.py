"""A clock that jumps while sessions wait, run and end: what is true stays true, and only the times are strange.

Intervals are measured by the clock that nobody sets. Only what is a date is one: when something happened, and how long
ended sessions are kept.
"""

import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from pytest_django import Settings
from rest_framework.test import APIClient

from registry.files import receive
from registry.tasks import remove_unfinished_uploads
from tests.properties.runs import Run
from tests.training.conftest import MakeSession
from training import bell, journal
from training.journal import SessionDirectory
from training.models import TrainingSession
from training.recovery import frozen_supervisors, work_waits
from training.state import State
from training.tasks import clean_up_ended_sessions
from training.watch import CHORES, Watch, schedule_chores

pytestmark = pytest.mark.django_db

JUMPS = [timedelta(hours=hours) for hours in (1, -1, 24, -24, 24 * 365, -24 * 365)]
FIGURES = {"loss": 0.5, "accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}


class Clock:
    """The clock of the machine, which can be set."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def jump(self, by: timedelta) -> None:
        self.offset += by


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    read = time.time

    class ClockDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + clock.offset

    # Where Django and the journal read it; the monotonic clock knows nothing of it.
    monkeypatch.setattr(timezone, "datetime", ClockDatetime)
    monkeypatch.setattr(journal, "datetime", ClockDatetime)
    monkeypatch.setattr(time, "time", lambda: read() + clock.offset.total_seconds())
    yield clock
    clock.offset = timedelta(0)  # the database fixture looks at it too


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_running_session_goes_on_and_ends_as_it_would_have(
    jump: timedelta, clock: Clock, make_session: MakeSession, client: APIClient
) -> None:
    make_session()
    with Run() as run:
        run.journal.epoch(1, **FIGURES)
        run.poll()
        clock.jump(jump)
        assert list(frozen_supervisors()) == []
        run.journal.epoch(2, **FIGURES)
        run.journal.progress(2, 3, samples_per_second=10.0, seconds_left=4.0)
        run.poll()
        status = client.get(f"/api/v1/training/{run.session_id}/status").json()
        assert (status["state"], status["current_epoch"], status["health"]) == ("running", 2, "ok")
        assert abs(datetime.fromisoformat(status["eta"]) - timezone.now()) < timedelta(seconds=60)
        run.journal.epoch(3, **FIGURES)
        run.complete()
        status = client.get(f"/api/v1/training/{run.session_id}/status").json()
        assert (status["state"], status["eta"], status["health"]) == ("completed", None, None)
        history = client.get(f"/api/v1/training/{run.session_id}/history").json()
        assert [metric["epoch"] for metric in history] == [1, 2, 3]
        logged = [entry.message for entry in run.session.log_entries.all()]
        assert not [message for message in logged if "left out" in message]


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_the_grace_of_a_stop_is_as_long_as_ever(
    jump: timedelta, clock: Clock, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals: list[int] = []
    monkeypatch.setattr(SessionDirectory, "signal_trainer", lambda _, number: signals.append(number))
    make_session()
    with Run() as run:
        run.session.request_stop(by="test")
        run.poll()
        clock.jump(jump)
        run.poll()
        assert signals == [signal.SIGTERM]
        run.obey_stop()
        assert run.session.state == State.STOPPED


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_the_queue_keeps_its_order(jump: timedelta, clock: Clock, make_session: MakeSession) -> None:
    submitted = []
    for _ in range(3):
        submitted.append(make_session().pk)
        clock.jump(jump)
    paused = TrainingSession.objects.get(pk=submitted[0])
    paused.request_pause(by="test")
    clock.jump(-3 * jump)
    paused.resume(by="test")
    assert list(TrainingSession.objects.queued().values_list("pk", flat=True)) == submitted
    claimed = TrainingSession.objects.claim_next(by="test")
    assert claimed is not None
    assert claimed.pk == submitted[0]


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_bell_that_nobody_can_hear_any_more_is_rung_again(
    jump: timedelta, clock: Clock, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """django-q2 hears a bell once its time has come, and that may now be in a year."""
    monkeypatch.setattr("training.watch.RING_EVERY_SECONDS", 0.0)
    make_session()
    bell.ring()
    watch = Watch(stop_trainers=False)
    watch.training.started_at = time.monotonic()
    clock.jump(jump)
    assert work_waits()
    watch.look_for_work()
    assert OrmQ.objects.filter(key=bell.CLUSTER, lock__lte=timezone.now()).exists()


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_only_what_has_ended_is_ever_cleaned_up(
    jump: timedelta, clock: Clock, make_session: MakeSession, settings: Settings
) -> None:
    """A clock that says that a year has passed is believed; who runs, waits or pauses loses nothing by it."""
    states = [State.COMPLETED, State.RUNNING, State.QUEUED, State.PAUSED]
    sessions = [make_session(state=state) for state in states]
    TrainingSession.objects.filter(state=State.COMPLETED).update(ended_at=timezone.now())
    for session in sessions:
        session.directory.create()
    clock.jump(jump)
    cleaned = clean_up_ended_sessions()
    assert cleaned == (jump > timedelta(days=settings.SESSION_RETENTION_DAYS))
    for session in sessions[1:]:
        assert session.directory.checkpoints.exists()


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_file_that_is_being_received_is_nobodys_rubbish(jump: timedelta, clock: Clock, data_dir: Path) -> None:
    with receive([b"half", b" of it"], data_dir / "datasets") as incoming:
        clock.jump(jump)
        remove_unfinished_uploads()
        assert incoming.path.read_bytes() == b"half of it"


def test_a_chore_that_a_wrong_clock_planned_does_not_wait_for_its_year(clock: Clock) -> None:
    clock.jump(timedelta(days=365))
    schedule_chores()
    clock.jump(timedelta(days=-365))
    schedule_chores()
    planned = Schedule.objects.filter(name__in=CHORES)
    assert planned.count() == len(CHORES)
    assert all(chore.next_run <= timezone.now() + timedelta(hours=1) for chore in planned)


def test_a_chore_that_somebody_changed_by_hand_stays_as_it_is(clock: Clock) -> None:
    schedule_chores()
    in_a_week = timezone.now() + timedelta(days=7)
    Schedule.objects.update(schedule_type=Schedule.WEEKLY, next_run=in_a_week)
    schedule_chores()
    assert set(Schedule.objects.filter(name__in=CHORES).values_list("next_run", flat=True)) == {in_a_week}


def test_the_clock_of_these_tests_is_the_one_that_is_read(clock: Clock, make_session: MakeSession) -> None:
    clock.jump(timedelta(days=365))
    session = make_session()
    assert session.created_at > datetime.now(timezone.get_default_timezone()) + timedelta(days=300)
    assert session.directory.root.parent.stat().st_mtime < time.time() - 300 * 24 * 3600

"""Ended sessions are cleaned up after their days; what people still want stays."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from tests.conftest import Script
from tests.training.conftest import MakeSession
from training import tasks
from training.ingest import STORE_POINT, execute_each
from training.initial_weights import KEPT_AS
from training.models import TrainingSession
from training.state import State
from training.tasks import answer_bell, clean_up_ended_sessions

pytestmark = pytest.mark.django_db


def age(session: TrainingSession, days: float) -> None:
    TrainingSession.objects.filter(pk=session.pk).update(ended_at=timezone.now() - timedelta(days=days))


def test_checkpoints_and_step_series_go_and_results_stay(
    make_session: MakeSession, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("complete")
    session = make_session()
    answer_bell()
    execute_each(STORE_POINT, [(session.pk, "train/loss", step, 0.5, "2026-01-01") for step in range(25)])
    (session.directory.root / KEPT_AS).write_bytes(b"weights to start from")
    age(session, 8)
    monkeypatch.setattr(tasks, "DELETED_POINTS", 10)
    assert clean_up_ended_sessions() == 1
    session.refresh_from_db()
    assert session.cleaned_up_at is not None
    assert not session.directory.checkpoints.exists()
    assert not session.directory.events.exists()
    assert not (session.directory.root / KEPT_AS).exists()
    assert not session.points.exists()
    assert session.model is not None
    assert session.model.path.exists()
    assert (session.metrics.count(), session.log_entries.count()) == (3, 3)
    assert clean_up_ended_sessions() == 0


@pytest.mark.parametrize(("state", "days", "kept_days"), [
    (State.COMPLETED, 6.9, 7),
    (State.COMPLETED, 100, 0),
    (State.RUNNING, 100, 7),
    (State.QUEUED, 100, 7),
])  # fmt: skip
def test_what_is_young_or_alive_is_left_alone(
    make_session: MakeSession, settings: Settings, state: State, days: float, kept_days: int
) -> None:
    settings.SESSION_RETENTION_DAYS = kept_days
    session = make_session(state=state)
    session.directory.create()
    execute_each(STORE_POINT, [(session.pk, "train/loss", 1, 0.5, "2026-01-01")])
    age(session, days)
    assert clean_up_ended_sessions() == 0
    assert session.points.exists()
    assert session.directory.checkpoints.exists()

"""What a status says of a session beside its state, alone and in lists."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pytest_django import Settings
from rest_framework.test import APIClient

from tests.training.conftest import MakeSession
from training.models import QueueControl, TrainingSession
from training.state import Health, State, Wish

BASE = "/api/v1/training"

pytestmark = pytest.mark.django_db


def status_of(client: APIClient, session: TrainingSession) -> dict[str, Any]:
    answer = client.get(f"{BASE}/{session}/status")
    assert answer.status_code == 200
    status: dict[str, Any] = answer.json()
    return status


FIELDS = {
    "session_id",
    "state",
    "health",
    "wish",
    "allowed_actions",
    "attempt",
    "resumed_from",
    "parent_session_id",
    "parent_checkpoint",
    "current_epoch",
    "total_epochs",
    "progress",
    "steps_done",
    "steps_planned",
    "samples_per_second",
    "eta",
    "queue_position",
    "waiting_reason",
    "waiting_for",
    "start_time",
    "end_time",
    "error_message",
    "failure_code",
    "remedy",
    "model_name",
}


@pytest.mark.parametrize("state", list(State))
def test_a_status_is_the_same_alone_and_in_a_list_and_as_it_is_described(
    client: APIClient, make_session: MakeSession, state: State
) -> None:
    session = make_session(state=state, current_epoch=1)
    status = status_of(client, session)
    assert status.keys() == FIELDS
    assert client.get(f"{BASE}/sessions").json()[0]["status"] == status
    document = client.get("/openapi.json").json()
    schema = document["components"]["schemas"]["Status"]
    assert schema["properties"].keys() == FIELDS
    Draft202012Validator({**schema, "components": document["components"]}).validate(status)


def test_a_running_session_says_how_far_it_is(client: APIClient, make_session: MakeSession) -> None:
    heard_at = timezone.now()
    session = make_session(
        state=State.RUNNING,
        attempt=3,
        resumed_from="step-00000040",
        wish=Wish.PAUSE,
        heard_at=heard_at,
        steps_done=50,
        steps_planned=200,
        samples_per_second=1234.5,
        seconds_left=90.0,
    )
    expected = {
        "health": "ok",
        "wish": "pause",
        "allowed_actions": ["resume", "stop", "kill", "restart"],
        "attempt": 3,
        "resumed_from": "step-00000040",
        "progress": 0.25,
        "steps_done": 50,
        "steps_planned": 200,
        "samples_per_second": 1234.5,
        "eta": (heard_at + timedelta(seconds=90)).isoformat().replace("+00:00", "Z"),
        "queue_position": None,
        "waiting_reason": None,
        "waiting_for": [],
    }
    assert status_of(client, session).items() >= expected.items()


def test_what_is_not_known_is_null(client: APIClient, make_session: MakeSession) -> None:
    expected = {
        "health": None,
        "wish": None,
        "resumed_from": None,
        "parent_session_id": None,
        "parent_checkpoint": None,
        "current_epoch": None,
        "progress": 0.0,
        "steps_done": 0,
        "steps_planned": None,
        "samples_per_second": None,
        "eta": None,
        "remedy": None,
        "model_name": None,
        "start_time": None,
        "end_time": None,
    }
    assert status_of(client, make_session()).items() >= expected.items()


@pytest.mark.parametrize("state", list(State))
def test_only_a_running_session_has_a_health_and_an_end_to_expect(make_session: MakeSession, state: State) -> None:
    session = make_session(state=state, heard_at=timezone.now(), seconds_left=5.0)
    assert (session.health is not None) == (session.eta is not None) == (state == State.RUNNING)


def test_a_session_that_is_not_heard_of_is_stale(make_session: MakeSession, settings: Settings) -> None:
    settings.STALE_AFTER_SECONDS = 10.0
    for ago, health in ((0, Health.OK), (5, Health.OK), (11, Health.STALE), (10**6, Health.STALE), (-3600, Health.OK)):
        session = make_session(state=State.RUNNING, heard_at=timezone.now() - timedelta(seconds=ago))
        assert session.health == health
    assert make_session(state=State.RUNNING, heard_at=None).health == Health.STALE


def test_a_session_that_has_just_found_its_place_is_not_stale(make_session: MakeSession) -> None:
    """Even if it ran before and nothing was heard of it while it was paused."""
    make_session(heard_at=timezone.now() - timedelta(days=1), seconds_left=60.0)
    session = TrainingSession.objects.claim_next(by="test")
    assert session is not None
    assert session.health == Health.OK
    assert session.eta is not None
    assert session.eta > timezone.now()


@given(
    state=st.sampled_from(State),
    done=st.integers(0, 2**63 - 1),
    planned=st.none() | st.integers(0, 2**63 - 1),
    epoch=st.none() | st.integers(0, 2**31 - 1),
    seconds_left=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_whatever_a_trainer_says_there_is_a_status(
    state: State, done: int, planned: int | None, epoch: int | None, seconds_left: float | None
) -> None:
    session = TrainingSession(
        state=state,
        config={"epochs": 3},
        steps_done=done,
        steps_planned=planned,
        current_epoch=epoch,
        heard_at=timezone.now(),
        seconds_left=seconds_left,
    )
    assert 0.0 <= session.progress <= 1.0
    assert session.progress == 1.0 or state != State.COMPLETED
    assert session.eta is None or session.eta.tzinfo is not None


@pytest.mark.parametrize(
    ("columns", "progress"),
    [
        ({"state": State.COMPLETED, "steps_done": 5, "steps_planned": 10}, 1.0),  # it stopped early, by its own rule
        ({"state": State.FAILED, "steps_done": 5, "steps_planned": 10}, 0.5),
        ({"state": State.PAUSED, "steps_done": 5, "steps_planned": 10}, 0.5),
        ({"state": State.RUNNING, "steps_done": 11, "steps_planned": 10}, 1.0),
        ({"state": State.RUNNING, "current_epoch": 1}, 1 / 3),
        ({"state": State.QUEUED, "current_epoch": 3, "steps_done": 100}, 1.0),
        ({"state": State.QUEUED}, 0.0),
    ],
)
def test_progress(make_session: MakeSession, columns: dict[str, Any], progress: float) -> None:
    assert make_session(**columns).progress == progress


def test_a_queued_session_says_why_it_waits(client: APIClient, make_session: MakeSession, settings: Settings) -> None:
    settings.MIN_FREE_DISK_BYTES = 0
    running = make_session(state=State.RUNNING)
    queued = [make_session() for _ in range(3)]

    def waits() -> list[tuple[Any, ...]]:
        statuses = [status_of(client, session) for session in queued]
        listed = {entry["session_id"]: entry["status"] for entry in client.get(f"{BASE}/sessions").json()}
        in_queue = [entry["status"] for entry in client.get(f"{BASE}/queue").json()]
        assert statuses == [listed[str(session)] for session in queued] == in_queue
        return [(s["queue_position"], s["waiting_reason"], s["waiting_for"]) for s in statuses]

    assert waits() == [
        (1, "place_taken", [str(running)]),
        (2, "behind_others", [str(queued[0])]),
        (3, "behind_others", [str(queued[0]), str(queued[1])]),
    ]
    QueueControl.objects.pause(by="test")
    assert waits() == [(position, "queue_paused", []) for position in (1, 2, 3)]


def test_the_failed_say_why_and_what_to_do(client: APIClient, make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.fail("non_finite_loss", "The loss grew.")
    status = status_of(client, session)
    assert (status["failure_code"], status["error_message"]) == ("non_finite_loss", "The loss grew.")
    assert "learning_rate" in status["remedy"]


def test_a_list_costs_as_many_queries_however_long_it_is(client: APIClient, make_session: MakeSession) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(f"{BASE}/{path}").status_code == 200
        return len(captured)

    parent = make_session(state=State.RUNNING)
    for _ in range(3):
        make_session(parent=parent)
    queries("sessions")  # the first request looks up what later ones know
    few = [queries(path) for path in ("sessions", "queue")]
    for state in State:
        for _ in range(5):
            make_session(state=state, parent=parent)
    assert [queries(path) for path in ("sessions", "queue")] == few

"""The endpoints of sessions: what they answer, and what they refuse before anything is stored."""

import io
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient

from authkeys.models import APIKey
from registry.models import Dataset, Model
from tests.training.conftest import CONFIG, MakeSession
from training.fields import fields_of
from training.models import TrainingSession, Transition
from training.spec import TrainingConfig
from training.state import State

BASE = "/api/v1/training"

pytestmark = pytest.mark.django_db


def store_labels(name: str, labels: Any, features: int = 3) -> Dataset:
    """A dataset of rows with these labels."""
    file = io.BytesIO()
    np.savez(file, x=np.ones((len(labels), features), np.float32) * np.arange(len(labels))[:, None], y=np.array(labels))
    return Dataset.objects.store(name, [file.getvalue()])


def test_a_start_queues_and_says_so(client: APIClient, dataset: Dataset) -> None:
    answer = client.post(f"{BASE}/start", CONFIG, format="json")
    assert answer.status_code == 200
    session = TrainingSession.objects.get()
    assert answer.json() == {
        "session_id": session.session_id,
        "status": "queued",
        "message": f"Session {session.session_id} is queued at position 1.",
    }
    assert session.config.items() >= (CONFIG | {"optimizer": "adam", "loss_function": "cross_entropy"}).items()
    assert session.config.keys() == {field.name for field in fields_of(TrainingConfig)}
    transition = session.transitions.get()
    assert (transition.to_state, transition.by) == ("queued", f"key:{APIKey.objects.get().prefix}")


REFUSED = [
    ({"learning_rate": True}, {"learning_rate"}),
    ({"learning_rate": "0.1", "epochs": 0, "batch_size": 1.5}, {"learning_rate", "epochs", "batch_size"}),
    (
        {"epochs": 0, "dataset_name": "unknown", "model_architecture": "?"},
        {"epochs", "dataset_name", "model_architecture"},
    ),
    ({"dataset_name": "unknown"}, {"dataset_name"}),
    ({"dataset_name": "tiny\n"}, {"dataset_name"}),
    ({"model_architecture": "gpt-9"}, {"model_architecture"}),
    ({"model_architecture": "cnn"}, {"model_architecture"}),  # rows are no images
    ({"Learning_rate": 0.1}, {"Learning_rate"}),
    ({"optimizer": None}, {"optimizer"}),
    ({"loss_function": "hinge"}, {"loss_function"}),
    ({"__proto__": 1, "id": 3}, {"__proto__", "id"}),
    ({"early_stopping": {"patience": 0, "metric": "f1"}}, {"early_stopping.patience", "early_stopping.metric"}),
    ({"class_weights": {"0": 0}}, {"class_weights"}),
    ({"initial_weights": "nothing known"}, {"initial_weights"}),
    ({"initial_weights": "sess_000000000000"}, {"initial_weights"}),
    ({"device": "cpu", "gpus": 2}, {"gpus"}),
    ({"device": "cpu", "precision": "fp16"}, {"precision"}),
]


@pytest.mark.parametrize(("changes", "named"), REFUSED)
def test_a_wrong_configuration_is_refused_and_nothing_is_stored(
    client: APIClient, dataset: Dataset, changes: dict[str, Any], named: set[str]
) -> None:
    answer = client.post(f"{BASE}/start", CONFIG | changes, format="json")
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"]["code"] == "INVALID_CONFIG"
    assert set(body["error"]["details"]) == named
    assert isinstance(body["detail"], str)
    assert not TrainingSession.objects.exists()
    assert not Transition.objects.exists()


@pytest.mark.parametrize(
    ("labels", "loss", "fits"),
    [
        ([0, 1, 2] * 4, "cross_entropy", True),
        ([0, 1, 2] * 4, "bce", True),
        ([0, 1, 2] * 4, "mse", True),
        (["cat", "dog"] * 6, "cross_entropy", True),
        (["cat", "dog"] * 6, "mae", False),
        ([0.5, 1.25, 2.75] * 4, "mse", True),
        ([0.5, 1.25, 2.75] * 4, "mae", True),
        ([0.5, 1.25, 2.75] * 4, "cross_entropy", False),
        ([0.5, 1.25, 2.75] * 4, "bce", False),
        ([7] * 12, "cross_entropy", False),  # one class is nothing to tell apart
    ],
)
def test_a_loss_must_fit_the_labels(client: APIClient, labels: list[Any], loss: str, fits: bool) -> None:
    store_labels("labelled", labels)
    config = CONFIG | {"dataset_name": "labelled", "loss_function": loss}
    answer = client.post(f"{BASE}/start", config, format="json")
    assert answer.status_code == (200 if fits else 400)
    assert TrainingSession.objects.exists() == fits


def test_a_models_name_is_given_once(client: APIClient, make_session: MakeSession) -> None:
    Model.objects.store("uploaded", [b"weights"])
    for name, state in (("queued", State.QUEUED), ("running", State.RUNNING), ("stopped", State.STOPPED)):
        make_session({"model_name": name}, state=state)
    for name, status in (("uploaded", 400), ("queued", 400), ("running", 400), ("stopped", 200), ("new", 200)):
        answer = client.post(f"{BASE}/start", CONFIG | {"model_name": name}, format="json")
        assert answer.status_code == status
        if status == 400:
            assert answer.json()["error"]["details"].keys() == {"model_name"}


def test_weights_to_start_from_are_a_models_or_a_sessions(client: APIClient, make_session: MakeSession) -> None:
    Model.objects.store("uploaded", [b"weights"])
    unended, stopped, failed, empty = (
        make_session(state=state) for state in (State.QUEUED, State.STOPPED, State.FAILED, State.FAILED)
    )
    for session in (stopped, failed, empty):
        session.directory.create()
    (stopped.directory.weights / "model.pt").write_bytes(b"weights")
    (failed.directory.checkpoints / "step-00000001").mkdir()
    for name in ("uploaded", unended.session_id, stopped.session_id, failed.session_id):
        answer = client.post(f"{BASE}/start", CONFIG | {"initial_weights": name}, format="json")
        assert answer.status_code == 200
    answer = client.post(f"{BASE}/start", CONFIG | {"initial_weights": empty.session_id}, format="json")
    assert answer.json()["error"]["details"].keys() == {"initial_weights"}


def test_words_for_people_come_back(client: APIClient, dataset: Dataset) -> None:
    words = {"tags": ["a tag", "ü"], "notes": "line one\nline two", "priority": -3, "model_name": "mine"}
    client.post(f"{BASE}/start", CONFIG | words, format="json")
    (entry,) = client.get(f"{BASE}/queue").json()
    assert entry["config"].items() >= words.items()


def test_higher_priority_starts_first_and_says_its_position(client: APIClient, dataset: Dataset) -> None:
    positions = []
    for priority in (0, 5, 0, -1, 5):
        message = client.post(f"{BASE}/start", CONFIG | {"priority": priority}, format="json").json()["message"]
        positions.append(int(message.split()[-1].strip(".")))
    assert positions == [1, 1, 3, 4, 2]
    assert [entry["config"]["priority"] for entry in client.get(f"{BASE}/queue").json()] == [5, 5, 0, 0, -1]


def test_the_schema_of_a_start_describes_every_field(client: APIClient) -> None:
    document = client.get("/openapi.json").json()
    start = document["paths"]["/api/v1/training/start"]["post"]
    reference = start["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert schema["properties"].keys() == {field.name for field in fields_of(TrainingConfig)}
    assert schema["required"] == list(CONFIG)
    whole = {**schema, "components": document["components"]}  # where its references lead
    validator = Draft202012Validator(whole)
    validator.validate(CONFIG)
    right: list[dict[str, Any]] = [
        {"class_weights": "balanced"},
        {"class_weights": {"0": 2, "1": 0.5}},
        {"class_weights": None},
        {"model_args": {"width": 7}},
        {"early_stopping": None},
        {"early_stopping": {"patience": 2}},
        {"device": "cuda:1"},
    ]
    wrong: list[dict[str, Any]] = [
        {"class_weights": "even"},
        {"class_weights": {"0": 0}},
        {"model_args": None},
        {"early_stopping": {"patience": 0}},
        {"scheduler_args": {"unknown": 1}},
        {"device": "my cuda:1"},
        {"optimizer": "lion"},
        {"epochs": 0},
        {"unknown": 1},
    ]
    assert all(validator.is_valid(CONFIG | changes) for changes in right)
    assert not any(validator.is_valid(CONFIG | changes) for changes in wrong)


def test_a_status_has_every_field(client: APIClient, make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING, current_epoch=2, started_at=timezone.now())
    status = client.get(f"{BASE}/{session.session_id}/status").json()
    expected = {
        "session_id": session.session_id,
        "state": "running",
        "current_epoch": 2,
        "total_epochs": 3,
        "end_time": None,
        "error_message": None,
    }
    assert status.items() >= expected.items()
    assert status["start_time"].endswith("Z")


def test_metrics_are_null_before_the_first_epoch_and_then_the_newest(
    client: APIClient, make_session: MakeSession
) -> None:
    session = make_session()
    path = f"{BASE}/{session.session_id}"
    assert client.get(f"{path}/metrics").json() is None
    assert client.get(f"{path}/history").json() == []
    for epoch in (2, 1, 3):
        session.metrics.create(epoch=epoch, loss=epoch, accuracy=0.5, timestamp=timezone.now())
    assert client.get(f"{path}/metrics").json()["epoch"] == 3
    history = client.get(f"{path}/history").json()
    assert [metric["epoch"] for metric in history] == [1, 2, 3]
    assert set(history[0]) >= {"session_id", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "timestamp"}


def test_logs_are_the_newest_with_the_oldest_first(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    for number in range(150):
        session.log("INFO", f"line {number}")
    path = f"{BASE}/{session.session_id}/logs"
    first = client.get(path)
    assert [entry["message"] for entry in first.json()] == [f"line {number}" for number in range(50, 150)]
    before = client.get(first.headers["Link"].split(">")[0].removeprefix("<"))
    assert [entry["message"] for entry in before.json()] == [f"line {number}" for number in range(50)]
    assert [entry["message"] for entry in client.get(path, {"limit": 2}).json()] == ["line 148", "line 149"]
    assert client.get(path, {"limit": "many"}).status_code == 400


def test_lists_have_the_newest_first_and_the_queue_the_next(client: APIClient, make_session: MakeSession) -> None:
    running = make_session(state=State.RUNNING)
    queued = [make_session(), make_session({"epochs": 7})]
    everything = client.get(f"{BASE}/sessions").json()
    assert [entry["session_id"] for entry in everything] == [s.session_id for s in (queued[1], queued[0], running)]
    queue = client.get(f"{BASE}/queue").json()
    assert [entry["session_id"] for entry in queue] == [session.session_id for session in queued]
    assert queue[1]["config"] == queued[1].config
    assert queue[1]["status"]["state"] == "queued"
    assert set(queue[1]) >= {"session_id", "config", "status", "created_at"}


@pytest.mark.parametrize("state", list(State))
def test_stop_and_cancel_in_every_state(client: APIClient, make_session: MakeSession, state: State) -> None:
    stopped, cancelled = make_session(state=state), make_session(state=state)
    stop = client.post(f"{BASE}/{stopped.session_id}/stop")
    cancel = client.delete(f"{BASE}/queue/{cancelled.session_id}")
    assert stop.status_code == (200 if state in (State.QUEUED, State.RUNNING, State.PAUSED) else 409)
    assert cancel.status_code == (200 if state == State.QUEUED else 409)
    for answer in (stop, cancel):
        assert "message" in (answer.json() if answer.status_code == 200 else answer.json()["error"])
    cancelled.refresh_from_db()
    assert cancelled.state == (State.STOPPED if state == State.QUEUED else state)
    stopped.refresh_from_db()
    assert (stopped.wished_by == f"key:{APIKey.objects.get().prefix}") == (state == State.RUNNING)


@pytest.mark.parametrize("session_id", ["sess_000000000000", "x", "sess_%00", "sess_é", "..", "start", "a" * 5000])
@pytest.mark.parametrize("call", ["status", "metrics", "history", "logs", "stop", "cancel"])
def test_an_unknown_session_is_a_404(client: APIClient, session_id: str, call: str) -> None:
    if call == "cancel":
        answer = client.delete(f"{BASE}/queue/{session_id}")
    elif call == "stop":
        answer = client.post(f"{BASE}/{session_id}/stop")
    else:
        answer = client.get(f"{BASE}/{session_id}/{call}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"


def test_staff_start_a_session_from_a_form_that_shows_the_fields(dataset: Dataset) -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("root", password="a password of the tests"))
    page = browser.get(f"{BASE}/start", headers={"Accept": "text/html"})
    assert all(f"&quot;{name}&quot;" in page.text for name in ("model_architecture", "epochs", "loss_function"))
    answer = browser.post(f"{BASE}/start", CONFIG, content_type="application/json", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert TrainingSession.objects.get().transitions.get().by == "user:root"

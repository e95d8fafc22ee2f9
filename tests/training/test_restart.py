"""A session once more: from its beginning, or as a fork that goes on from one of its checkpoints."""

import hashlib
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import TestCase
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from tests.properties.runs import supervised
from tests.training.conftest import CONFIG, MakeSession
from training.engine.checkpoint import MANIFEST, STATE
from training.fields import default_of, fields_of
from training.journal import JournalWriter
from training.models import Metric, SeriesPoint, TrainingSession
from training.restart import CHANGEABLE
from training.spec import TrainingConfig
from training.state import Action, State
from training.steering import ASK
from training.tasks import answer_bell, clean_up_ended_sessions

BASE = "/api/v1/training"

pytestmark = pytest.mark.django_db


class CommittingClient(APIClient):
    """After each answer what waits for the commit is done, though the test's own transaction stays open."""

    def request(self, **kwargs: Any) -> Any:
        with TestCase.captureOnCommitCallbacks(execute=True):
            return super().request(**kwargs)


@pytest.fixture
def client(key: str) -> APIClient:
    return CommittingClient(HTTP_AUTHORIZATION=f"Bearer {key}")


def save_checkpoint(session: TrainingSession, step: int, epoch: int) -> Path:
    """A checkpoint that is whole, as far as anybody can tell who does not load it."""
    folder = session.directory.checkpoints / f"step-{step:08d}"
    folder.mkdir(parents=True)
    state = f"state after step {step}".encode()
    (folder / STATE).write_bytes(state)
    sha256 = hashlib.sha256(state).hexdigest()
    manifest = {"epoch": epoch, "step": step, "size_bytes": len(state), "sha256": sha256}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def parent(make_session: MakeSession) -> TrainingSession:
    """A session of three epochs of four steps, stopped inside the third, with checkpoints of steps 4 and 10."""
    session = make_session(state=State.STOPPED, current_epoch=2, steps_done=10, steps_planned=12)
    session.directory.create()
    for step, epoch in ((4, 1), (10, 2)):
        save_checkpoint(session, step, epoch)
    for epoch in (1, 2):
        session.metrics.create(epoch=epoch, loss=1 / epoch, accuracy=0.5, timestamp=timezone.now())
    for step in range(1, 12):
        session.points.create(name="train/loss", step=step, value=1 / step, timestamp=timezone.now())
    return session


def post(client: APIClient, session: TrainingSession, body: Any) -> Any:
    return client.post(f"{BASE}/{session}/restart", json.dumps(body), content_type="application/json")


def restarted(client: APIClient, session: TrainingSession, **body: Any) -> TrainingSession:
    answer = post(client, session, body)
    assert answer.status_code == 200, answer.json()
    assert answer.json().keys() == {"session_id", "status", "message"}
    return TrainingSession.objects.get(session_id=answer.json()["session_id"])


def only_session() -> TrainingSession:
    """Makes sure that nothing was left behind, neither a row nor a directory, nor the mark of an unfinished one."""
    session = TrainingSession.objects.get()
    assert {path.name for path in session.directory.root.parent.iterdir()} <= {session.session_id}
    return session


def restart_is_refused(client: APIClient, session: TrainingSession, code: str, **body: Any) -> dict[str, Any]:
    answer = post(client, session, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400 if code.startswith("INVALID") else 409, code)
    assert only_session() == session
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize("state", list(State))
def test_a_session_of_any_state_is_restarted(client: APIClient, make_session: MakeSession, state: State) -> None:
    session = make_session({"seed": 7, "tags": ["a"]}, state=state, current_epoch=2)
    session.metrics.create(epoch=1, loss=1.0, accuracy=0.5, timestamp=timezone.now())
    again = restarted(client, session)
    assert (again.state, again.parent, again.parent_checkpoint) == (State.QUEUED, session, "")
    assert again.config == session.config
    assert (again.current_epoch, again.steps_done, again.metrics.count()) == (None, 0, 0)
    assert not again.directory.root.exists()
    transition = again.transitions.get()
    assert (transition.from_state, transition.reason) == ("", f"restarted from {session}")
    assert transition.by.startswith("key:")
    session.refresh_from_db()
    assert session.state == state
    status = client.get(f"{BASE}/{again}/status").json()
    assert (status["parent_session_id"], status["parent_checkpoint"]) == (str(session), None)


@pytest.mark.parametrize("how", ["nothing", "empty object", "form", "null"])
def test_a_restart_needs_no_body(client: APIClient, make_session: MakeSession, how: str) -> None:
    path = f"{BASE}/{make_session()}/restart"
    answer = {
        "nothing": lambda: client.post(path),
        "empty object": lambda: client.post(path, {}, format="json"),
        "form": lambda: client.post(path, "", content_type="application/json"),
        "null": lambda: client.post(path, {"from_checkpoint": None, "changes": {}}, format="json"),
    }[how]()
    assert answer.status_code == 200, answer.json()


def test_changes_are_checked_as_a_configuration_is(client: APIClient, make_session: MakeSession) -> None:
    session = make_session({"model_name": "mine", "early_stopping": {"patience": 2}})
    again = restarted(client, session, changes={"learning_rate": 0.5, "epochs": 9, "early_stopping": None})
    expected = {"learning_rate": 0.5, "epochs": 9, "early_stopping": None, "batch_size": 8, "model_name": None}
    assert again.config.items() >= expected.items()
    again.delete()
    wrong = {"learning_rate": 7, "optimiser": "sgd", "dataset_name": "unknown", "model_name": "mine", "epochs": True}
    error = restart_is_refused(client, session, "INVALID_CONFIG", changes=wrong)
    assert error["details"].keys() == wrong.keys()


NO_RESTART: list[tuple[Any, set[str]]] = [
    ([], {"non_field_errors"}),
    (None, {"non_field_errors"}),
    ("newest", {"non_field_errors"}),
    (True, {"non_field_errors"}),
    ({"from": "newest"}, {"from"}),
    ({"from_checkpoint": "newest", "epochs": 5, "changes": {}}, {"epochs"}),
    ({"from_checkpoint": ""}, {"from_checkpoint"}),
    ({"from_checkpoint": True}, {"from_checkpoint"}),
    ({"from_checkpoint": 10}, {"from_checkpoint"}),
    ({"from_checkpoint": "10"}, {"from_checkpoint"}),
    ({"from_checkpoint": "Newest"}, {"from_checkpoint"}),
    ({"from_checkpoint": "newest\n"}, {"from_checkpoint"}),
    ({"from_checkpoint": ["newest"]}, {"from_checkpoint"}),
    ({"from_checkpoint": {"step": 10}}, {"from_checkpoint"}),
    ({"from_checkpoint": "step-10"}, {"from_checkpoint"}),
    ({"from_checkpoint": "step-*"}, {"from_checkpoint"}),
    ({"from_checkpoint": "step-00000010/../step-00000004"}, {"from_checkpoint"}),
    ({"from_checkpoint": "../../other/checkpoints/step-00000010"}, {"from_checkpoint"}),
    ({"from_checkpoint": "step-" + "1" * 500}, {"from_checkpoint"}),
    ({"from_checkpoint": "step-\u0660\u0660\u0660\u0660\u0660\u0660\u0661\u0660"}, {"from_checkpoint"}),
    ({"changes": None}, {"changes"}),
    ({"changes": []}, {"changes"}),
    ({"changes": "epochs"}, {"changes"}),
    ({"changes": True}, {"changes"}),
    ({"changes": {"epochs": [5]}}, {"epochs"}),
    ({"changes": {"epochs": "5"}}, {"epochs"}),
    ({"changes": {"changes": {"epochs": 5}}}, {"changes"}),
    ({"changes": {"early_stopping": {"patience": {"a": 1}}}}, {"early_stopping.patience"}),
    ({"changes": {f"field{number}": 1 for number in range(101)}}, {"changes"}),
    ({"changes": {"epochs": 10**30}}, {"epochs"}),
    ({"from_checkpoint": "newest", "changes": {"epochs": 10**30}}, {"epochs"}),
    ({"from_checkpoint": "newest", "changes": {"unknown": 1}}, {"unknown"}),
    ({"from_checkpoint": "newest", "changes": {"tags": "a"}}, {"tags"}),
    ({"from_checkpoint": "newest", "changes": {"epochs": 1}}, {"epochs"}),
    ({"from_checkpoint": "newest", "changes": {"epochs": 2}}, {"epochs"}),
    ({"from_checkpoint": "newest", "changes": {"max_steps": 10, "epochs": 2}}, {"max_steps", "epochs"}),
]


@pytest.mark.parametrize(("body", "named"), NO_RESTART)
def test_a_bad_restart_is_refused_and_leaves_nothing_behind(
    client: APIClient, parent: TrainingSession, body: Any, named: set[str]
) -> None:
    answer = post(client, parent, body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]["details"]) == named
    assert answer.json()["error"]["code"] == "INVALID_CONFIG"
    only_session()


def test_a_fork_has_the_checkpoint_and_the_history_up_to_it(client: APIClient, parent: TrainingSession) -> None:
    fork = restarted(client, parent, from_checkpoint="newest")
    assert (fork.parent, fork.parent_checkpoint, fork.state) == (parent, "step-00000010", State.QUEUED)
    assert (fork.current_epoch, fork.steps_done) == (2, 10)
    assert fork.transitions.get().reason == f"goes on from step-00000010 of {parent}"
    columns = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "timestamp")
    assert list(fork.metrics.values_list(*columns)) == list(parent.metrics.values_list(*columns))
    assert list(fork.points.values_list("step", flat=True)) == list(range(1, 11))
    assert [folder.name for folder in fork.directory.checkpoints.iterdir()] == ["step-00000010"]
    status = client.get(f"{BASE}/{fork}/status").json()
    expected = {"parent_session_id": str(parent), "parent_checkpoint": "step-00000010", "current_epoch": 2}
    assert status.items() >= expected.items()
    assert client.get(f"{BASE}/{fork}/history").json() == [
        entry | {"session_id": str(fork)} for entry in client.get(f"{BASE}/{parent}/history").json()
    ]


def test_a_fork_from_a_checkpoint_by_its_name(client: APIClient, parent: TrainingSession) -> None:
    fork = restarted(client, parent, from_checkpoint="step-00000004")
    assert (fork.parent_checkpoint, fork.current_epoch, fork.steps_done) == ("step-00000004", 1, 4)
    assert (fork.metrics.count(), fork.points.count()) == (1, 4)
    assert [folder.name for folder in fork.directory.checkpoints.iterdir()] == ["step-00000004"]


def test_a_fork_before_the_first_epoch_has_no_history(client: APIClient, make_session: MakeSession) -> None:
    session = make_session(state=State.FAILED)
    save_checkpoint(session, step=2, epoch=0)
    fork = restarted(client, session, from_checkpoint="newest")
    assert (fork.current_epoch, fork.steps_done, fork.metrics.count()) == (None, 2, 0)


def test_a_fork_outlives_its_parents_checkpoints(
    client: APIClient, parent: TrainingSession, settings: Settings
) -> None:
    fork = restarted(client, parent, from_checkpoint="newest")
    TrainingSession.objects.filter(pk=parent.pk).update(ended_at=timezone.now() - timedelta(days=8))
    assert clean_up_ended_sessions() == 1
    assert (fork.directory.checkpoints / "step-00000010" / STATE).read_bytes() == b"state after step 10"
    error = post(client, parent, {"from_checkpoint": "newest"}).json()["error"]
    assert error["code"] == "NO_CHECKPOINT"
    again = restarted(client, fork, from_checkpoint="newest")
    assert (again.parent, again.metrics.count(), again.points.count()) == (fork, 2, 10)


def test_a_fork_without_links_is_a_copy(
    client: APIClient, parent: TrainingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "this file system knows no links")

    monkeypatch.setattr("training.initial_weights.os.link", refuse)
    fork = restarted(client, parent, from_checkpoint="newest")
    copy, original = (session.directory.checkpoints / "step-00000010" / STATE for session in (fork, parent))
    assert copy.read_bytes() == original.read_bytes()
    assert copy.stat().st_ino != original.stat().st_ino


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda folder: (folder / STATE).write_bytes(b"statf" + (folder / STATE).read_bytes()[5:]),
    "the end is missing": lambda folder: (folder / STATE).write_bytes((folder / STATE).read_bytes()[:-1]),
    "the end is zeros": lambda folder: (folder / STATE).write_bytes((folder / STATE).read_bytes()[:-1] + b"\0"),
    "an empty state": lambda folder: (folder / STATE).write_bytes(b""),
    "no state": lambda folder: (folder / STATE).unlink(),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "an empty manifest": lambda folder: (folder / MANIFEST).write_bytes(b""),
    "a manifest of nothing": lambda folder: (folder / MANIFEST).write_text("[]"),
    "a manifest that is torn": lambda folder: (folder / MANIFEST).write_text('{"epoch": 2, "st'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_or_refused(
    client: APIClient, parent: TrainingSession, damage: Callable[[Path], object]
) -> None:
    newest, older = (parent.directory.checkpoints / f"step-{step:08d}" for step in (10, 4))
    damage(newest)
    error = restart_is_refused(client, parent, "NO_CHECKPOINT", from_checkpoint=newest.name)
    assert f"checkpoint {newest.name} of session {parent} is damaged" in error["message"]
    assert str(parent.directory.root) not in error["message"]
    fork = restarted(client, parent, from_checkpoint="newest")
    assert (fork.parent_checkpoint, fork.current_epoch) == (older.name, 1)
    assert [folder.name for folder in fork.directory.checkpoints.iterdir()] == [older.name]
    client.post(f"{BASE}/{fork}/stop")
    damage(older)
    answer = post(client, parent, {"from_checkpoint": "newest"})
    assert answer.json()["error"]["code"] == "NO_CHECKPOINT"
    assert TrainingSession.objects.count() == len(list(parent.directory.root.parent.iterdir())) == 2


def test_a_checkpoint_that_is_not_there_is_refused(client: APIClient, parent: TrainingSession) -> None:
    error = restart_is_refused(client, parent, "NO_CHECKPOINT", from_checkpoint="step-00000011")
    assert "is not there" in error["message"]


def test_a_session_without_checkpoints_cannot_be_forked(client: APIClient, make_session: MakeSession) -> None:
    for state in State:
        session = make_session(state=state)
        restart_is_refused(client, session, "NO_CHECKPOINT", from_checkpoint="newest")
        session.delete()


def test_what_nobody_has_read_of_the_journal_is_in_the_forks_history(
    client: APIClient, make_session: MakeSession
) -> None:
    """Also when no worker runs: the trainer wrote it before the checkpoint."""
    session = make_session(state=State.RUNNING, attempt=1)
    session.directory.create()
    journal = JournalWriter(session.directory.events, 1)
    for epoch in (1, 2):
        journal.epoch(epoch, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5)
        journal.points([4 * epoch], {"epoch/loss": [1.0]})
    journal.close()
    save_checkpoint(session, step=8, epoch=2)
    fork = restarted(client, session, from_checkpoint="newest")
    assert list(fork.metrics.values_list("epoch", flat=True)) == [1, 2]
    assert list(fork.points.values_list("step", flat=True)) == [4, 8]
    assert fork.current_epoch == 2


def test_a_fork_that_cannot_be_stored_leaves_nothing_behind(client: APIClient, parent: TrainingSession) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith("INSERT INTO points"):
            raise OperationalError("database or disk is full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        assert post(client, parent, {"from_checkpoint": "newest"}).status_code == 503
    assert only_session() == parent
    assert Metric.objects.count() == 2
    assert SeriesPoint.objects.count() == 11


OTHERS = [field for field in fields_of(TrainingConfig) if field.name not in CHANGEABLE]


@pytest.mark.parametrize("field", OTHERS, ids=lambda field: field.name)
def test_what_a_checkpoint_was_made_from_cannot_change(client: APIClient, parent: TrainingSession, field: Any) -> None:
    value = CONFIG.get(field.name) if field.required else default_of(field)
    error = restart_is_refused(
        client, parent, "INVALID_CONFIG", from_checkpoint="newest", changes={field.name: value, "epochs": 5}
    )
    assert error["details"].keys() == {field.name}
    assert "epochs, max_steps" in error["message"]


RULE = {"metric": "val_loss", "patience": 3, "min_delta": 0.0, "keep_best": True}


@pytest.mark.parametrize(
    ("before", "after", "is_fine"),
    [
        (None, RULE, True),
        (None, None, True),
        (RULE, RULE | {"patience": 9, "min_delta": 0.5}, True),
        (RULE, RULE | {"metric": "loss"}, False),
        (RULE, RULE | {"keep_best": False}, False),
        (RULE, {"patience": 9}, True),  # the others are the defaults
        (RULE, None, False),  # the weights of the best epoch are in the checkpoint
    ],
)
def test_early_stopping_can_wait_longer(
    client: APIClient, make_session: MakeSession, before: Any, after: Any, is_fine: bool
) -> None:
    session = make_session({"early_stopping": before}, state=State.STOPPED)
    save_checkpoint(session, step=4, epoch=1)
    body = {"from_checkpoint": "newest", "changes": {"early_stopping": after}}
    if is_fine:
        assert restarted(client, session, **body).config["early_stopping"] == (after and RULE | after)
    else:
        error = restart_is_refused(client, session, "INVALID_CONFIG", **body)
        assert error["details"].keys() == {"early_stopping"}


def test_what_is_gone_cannot_be_repeated(client: APIClient, parent: TrainingSession) -> None:
    parent.dataset.path.write_bytes(b"something else")
    for checkpoint in (None, "newest"):
        error = restart_is_refused(client, parent, "CANNOT_REPEAT", from_checkpoint=checkpoint)
        assert "is not what it was" in error["message"]
    parent.dataset.path.unlink()
    assert "is gone" in restart_is_refused(client, parent, "CANNOT_REPEAT")["message"]


# --- With the real engine ---

# All that must be right for a resume to be exact.
EXACT = {
    "optimizer": "sgd",
    "scheduler": "cosine",
    "model_args": {"width": 8, "dropout": 0.3},
    "gradient_accumulation": 2,
    "log_every_steps": 1,
    "keep_checkpoints": 1000,
}


def result(session: TrainingSession) -> Any:
    """All that a session comes to."""
    session = TrainingSession.objects.select_related("model").get(pk=session.pk)
    assert (session.state, session.error_message) == (State.COMPLETED, None)
    assert session.model is not None
    history = session.metrics.order_by("epoch").values_list("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
    points = session.points.exclude(name="samples_per_second").order_by("name", "step")
    return session.model.sha256, list(history), list(points.values_list("name", "step", "value")), session.report


@pytest.mark.slow
def test_a_fork_ends_as_its_parent_did(client: APIClient, make_session: MakeSession) -> None:
    """From the middle of an epoch, and inside a step."""
    parent = make_session({**EXACT, "checkpoint_every_seconds": 0.0, "epochs": 4})
    answer_bell()
    checkpoints = sorted(folder.name for folder in parent.directory.checkpoints.iterdir())
    middle = checkpoints[len(checkpoints) // 2]
    fork = restarted(client, parent, from_checkpoint=middle)
    answer_bell()
    assert result(fork) == result(parent)
    status = client.get(f"{BASE}/{fork}/status").json()
    expected = {"attempt": 1, "resumed_from": middle, "parent_checkpoint": middle, "progress": 1.0, "current_epoch": 4}
    assert status.items() >= expected.items()


def interrupt(session: TrainingSession, action: Action) -> None:
    """Let the session, which is the next of the queue, train for some epochs, and ask this of it."""
    assert TrainingSession.objects.claim_next(by="test") == session
    session.refresh_from_db()
    with supervised(session) as supervisor:
        deadline = time.monotonic() + 120
        while supervisor.poll() and time.monotonic() < deadline:
            if (supervisor.session.current_epoch or 0) >= 10:
                ASK[action](supervisor.session, "test")
            time.sleep(0.002)
    session.refresh_from_db()
    assert 10 <= (session.current_epoch or 0) < session.total_epochs


@pytest.mark.slow
def test_whatever_ends_a_session_it_goes_on_as_if_nobody_had(client: APIClient, make_session: MakeSession) -> None:
    config = {**EXACT, "epochs": 300, "keep_checkpoints": 2}
    undisturbed = make_session(config)
    answer_bell()
    expected = result(undisturbed)

    paused = make_session(config)
    interrupt(paused, Action.PAUSE)
    assert (paused.state, paused.wish, paused.attempt) == (State.PAUSED, "", 1)
    assert client.post(f"{BASE}/{paused}/resume").status_code == 200
    answer_bell()
    assert result(paused) == expected
    assert client.get(f"{BASE}/{paused}/status").json()["resumed_from"]
    assert [step.to_state for step in paused.transitions.all()] == [
        "running",
        "paused",
        "queued",
        "running",
        "completed",
    ]

    for action in (Action.STOP, Action.KILL):
        stopped = make_session(config)
        interrupt(stopped, action)
        assert (stopped.state, stopped.failure_code) == (State.STOPPED, "")
        # Whoever is stopped has saved; whoever is killed has the checkpoint of the first epoch.
        fork = restarted(client, stopped, from_checkpoint="newest", changes={"notes": "once more"})
        assert fork.current_epoch == (stopped.current_epoch if action == Action.STOP else 1)
        answer_bell()
        assert result(fork) == expected

    longer = restarted(client, fork, from_checkpoint="newest", changes={"epochs": 302})
    answer_bell()
    longer.refresh_from_db()
    assert (longer.state, longer.current_epoch, longer.metrics.count()) == (State.COMPLETED, 302, 302)

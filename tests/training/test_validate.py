"""A validation refuses what a start refuses, says what a session would cost, and queues nothing."""

import json
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from registry.models import Dataset, Model
from tests.training.conftest import CONFIG, MakeSession
from training import estimate
from training.fields import fields_of
from training.models import TrainingSession
from training.spec import TrainingConfig
from training.state import State

BASE = "/api/v1/training"

pytestmark = pytest.mark.django_db

MEASURED = {
    "device": "cpu with 1 thread",
    "precision": "fp32",
    "parameters": 1000,
    "steps_per_epoch": 10,
    "total_steps": 30,
    "training_samples": 100,
    "validation_samples": 25,
    "normalises_batches": False,
    "seconds_per_step": 0.5,
    "seconds_per_validation": 2.0,
    "memory_bytes": {"data": 1, "model": 2, "optimizer": 3, "total": 4},
    "checkpoint_bytes": 1000,
    "weights_bytes": 100,
}


@pytest.fixture
def play_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Puts a program in place of the engine's."""

    def play(program: str) -> None:
        path = tmp_path / "engine.py"
        path.write_text("import json, os, sys, time\nspec = json.load(sys.stdin)\n" + textwrap.dedent(program))
        monkeypatch.setattr(estimate, "COMMAND", [sys.executable, str(path)])

    return play


def play_measured(**changes: Any) -> str:
    return f"print({json.dumps({'estimate': MEASURED | changes})!r})"


def validate(client: APIClient, **changes: Any) -> Any:
    return client.post(f"{BASE}/validate", CONFIG | changes, format="json")


@pytest.mark.slow
def test_the_first_steps_are_really_made(client: APIClient, dataset: Dataset) -> None:
    answer = validate(client, optimizer="sgd", gradient_accumulation=2)
    assert answer.status_code == 200, answer.json()
    body = answer.json()
    # Of 40 samples 32 are learnt from: four batches, two to a step, three epochs.
    assert (body["steps_per_epoch"], body["total_steps"]) == (2, 6)
    assert (body["parameters"] or 0) > 4 * 2
    assert body["device"].startswith("cpu with")
    assert (body["config"]["precision"], body["config"]["momentum"], body["config"]["weight_decay"]) == ("fp32", 0.9, 0)
    assert None not in {body["config"][name] for name in ("seed", "num_threads", "device", "checkpoint_every_seconds")}
    memory = body["memory_bytes"]
    assert memory["data"] == 40 * 4 * 4 + 40 * 8
    assert memory["model"] >= body["parameters"] * 4
    assert memory["optimizer"] >= body["parameters"] * 4  # sgd keeps a momentum for each
    assert memory["total"] > 50 << 20
    assert 0 < body["seconds_per_step"] < 5
    assert body["estimated_seconds"] > body["total_steps"] * body["seconds_per_step"]
    assert any("Only 8 samples are held back" in warning for warning in body["warnings"])
    assert not TrainingSession.objects.exists()


@pytest.mark.slow
def test_what_only_the_trainer_finds_wrong_is_refused_under_a_field(client: APIClient, dataset: Dataset) -> None:
    Model.objects.store("no-weights", [b"these are none"])
    answer = validate(client, initial_weights="no-weights")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_CONFIG"
    assert "no-weights" in answer.json()["detail"]


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"dataset_name": "unknown"}, {"model_architecture": "cnn"}, {"x": 1}]
)
def test_what_a_start_refuses_is_refused_in_the_same_words(
    client: APIClient, dataset: Dataset, changes: dict[str, Any]
) -> None:
    start = client.post(f"{BASE}/start", CONFIG | changes, format="json")
    assert validate(client, **changes).json() == start.json()
    assert start.status_code == 400


def test_the_cost_is_put_together_from_what_was_measured(client: APIClient, dataset: Dataset, play_engine: Any) -> None:
    play_engine(play_measured())
    body = validate(client, keep_checkpoints=3).json()
    assert body["config"].keys() == {field.name for field in fields_of(TrainingConfig)}
    assert body["estimated_seconds"] == 30 * 0.5 + 3 * 2.0
    assert body["disk_bytes"] == 4 * 1000 + 2 * 100
    assert body["memory_bytes"] == MEASURED["memory_bytes"]
    assert body["warnings"] == []
    assert validate(client, max_seconds=4).json()["estimated_seconds"] == 4
    assert not TrainingSession.objects.exists()


@pytest.mark.parametrize(
    ("changes", "measured", "warning"),
    [
        ({"batch_size": 200}, {}, "batch_size 200 is more than the 100 training samples"),
        ({}, {"validation_samples": 3}, "Only 3 samples are held back"),
        ({"batch_size": 1}, {"normalises_batches": True}, "normalises over batches"),
        ({"learning_rate": 0.1}, {}, "learning_rate 0.1 is high for adam"),
        ({"warmup_steps": 30}, {}, "learning_rate is never reached"),
        ({}, {"checkpoint_bytes": 10**18}, "MB of disk"),
        ({}, {"memory_bytes": {"data": 1, "model": 1, "optimizer": 1, "total": 10**15}}, "MB of memory"),
    ],
)
def test_a_surprise_is_a_warning(
    client: APIClient,
    dataset: Dataset,
    play_engine: Any,
    changes: dict[str, Any],
    measured: dict[str, Any],
    warning: str,
) -> None:
    play_engine(play_measured(**measured))
    (said,) = validate(client, **changes).json()["warnings"]
    assert warning in said


def test_a_check_alone_measures_nothing_and_waits_for_nobody(
    client: APIClient, make_session: MakeSession, play_engine: Any
) -> None:
    play_engine("raise SystemExit('nobody is to start this')")
    make_session()
    with estimate._turn:
        answer = client.post(f"{BASE}/validate?measure=false", CONFIG | {"seed": 7}, format="json")
    assert answer.status_code == 200
    body = answer.json()
    assert is_empty(body)
    assert body["config"]["seed"] == 7
    assert body["config"]["num_threads"] >= 1
    assert body["warnings"] == ["The session would wait: 1 session is queued before it."]
    assert TrainingSession.objects.count() == 1


def test_a_check_alone_refuses_what_a_start_refuses(client: APIClient, dataset: Dataset) -> None:
    wrong = CONFIG | {"epochs": 0, "model_architecture": "cnn"}
    answer = client.post(f"{BASE}/validate?measure=false", wrong, format="json")
    assert answer.status_code == 400
    assert answer.json() == client.post(f"{BASE}/start", wrong, format="json").json()


@pytest.mark.parametrize("text", ["", "0", "False", "no"])
def test_whether_to_measure_is_true_or_false(client: APIClient, dataset: Dataset, text: str) -> None:
    answer = client.post(f"{BASE}/validate?measure={text}", CONFIG, format="json")
    assert answer.status_code == 400
    assert answer.json()["error"]["details"] == {"measure": ["must be true or false"]}


def test_the_queue_is_a_warning(client: APIClient, make_session: MakeSession, play_engine: Any) -> None:
    play_engine(play_measured())
    make_session(state=State.RUNNING)
    make_session()
    make_session({"priority": 5})
    first, second = validate(client).json()["warnings"]
    assert first.startswith("1 session is running now")
    assert second == "The session would wait: 2 sessions are queued before it."
    assert validate(client, priority=1).json()["warnings"][1].endswith("1 session is queued before it.")


def is_empty(body: dict[str, Any]) -> bool:
    return all(body[name] is None for name in (*estimate.MEASURED, "estimated_seconds", "disk_bytes"))


def test_steps_that_take_too_long_are_ended_and_leave_nothing(
    client: APIClient, dataset: Dataset, play_engine: Any, settings: Settings, tmp_path: Path
) -> None:
    settings.VALIDATE_SECONDS = 1.0
    pid_file = tmp_path / "pids"
    play_engine(
        f"""
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open({str(pid_file)!r}, "w").write(f"{{os.getpid()}} {{child.pid}} {{sys.argv[1]}}")
        time.sleep(60)
        """
    )
    body = validate(client).json()
    assert is_empty(body)
    assert "took longer than 1 seconds" in body["warnings"][0]
    *pids, folder = pid_file.read_text().split()
    deadline = time.monotonic() + 5
    while any(psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != "zombie" for pid in pids):
        assert time.monotonic() < deadline
    assert not Path(folder).exists()


def test_a_process_that_dies_is_a_warning(client: APIClient, dataset: Dataset, play_engine: Any) -> None:
    play_engine("os.kill(os.getpid(), 9)")
    body = validate(client).json()
    assert is_empty(body)
    assert "died" in body["warnings"][0]


@pytest.mark.parametrize(
    ("code", "field"),
    [("bad_config", "non_field_errors"), ("host_oom", "batch_size"), ("user_code", "model_architecture")],
)
def test_a_failure_of_the_clients_making_is_a_400(
    client: APIClient, dataset: Dataset, play_engine: Any, code: str, field: str
) -> None:
    play_engine(f"print(json.dumps({{'failure': {{'code': {code!r}, 'message': 'Do this.'}}}})); sys.exit(1)")
    answer = validate(client)
    assert answer.status_code == 400
    assert answer.json()["error"]["details"] == {field: ["Do this."]}


def test_a_failure_of_the_machine_is_a_warning(client: APIClient, dataset: Dataset, play_engine: Any) -> None:
    play_engine("print(json.dumps({'failure': {'code': 'disk_full', 'message': 'The disk is full.'}})); sys.exit(1)")
    body = validate(client).json()
    assert is_empty(body)
    assert body["warnings"] == ["Nothing was measured: The disk is full."]


def test_one_at_a_time_and_the_others_wait_or_go(
    client: APIClient, dataset: Dataset, play_engine: Any, settings: Settings
) -> None:
    play_engine(play_measured())
    settings.VALIDATE_SECONDS = 1.0
    assert estimate._turn.acquire()
    try:
        answer = validate(client)
    finally:
        estimate._turn.release()
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["error"]["code"] == "THROTTLED"
    assert estimate._turn.acquire()
    threading.Timer(0.1, estimate._turn.release).start()
    assert validate(client).status_code == 200


def test_the_process_gets_the_spec_and_no_secrets(
    client: APIClient, dataset: Dataset, play_engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_KEY", "secret-one")
    monkeypatch.setenv("API_KEYS", "secret-two")
    Model.objects.store("base", [b"weights"])
    seen = tmp_path / "seen"
    play_engine(
        f"""
        held = open(spec['initial_weights']['path']).read()
        json.dump([dict(os.environ), spec, held], open({str(seen)!r}, 'w'))
        {play_measured()}
        """
    )
    assert validate(client, initial_weights="base").status_code == 200
    environment, spec, held = json.loads(seen.read_text())
    assert "secret-" not in str(environment)
    assert spec["dataset"]["sha256"] == dataset.sha256
    assert held == "weights"

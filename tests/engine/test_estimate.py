"""The estimate makes a session's first steps, and says what they took."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import MakeSession, classes, images, numbers, rows
from training.engine.estimate import estimate
from training.engine.failures import TrainingFailure
from training.spec import SessionSpec


def estimated(make_session: MakeSession, tmp_path: Path, **options: Any) -> dict[str, Any]:
    return estimate(SessionSpec.read(make_session(**options).spec), tmp_path / "aside")


@pytest.mark.parametrize(
    ("changes", "steps_per_epoch", "total_steps"),
    [
        ({}, 3, 6),  # of 24 samples 19 are learnt from, in batches of 8, 8 and 3
        ({"gradient_accumulation": 2}, 2, 4),
        ({"gradient_accumulation": 100}, 1, 2),
        ({"batch_size": 100}, 1, 2),
        ({"max_steps": 1}, 3, 1),
        ({"max_steps": 4, "epochs": 5}, 3, 4),
        ({"max_seconds": 1.0}, 3, 6),
        ({"scheduler": "one_cycle"}, 3, 6),
        ({"precision": "bf16", "gradient_clip": 1.0, "log_every_steps": 1}, 3, 6),
    ],
)
def test_steps_are_counted_and_timed(
    make_session: MakeSession, tmp_path: Path, changes: dict[str, Any], steps_per_epoch: int, total_steps: int
) -> None:
    found = estimated(make_session, tmp_path, x=rows(), y=classes(), **changes)
    assert (found["steps_per_epoch"], found["total_steps"]) == (steps_per_epoch, total_steps)
    assert (found["training_samples"], found["validation_samples"]) == (19, 5)
    assert 0 < found["seconds_per_step"] < 10
    assert 0 < found["seconds_per_validation"] < 10


def test_sizes_are_those_of_the_tensors(make_session: MakeSession, tmp_path: Path) -> None:
    found = estimated(make_session, tmp_path, x=images(), y=classes(), model_architecture="cnn")
    parameters = found["parameters"]
    memory = found["memory_bytes"]
    assert memory["data"] == 24 * 64 + 24 * 8
    assert parameters * 4 <= memory["model"] < parameters * 5
    assert parameters * 8 <= memory["optimizer"] < parameters * 9  # adam keeps two numbers for each
    assert memory["total"] > memory["model"]
    assert found["checkpoint_bytes"] == memory["model"] + memory["optimizer"]
    assert found["normalises_batches"]


def test_an_estimate_leaves_no_weights_and_no_checkpoints(make_session: MakeSession, tmp_path: Path) -> None:
    estimated(make_session, tmp_path, x=rows(), y=numbers(), loss_function="mse", checkpoint_every_seconds=0.0)
    aside = tmp_path / "aside"
    assert not list((aside / "weights").iterdir())
    assert not list((aside / "checkpoints").iterdir())


def test_what_the_trainer_refuses_is_refused(make_session: MakeSession, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="freeze"):
        estimated(make_session, tmp_path, x=rows(), y=classes(), freeze=["*"])


@pytest.mark.slow
def test_the_process_reads_a_spec_and_prints_json(make_session: MakeSession, tmp_path: Path) -> None:
    directory = make_session(x=rows(), y=classes())
    command = [sys.executable, "-m", "training.engine.estimate", str(tmp_path / "aside")]

    def ask(spec: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        answer = subprocess.run(command, input=json.dumps(spec).encode(), stdout=subprocess.PIPE)
        found: dict[str, Any] = json.loads(answer.stdout)
        return answer.returncode, found

    spec = json.loads(directory.spec.read_text())
    code, found = ask(spec)
    assert code == 0
    assert found["estimate"]["total_steps"] == 6
    spec["dataset"]["sha256"] = "0" * 64
    code, found = ask(spec)
    assert code == 1
    assert found["failure"]["code"] == "bad_dataset"

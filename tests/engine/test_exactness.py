"""Interrupted or killed anywhere and resumed, a session ends with the same bytes, metrics, points and report."""

import itertools
import logging
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.conftest import MakeSession, classes, images, numbers, rows
from tests.engine.test_checkpoint import DAMAGES_OF_BYTES, FILES
from tests.engine.test_trainer import events, metrics, run, stop_after
from training.engine import trainer as module
from training.journal import SessionDirectory
from training.spec import OPTIMIZERS, SCHEDULERS

SMALL_MLP = {"width": 8, "depth": 2, "dropout": 0.3}
SMALL_CNN = {"model_architecture": "cnn", "model_args": {"width": 4, "depth": 2, "dropout": 0.3}}

Point = tuple[int, str]


class Killed(BaseException):
    """What ends a trainer here as kill -9 does: nothing is saved, nothing is said."""


def points(directory: SessionDirectory) -> dict[Point, float | None]:
    """All step series. What is told again after a resume must be told the same; only the speed may differ."""
    found: dict[Point, float | None] = {}
    for event in events(directory, "points"):
        for name, values in event["series"].items():
            for step, value in zip(event["steps"], values, strict=True):
                if name != "samples_per_second":
                    assert found.setdefault((step, name), value) == value
    return found


def result(directory: SessionDirectory) -> Any:
    """All that a session comes to."""
    (report,) = events(directory, "report")
    end = events(directory, "end")[-1]
    assert end["ending"] == "completed"
    return end["sha256"], metrics(directory), points(directory), report["report"]


def is_over(directory: SessionDirectory) -> bool:
    ends = events(directory, "end")
    return bool(ends) and ends[-1]["ending"] == "completed"


def spend_random_numbers(count: int) -> None:
    """A new process finds the generators in another state."""
    torch.rand(count), np.random.rand(count), random.random()


def interrupted(directory: SessionDirectory, looks: Iterable[int]) -> SessionDirectory:
    """Run a session to its end, each attempt stopped when it looks for a stop for the n-th time; the last by nobody."""
    for attempt, count in enumerate(looks, start=1):
        if is_over(directory):
            return directory
        spend_random_numbers(attempt)
        run(directory, stop_after(count), attempt)
    if not is_over(directory):
        run(directory, attempt=1000)
    return directory


def kill_after(count: int) -> Callable[[], bool]:
    left = iter(range(count - 1, -1, -1))

    def look() -> bool:
        if next(left) == 0:
            raise Killed
        return False

    return look


def killed(directory: SessionDirectory, looks: Iterable[int]) -> SessionDirectory:
    """As interrupted(), but without a chance to save."""
    for attempt, count in enumerate(looks, start=1):
        if is_over(directory):
            return directory
        spend_random_numbers(attempt)
        try:
            run(directory, kill_after(count), attempt)
        except Killed:
            continue
    if not is_over(directory):
        run(directory, attempt=1000)
    return directory


def undisturbed(directory: SessionDirectory) -> SessionDirectory:
    run(directory)
    return directory


AFTER_EVERY_BATCH = (1,) * 100
NAMES = map("session-{}".format, itertools.count())


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_with_every_scheduler(make_session: MakeSession, optimizer: str, scheduler: str) -> None:
    def session(name: str) -> SessionDirectory:
        return make_session(
            name,
            x=rows(),
            y=classes(),
            model_args=SMALL_MLP,
            optimizer=optimizer,
            weight_decay=0.01,
            scheduler=scheduler,
            scheduler_args={"every_epochs": 1, "patience": 0},
            warmup_steps=0 if scheduler == "one_cycle" else 2,
            learning_rate=0.01,
            log_every_steps=1,
        )

    whole = result(undisturbed(session("whole")))
    assert result(interrupted(session("broken"), AFTER_EVERY_BATCH)) == whole


FEATURES: dict[str, dict[str, Any]] = {
    "accumulation": {"gradient_accumulation": 2, "batch_size": 4, "log_every_steps": 1},
    "accumulation over more batches than an epoch has": {"gradient_accumulation": 100, "log_every_steps": 1},
    "clipping": {"gradient_clip": 0.05, "log_every_steps": 1},
    "batch normalisation and dropout": {"x": images(), **SMALL_CNN},
    "accumulation over batch normalisation": {"x": images(), **SMALL_CNN, "gradient_accumulation": 2, "batch_size": 4},
    "augmented images": {"x": images(channels=3), **SMALL_CNN, "augment": "crop_flip", "epochs": 3},
    "the best weights": {
        "early_stopping": {"metric": "val_accuracy", "patience": 2},
        "epochs": 8,
        "learning_rate": 0.1,
    },
    "bf16": {"precision": "bf16", "optimizer": "sgd"},
    "bf16 convolutions": {"x": images(), **SMALL_CNN, "precision": "bf16"},
    "label smoothing and class weights": {"label_smoothing": 0.1, "class_weights": "balanced"},
    "a regression": {"y": numbers(), "loss_function": "mse", "log_every_steps": 1},
    "a plateau": {"scheduler": "plateau", "scheduler_args": {"patience": 0}, "epochs": 5, "learning_rate": 0.1},
    "a limit of steps": {"max_steps": 5, "epochs": 10, "scheduler": "cosine"},
    "a limit of steps inside an accumulated epoch": {"max_steps": 3, "gradient_accumulation": 2, "batch_size": 4},
    "deterministic algorithms": {"x": images(), **SMALL_CNN, "deterministic": True},
    "one checkpoint": {"keep_checkpoints": 1, "gradient_accumulation": 3, "batch_size": 4},
}


@pytest.mark.parametrize("disturbed", [interrupted, killed])
@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature(
    make_session: MakeSession, feature: str, disturbed: Callable[[SessionDirectory, Iterable[int]], SessionDirectory]
) -> None:
    options = {"x": rows(), "y": classes(), "model_args": SMALL_MLP, "epochs": 2, **FEATURES[feature]}
    # A kill loses what came after the last checkpoint: only what is saved by time gets on.
    whole = result(undisturbed(make_session("whole", **options)))
    broken = make_session("broken", **options, checkpoint_every_seconds=0.0 if disturbed is killed else 60.0)
    looks = AFTER_EVERY_BATCH if disturbed is interrupted else (2,) * 100
    assert result(disturbed(broken, looks)) == whole
    torch.use_deterministic_algorithms(False)


CONFIGURATIONS = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(OPTIMIZERS),
        "scheduler": st.sampled_from(SCHEDULERS),
        "batch_size": st.integers(1, 9),
        "epochs": st.integers(1, 3),
        "gradient_accumulation": st.integers(1, 4),
        "gradient_clip": st.none() | st.just(0.1),
        "precision": st.sampled_from(["fp32", "bf16"]),
        "max_steps": st.none() | st.integers(1, 12),
        "early_stopping": st.none() | st.just({"patience": 1}) | st.just({"metric": "accuracy", "keep_best": False}),
        "keep_checkpoints": st.integers(1, 2),
        "log_every_steps": st.integers(1, 3),
        "validation_split": st.sampled_from([0.2, 0.6]),
    }
)


@settings(max_examples=20)
@given(
    config=CONFIGURATIONS,
    looks=st.lists(st.integers(1, 7), max_size=6),
    disturbed=st.sampled_from([interrupted, killed]),
)
def test_any_configuration_disturbed_anywhere(
    make_session: MakeSession,
    config: dict[str, Any],
    looks: list[int],
    disturbed: Callable[[SessionDirectory, Iterable[int]], SessionDirectory],
) -> None:
    options = {"x": rows(), "y": classes(), "model_args": SMALL_MLP, "learning_rate": 0.01, **config}
    whole = result(undisturbed(make_session(next(NAMES), **options)))
    broken = make_session(next(NAMES), **options, checkpoint_every_seconds=0.0)
    assert result(disturbed(broken, looks)) == whole


@settings(max_examples=12)
@given(damage=st.sampled_from(DAMAGES_OF_BYTES), where=st.floats(0, 1, exclude_max=True), file=st.sampled_from(FILES))
def test_a_damaged_checkpoint_costs_work_and_nothing_else(
    make_session: MakeSession, caplog: pytest.LogCaptureFixture, damage: Any, where: float, file: str
) -> None:
    options = {"x": rows(), "y": classes(), "model_args": SMALL_MLP, "epochs": 3}
    whole, broken = (make_session(next(NAMES), **options) for _ in range(2))
    run(broken, stop_after(5))
    place = broken.checkpoints / "step-00000005" / file
    content = place.read_bytes()
    place.write_bytes(damage(content, where))
    caplog.clear()
    run(broken, attempt=2)
    said = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    if events(broken, "start")[1]["resumed_from"] == "step-00000005":
        assert said == []  # nothing was changed by that
    else:
        assert events(broken, "start")[1]["resumed_from"] == "step-00000003"
        assert len(said) == 1
        assert "checkpoint skipped: step-00000005" in said[0]
    assert result(broken) == result(undisturbed(whole))


def test_a_stop_during_validation_is_followed_and_the_validation_done_again(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVALUATION_BATCHES", 1)
    options = {"x": rows(), "y": classes(), "validation_split": 0.5, "batch_size": 4, "epochs": 2}
    whole = make_session("whole", **options)
    run(whole)
    broken = make_session("broken", **options)
    run(broken, stop_after(4))  # 3 batches to learn from, then the first of 3 to validate with
    assert metrics(broken) == {}
    assert [(event["epoch"], event["step"]) for event in events(broken, "checkpoint")] == [(0, 3)]
    run(broken, attempt=2)
    assert result(broken) == result(whole)
    assert [event["epoch"] for event in events(broken, "epoch")] == [1, 2]


def test_a_limit_of_time_cuts_an_epoch_short_and_counts_all_attempts(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 0.1)  # each look at the clock takes a tenth of a second
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    directory = make_session(
        x=rows(), y=classes(), epochs=1000, max_seconds=5.0, gradient_accumulation=2, checkpoint_every_seconds=1e9
    )
    run(directory, stop_after(4))
    run(directory, stop_after(4), attempt=2)
    run(directory, attempt=3)
    assert is_over(directory)
    last = max(metrics(directory))
    assert 1 < last < 20
    seconds = [torch.load(path / "state.pt")["progress"]["seconds"] for path in directory.checkpoints.iterdir()]
    assert all(0 < value < 5 for value in seconds)


def test_another_number_of_threads_is_said_to_make_a_difference(
    make_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=3)
    run(directory, stop_after(4))
    spec = directory.spec.read_text()
    directory.spec.write_text(spec.replace('"num_threads": 1', '"num_threads": 2'))
    run(directory, attempt=2)
    (warning,) = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert "threads 1 became 2" in warning
    assert is_over(directory)

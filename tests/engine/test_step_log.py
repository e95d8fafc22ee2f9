"""The step series: which steps, what about them, and that they are in the journal in time."""

import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.conftest import MakeSession, classes, numbers, rows
from tests.engine.test_exactness import points
from tests.engine.test_trainer import events, metrics, run, stop_after
from training.engine.step_log import FLUSH_POINTS, StepLog
from training.journal import JournalWriter, SessionDirectory, read_events

SERIES = {"train/loss", "learning_rate", "gradient_norm", "samples_per_second"}


def series(directory: SessionDirectory, name: str) -> dict[int, float | None]:
    return {
        step: value
        for event in events(directory, "points")
        if name in event["series"]
        for step, value in zip(event["steps"], event["series"][name], strict=True)
    }


def test_every_nth_step_has_a_point_of_each_series(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=4, log_every_steps=5)
    run(directory)
    for name in SERIES:
        found = series(directory, name)
        assert list(found) == [5, 10]
        assert all(value is not None and value > 0 for value in found.values())


def test_the_mean_of_the_steps_losses_is_the_epochs(make_session: MakeSession) -> None:
    directory = make_session(x=rows(20), y=numbers(20), loss_function="mse", batch_size=4, epochs=1, log_every_steps=1)
    run(directory)
    losses = series(directory, "train/loss")
    assert list(losses) == [1, 2, 3, 4]
    assert sum(losses.values()) / 4 == pytest.approx(metrics(directory)[1][0])  # type: ignore[arg-type]


def test_the_loss_and_the_gradient_of_a_step_are_those_of_all_its_samples(make_session: MakeSession) -> None:
    """However the samples of a step are cut into batches, the last one shorter: the same loss, gradient, weights."""
    options = {"x": rows(24), "y": classes(24), "log_every_steps": 1, "optimizer": "sgd", "gradient_clip": 1.0}
    options |= {"epochs": 5, "model_args": {"dropout": 0.0}}
    at_once = make_session("at-once", batch_size=32, **options)
    in_parts = make_session("in-parts", batch_size=4, gradient_accumulation=5, **options)
    for directory in (at_once, in_parts):
        run(directory)
        assert list(series(directory, "train/loss")) == [1, 2, 3, 4, 5]
    for name in ("train/loss", "gradient_norm", "epoch/loss", "epoch/val_loss"):
        assert series(in_parts, name) == pytest.approx(series(at_once, name), rel=1e-4)
    weights = [torch.load(directory.weights / "model.pt") for directory in (at_once, in_parts)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value)


def test_a_short_last_window_is_a_step_of_its_own(make_session: MakeSession) -> None:
    directory = make_session(x=rows(24), y=classes(24), batch_size=4, gradient_accumulation=2, epochs=2)
    run(directory, stop_after(9))
    assert [event["step"] for event in events(directory, "checkpoint")] == [3, 5]  # 5 batches are 3 steps


def test_clipping_bounds_the_step_and_not_the_norm_that_is_told(make_session: MakeSession) -> None:
    options = {"x": rows(), "y": classes(), "optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
    directory = make_session(**options, gradient_clip=1e-6, epochs=1, log_every_steps=1, max_steps=1)
    other = make_session("other", **options, gradient_clip=2e-6, epochs=1, log_every_steps=1, max_steps=1)
    for session in (directory, other):
        run(session)
    assert series(directory, "gradient_norm") == series(other, "gradient_norm")
    assert series(directory, "gradient_norm")[1] > 0.01  # type: ignore[operator]
    one, two = (torch.load(session.weights / "model.pt") for session in (directory, other))
    apart = math.sqrt(sum((one[name].double() - two[name].double()).square().sum().item() for name in one))
    assert apart == pytest.approx(1e-6, rel=0.05)


def test_the_learning_rate_is_the_one_the_step_was_taken_with(make_session: MakeSession) -> None:
    directory = make_session(
        x=rows(), y=classes(), epochs=2, log_every_steps=1, learning_rate=0.1, warmup_steps=4, scheduler="step"
    )
    run(directory)
    rates = series(directory, "learning_rate")
    assert list(rates.values()) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_the_ends_of_epochs_are_points_too(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=2)
    run(directory)
    for place, name in enumerate(("loss", "accuracy", "val_loss", "val_accuracy")):
        expected = {3 * epoch: values[place] for epoch, values in metrics(directory).items()}
        assert series(directory, f"epoch/{name}") == expected


def test_no_checkpoint_knows_of_points_that_are_missing(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=3, log_every_steps=1, checkpoint_every_seconds=0.0)
    run(directory)
    told = 0
    for event in read_events(directory.events, 0).events:
        if event["event"] == "points":
            told = max(told, *event["steps"])
        if event["event"] == "checkpoint":
            assert event["step"] <= told
    assert told == 9


def test_a_resume_tells_no_step_in_another_way(make_session: MakeSession) -> None:
    whole = make_session("whole", x=rows(), y=classes(), epochs=3, log_every_steps=2)
    broken = make_session("broken", x=rows(), y=classes(), epochs=3, log_every_steps=2)
    run(whole)
    run(broken, stop_after(5))
    run(broken, attempt=2)
    assert points(broken) == points(whole)


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    writer = JournalWriter(tmp_path / "events.jsonl", attempt=1)
    yield writer
    writer.close()


def steps_written(tmp_path: Path) -> list[list[int]]:
    return [event["steps"] for event in read_events(tmp_path / "events.jsonl", 0).events]


def test_points_are_written_when_they_are_many(
    journal: JournalWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 1e-6)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    log = StepLog(journal, every_steps=1, loss_unit=1.0)
    for step in range(1, FLUSH_POINTS + 2):
        log.add(step, torch.tensor(0.5), torch.tensor(1.0), 0.1)
    assert [len(steps) for steps in steps_written(tmp_path)] == [FLUSH_POINTS]
    log.flush()
    log.flush()
    assert [len(steps) for steps in steps_written(tmp_path)] == [FLUSH_POINTS, 1]


def test_points_are_written_when_they_are_a_second_old(
    journal: JournalWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 0.4)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    log = StepLog(journal, every_steps=1, loss_unit=1.0)
    for step in range(1, 10):
        log.add(step, torch.tensor(0.5), torch.tensor(1.0), 0.1)
    assert steps_written(tmp_path) == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_the_speed_is_that_of_the_samples_since_the_point_before(
    journal: JournalWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 0.5)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    log = StepLog(journal, every_steps=1, loss_unit=1.0)
    log.count(10)
    log.add(1, torch.tensor(0.5), torch.tensor(1.0), 0.1)
    log.count(5)
    log.add(2, torch.tensor(0.5), torch.tensor(1.0), 0.1)
    log.flush()
    (event,) = read_events(tmp_path / "events.jsonl", 0).events
    assert event["series"]["samples_per_second"] == [20.0, 10.0]


def test_what_is_no_number_is_null(journal: JournalWriter, tmp_path: Path) -> None:
    log = StepLog(journal, every_steps=1, loss_unit=2.0)
    log.count(1)
    for step, value in enumerate((1.5, math.inf, math.nan), start=1):
        log.add(step, torch.tensor(value), torch.tensor(value), 0.1)
    log.flush()
    (event,) = read_events(tmp_path / "events.jsonl", 0).events
    assert event["series"]["train/loss"] == [3.0, None, None]
    assert event["series"]["gradient_norm"] == [1.5, None, None]

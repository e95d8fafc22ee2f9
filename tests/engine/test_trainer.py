"""The loop, in this process: what it learns, records, refuses, and that any interruption is exact."""

import logging
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.conftest import DIGITS, MakeSession, classes, images, numbers, rows
from training.engine.__main__ import train
from training.engine.checkpoint import find_newest
from training.engine.failures import TrainingFailure, as_failure
from training.journal import JournalWriter, SessionDirectory, read_events
from training.spec import CLASSIFICATION_LOSSES, LOSS_FUNCTIONS
from training.spec import OPTIMIZERS as OPTIMIZER_NAMES


def run(directory: SessionDirectory, should_stop: Callable[[], bool] = lambda: False, attempt: int = 1) -> None:
    journal = JournalWriter(directory.events, attempt)
    try:
        train(directory, journal, should_stop)
    finally:
        journal.close()


def events(directory: SessionDirectory, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(directory.events, 0).events if event["event"] == kind]


def metrics(directory: SessionDirectory) -> dict[int, tuple[float, ...]]:
    keys = ("loss", "accuracy", "val_loss", "val_accuracy")
    found: dict[int, tuple[float, ...]] = {}
    for event in events(directory, "epoch"):
        values = tuple(event[key] for key in keys)
        assert found.setdefault(event["epoch"], values) == values  # told again after a resume, it is told the same
    return found


def stop_after(steps: int) -> Callable[[], bool]:
    left = iter(range(steps - 1, -1, -1))
    return lambda: next(left) == 0


@pytest.mark.parametrize("loss_function", LOSS_FUNCTIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_every_optimizer_and_loss_trains(
    make_session: MakeSession, architecture: str, optimizer: str, loss_function: str
) -> None:
    y = classes() if loss_function in CLASSIFICATION_LOSSES else numbers()
    directory = make_session(
        x=images(), y=y, model_architecture=architecture, optimizer=optimizer, loss_function=loss_function, epochs=1
    )
    run(directory)
    (values,) = metrics(directory).values()
    assert np.isfinite(values).all()
    assert all(0 <= accuracy <= 1 for accuracy in values[1::2])
    (end,) = events(directory, "end")
    assert (end["ending"], end["weights"]) == ("completed", "model.pt")
    weights = torch.load(directory.weights / "model.pt", weights_only=True)
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize("batch_size", [1, 7, 19, 256])
@pytest.mark.parametrize("count", [2, 3, 24])
def test_any_batch_size_trains_batch_normalisation(make_session: MakeSession, count: int, batch_size: int) -> None:
    directory = make_session(
        x=images(count), y=classes(count, 2), model_architecture="cnn", batch_size=batch_size, epochs=1
    )
    run(directory)
    assert events(directory, "end")[0]["ending"] == "completed"


def test_a_regression_learns_a_line_in_large_units(make_session: MakeSession) -> None:
    x = rows(200, 2)
    directory = make_session(
        x=x, y=50_000 + 300.5 * x[:, 0] - 80 * x[:, 1], loss_function="mse", epochs=40, learning_rate=0.003
    )
    run(directory)
    *_, (_, accuracy, val_loss, val_accuracy) = metrics(directory).values()
    assert accuracy > 0.9
    assert val_accuracy > 0.9
    assert val_loss > 1000  # squared units of the labels, which spread over thousands


def test_the_digits_are_learnt(make_session: MakeSession) -> None:
    directory = make_session(file=DIGITS, batch_size=32, epochs=20)
    run(directory)
    assert metrics(directory)[20][3] >= 0.95


@pytest.mark.parametrize(
    ("architecture", "optimizer"), [("cnn", "sgd"), ("cnn", "adam"), ("mlp", "adamw"), ("mlp", "rmsprop")]
)
def test_interrupted_after_every_step_it_ends_with_the_same_bytes(
    make_session: MakeSession, architecture: str, optimizer: str
) -> None:
    def session(name: str) -> SessionDirectory:
        return make_session(
            name, x=images(), y=classes(), model_architecture=architecture, optimizer=optimizer, epochs=3
        )

    whole, broken = session("whole"), session("broken")
    run(whole)
    attempts = 0
    while not attempts or events(broken, "end")[-1]["ending"] == "interrupted":
        attempts += 1
        torch.rand(attempts), np.random.rand(attempts), random.random()  # a new process is in another state
        run(broken, stop_after(1), attempts)
    assert attempts == 10  # 3 epochs of 3 steps, and the last attempt finishes the last epoch
    assert metrics(broken) == metrics(whole)
    assert events(broken, "end")[-1]["sha256"] == events(whole, "end")[0]["sha256"]


def test_an_interrupted_session_keeps_its_weights(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=100)
    run(directory, stop_after(8))
    (end,) = events(directory, "end")
    assert (end["ending"], end["weights"]) == ("interrupted", "model.pt")
    assert (directory.weights / "model.pt").is_file()
    assert list(metrics(directory)) == [1, 2]
    assert [(event["epoch"], event["step"]) for event in events(directory, "checkpoint")] == [(1, 3), (2, 8)]


def test_the_seed_decides(make_session: MakeSession) -> None:
    hashes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 2**63 - 1)):
        directory = make_session(name, x=rows(), y=classes(), seed=seed)
        run(directory)
        hashes.append(events(directory, "end")[0]["sha256"])
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_an_epoch_is_in_the_journal_before_the_checkpoint_that_holds_it(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=3, checkpoint_every_seconds=0)
    run(directory)
    known = 0
    for event in read_events(directory.events, 0).events:
        if event["event"] == "epoch":
            known = event["epoch"]
        if event["event"] == "checkpoint":
            assert event["epoch"] <= known
    assert [path.name for path in sorted(directory.checkpoints.iterdir())] == ["step-00000008", "step-00000009"]


def test_a_damaged_newest_checkpoint_is_skipped_with_a_warning(
    make_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make_session("whole", x=rows(), y=classes(), epochs=3)
    run(whole)
    broken = make_session("broken", x=rows(), y=classes(), epochs=3)
    run(broken, stop_after(5))
    (broken.checkpoints / "step-00000005" / "state.pt").write_bytes(b"torn")
    run(broken, attempt=2)
    assert events(broken, "start")[1]["resumed_from"] == "step-00000003"
    assert "step-00000005" in next(entry.message for entry in caplog.records if entry.levelno == logging.WARNING)
    assert metrics(broken) == metrics(whole)
    assert events(broken, "end")[-1]["sha256"] == events(whole, "end")[0]["sha256"]


def test_without_any_good_checkpoint_it_does_not_start_over_in_silence(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=3)
    run(directory, stop_after(5))
    for state in directory.checkpoints.glob("*/state.pt"):
        state.write_bytes(b"torn")
    with pytest.raises(TrainingFailure) as caught:
        run(directory, attempt=2)
    assert caught.value.code == "no_valid_checkpoint"


@pytest.mark.parametrize("loss_function", LOSS_FUNCTIONS)
def test_a_loss_beyond_all_numbers_is_a_failure_and_no_checkpoint_holds_it(
    make_session: MakeSession, loss_function: str
) -> None:
    y = classes() if loss_function in CLASSIFICATION_LOSSES else numbers()
    directory = make_session(
        x=rows(),
        y=y,
        loss_function=loss_function,
        optimizer="sgd",
        learning_rate=1e30,
        epochs=9,
        checkpoint_every_seconds=0,
    )
    with pytest.raises(TrainingFailure, match="learning_rate") as caught:
        run(directory)
    assert caught.value.code == "non_finite_loss"
    checkpoint, _ = find_newest(directory.checkpoints)
    assert checkpoint is not None
    assert checkpoint.load()["ranks"][0]["tally"]["sums"].isfinite().all()


def test_a_gpu_that_is_not_there_is_a_failure(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), device="cuda:63")
    with pytest.raises(TrainingFailure) as caught:
        run(directory)
    assert caught.value.code == "device_lost"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precision": "fp16"}, "fp16 needs a GPU"), ({"freeze": ["*"]}, "freeze leaves nothing")],
)
def test_what_only_the_trainer_can_find_wrong_is_a_failure_with_a_remedy(
    make_session: MakeSession, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingFailure, match=message) as caught:
        run(make_session(x=rows(), y=classes(), **options))
    assert caught.value.code == "bad_config"


def test_an_operation_that_may_differ_is_refused_where_that_is_wanted(make_session: MakeSession) -> None:
    run(make_session("strict", x=rows(), y=classes(), deterministic=True))
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
    assert as_failure(caught.value).code == "bad_config"
    run(make_session("easy", x=rows(), y=classes()))
    torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))


def test_frozen_parameters_keep_their_value(make_session: MakeSession) -> None:
    frozen, free = (
        make_session(name, x=rows(), y=classes(), max_steps=1, freeze=patterns, weight_decay=0.5)
        for name, patterns in (("frozen", ["network.1.*"]), ("free", []))
    )
    weights = []
    for directory in (frozen, free):
        run(directory)
        weights.append(torch.load(directory.weights / "model.pt"))
    changed = {name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])}
    assert {"network.1.weight", "network.1.bias"} <= changed
    again = make_session("again", x=rows(), y=classes(), max_steps=2, freeze=["network.1.*"], weight_decay=0.5)
    run(again)
    longer = torch.load(again.weights / "model.pt")
    assert torch.equal(longer["network.1.weight"], weights[0]["network.1.weight"])
    assert not torch.equal(longer["network.4.weight"], weights[0]["network.4.weight"])


@pytest.mark.parametrize(
    ("options", "epochs", "steps"),
    [
        ({"epochs": 10, "max_steps": 7}, 3, 7),
        ({"epochs": 10, "max_steps": 6}, 2, 6),
        ({"epochs": 2, "max_steps": 100}, 2, 6),
        ({"epochs": 10, "max_steps": 1}, 1, 1),
        ({"epochs": 10, "max_steps": 3, "gradient_accumulation": 2}, 2, 3),
    ],
)
def test_it_completes_after_so_many_steps(
    make_session: MakeSession, options: dict[str, int], epochs: int, steps: int
) -> None:
    directory = make_session(x=rows(), y=classes(), log_every_steps=1, **options)
    run(directory)
    assert list(metrics(directory)) == list(range(1, epochs + 1))
    logged = [
        step for event in events(directory, "points") if "train/loss" in event["series"] for step in event["steps"]
    ]
    assert logged == list(range(1, steps + 1))
    assert events(directory, "end")[0]["ending"] == "completed"


def test_a_shorter_number_format_changes_how_it_computes_and_not_what_is_kept(make_session: MakeSession) -> None:
    weights = []
    for precision in ("fp32", "bf16", "auto"):
        directory = make_session(precision, x=rows(), y=classes(), precision=precision)
        run(directory)
        weights.append(torch.load(directory.weights / "model.pt"))
    fp32, bf16, auto = (value["network.1.weight"] for value in weights)
    assert bf16.dtype == torch.float32
    assert not torch.equal(bf16, fp32)
    assert torch.equal(auto, fp32)  # on a CPU
    torch.testing.assert_close(bf16, fp32, rtol=0.1, atol=0.01)


def test_each_attempt_is_recorded_and_only_a_complete_session_reported(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=3)
    run(directory, stop_after(4))
    assert len(events(directory, "record")) == 1
    assert events(directory, "report") == []
    run(directory, attempt=2)
    assert len(events(directory, "record")) == 2
    (report,) = events(directory, "report")
    *_, last = metrics(directory).values()
    assert report["report"]["loss"] == pytest.approx(last[2])
    assert report["report"]["accuracy"] == pytest.approx(last[3])


def test_so_many_checkpoints_are_kept(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=3, checkpoint_every_seconds=0.0, keep_checkpoints=4)
    run(directory)
    assert len(list(directory.checkpoints.iterdir())) == 4

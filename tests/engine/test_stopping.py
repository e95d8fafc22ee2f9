"""Early stopping: what is better, how long it waits, and whose weights are kept."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.engine.conftest import MakeSession, classes, rows
from tests.engine.test_trainer import events, metrics, run, stop_after
from training.engine.objectives import Metrics
from training.engine.stopping import Stopping
from training.spec import EPOCH_METRICS, EarlyStopping


def watch(values: list[float], model: nn.Module | None = None, **rule: Any) -> Stopping:
    """A rule that has seen these values of its metric, one for each epoch; the model's weight is the epoch's number."""
    stopping = Stopping(EarlyStopping(**rule))
    for epoch, value in enumerate(values, start=1):
        if model is not None:
            nn.init.constant_(model.weight, epoch)  # type: ignore[arg-type]
        good, other = Metrics(value, value), Metrics(9.0, 0.5)
        if stopping_metric(rule).startswith("val_"):
            stopping.finish_epoch(epoch, other, good, model or nn.Linear(1, 1))
        else:
            stopping.finish_epoch(epoch, good, other, model or nn.Linear(1, 1))
    return stopping


def stopping_metric(rule: dict[str, Any]) -> str:
    return str(rule.get("metric", "val_loss"))


@pytest.mark.parametrize(
    ("values", "rule", "is_over"),
    [
        ([3.0, 2.0, 1.0], {"patience": 1}, False),
        ([1.0, 1.0], {"patience": 1}, True),
        ([1.0, 2.0], {"patience": 2}, False),
        ([1.0, 2.0, 0.9, 2.0], {"patience": 2}, False),
        ([1.0, 2.0, 0.9, 2.0, 0.9], {"patience": 2}, True),
        ([1.0, 0.95], {"patience": 1, "min_delta": 0.1}, True),
        ([1.0, 0.8], {"patience": 1, "min_delta": 0.1}, False),
        ([math.nan, math.inf], {"patience": 2}, True),
        ([math.nan, 1e9], {"patience": 2}, False),
        ([1.0, -math.inf], {"patience": 1}, True),
        ([0.5, 0.6], {"patience": 1, "metric": "val_accuracy"}, False),
        ([0.5, 0.4], {"patience": 1, "metric": "val_accuracy"}, True),
        ([0.5, 0.6], {"patience": 1, "metric": "accuracy"}, False),
        ([0.5, 0.6], {"patience": 1, "metric": "loss"}, True),
    ],
)
def test_it_is_over_when_nothing_got_better_for_long_enough(
    values: list[float], rule: dict[str, Any], is_over: bool
) -> None:
    assert watch(values, **rule).is_over is is_over


def test_without_a_rule_it_is_never_over() -> None:
    stopping = Stopping(None)
    for epoch in range(100):
        stopping.finish_epoch(epoch, Metrics(1.0, 0.0), Metrics(1.0, 0.0), nn.Linear(1, 1))
    assert not stopping.is_over


@pytest.mark.parametrize("metric", EPOCH_METRICS)
def test_every_metric_of_an_epoch_can_be_watched(metric: str) -> None:
    assert not watch([1.0], metric=metric, patience=1).is_over


def test_the_best_weights_are_kept_through_a_checkpoint() -> None:
    model = nn.Linear(1, 1)
    before, after = watch([3.0, 1.0, 2.0], model), Stopping(EarlyStopping())
    after.load_state_dict(before.state_dict())
    assert model.weight.item() == 3
    after.restore_best(model)
    assert model.weight.item() == 2


def test_the_last_weights_stay_where_the_best_are_not_wanted() -> None:
    model = nn.Linear(1, 1)
    watch([3.0, 1.0, 2.0], model, keep_best=False).restore_best(model)
    assert model.weight.item() == 3


def diverging(make_session: MakeSession, name: str, **options: Any) -> Any:
    """A session whose validation gets worse after some epochs."""
    return make_session(
        name, x=rows(), y=classes(), learning_rate=0.1, optimizer="sgd", model_args={"dropout": 0.0}, **options
    )


def test_a_session_ends_early_with_the_weights_of_its_best_epoch(make_session: MakeSession) -> None:
    rule = {"metric": "val_loss", "patience": 2}
    stopped = diverging(make_session, "stopped", early_stopping=rule, epochs=100)
    run(stopped)
    val_losses = {epoch: values[2] for epoch, values in metrics(stopped).items()}
    best = min(val_losses, key=lambda epoch: val_losses[epoch])
    assert len(val_losses) == best + 2
    until_best = diverging(make_session, "until-best", epochs=best)
    run(until_best)
    weights = [torch.load(directory.weights / "model.pt") for directory in (stopped, until_best)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    (report,) = events(stopped, "report")
    assert report["report"]["loss"] == pytest.approx(val_losses[best])


def test_an_interrupted_session_leaves_its_best_weights_and_goes_on_from_its_last(make_session: MakeSession) -> None:
    rule = {"metric": "val_loss", "patience": 50}
    directory = diverging(make_session, "broken", early_stopping=rule, epochs=12)
    whole = diverging(make_session, "whole", early_stopping=rule, epochs=12)
    run(whole)
    run(directory, stop_after(32))
    losses = {epoch: values[2] for epoch, values in metrics(directory).items()}
    best = min(losses, key=lambda epoch: losses[epoch])
    until_best = diverging(make_session, "until-best", epochs=best)
    run(until_best)
    weights = [torch.load(session.weights / "model.pt") for session in (directory, until_best)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    run(directory, attempt=2)
    assert metrics(directory) == metrics(whole)
    assert events(directory, "end")[-1]["sha256"] == events(whole, "end")[0]["sha256"]

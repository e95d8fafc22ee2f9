"""Losses, accuracy, and running sums."""

import numpy as np
import pytest
import torch

from training.engine.objectives import Classification, Metrics, Objective, Regression, Tally

CPU = torch.device("cpu")


def tallied(objective: Objective, outputs: torch.Tensor, targets: torch.Tensor, batch_size: int) -> Metrics:
    tally = Tally(objective, CPU)
    for rows in torch.split(torch.arange(len(targets)), batch_size):
        tally.add(outputs[rows], targets[rows], objective.loss(outputs[rows], targets[rows]))
    return tally.metrics()


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_cross_entropy_is_the_mean_over_all_samples_whatever_the_batches(batch_size: int) -> None:
    outputs, targets = torch.randn(10, 4), torch.randint(4, (10,))
    expected = -torch.log_softmax(outputs.double(), 1)[torch.arange(10), targets].mean().item()
    metrics = tallied(Classification("cross_entropy"), outputs, targets, batch_size)
    assert metrics.loss == pytest.approx(expected, rel=1e-5)
    assert metrics.accuracy == (outputs.argmax(1) == targets).double().mean().item()


def test_bce_asks_of_each_class_whether_it_is_the_one() -> None:
    outputs, targets = torch.tensor([[5.0, -5.0, -5.0]]), torch.tensor([0])
    expected = np.log1p(np.exp(-5.0))
    assert Classification("bce").loss(outputs, targets).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 10])
@pytest.mark.parametrize("loss_function", ["mse", "mae"])
def test_regression_is_reported_in_the_units_of_the_labels(loss_function: str, batch_size: int) -> None:
    targets = torch.linspace(900, 1100, 10, dtype=torch.float64)
    outputs = (targets + torch.tensor([5.0, -5.0]).repeat(5)).float()
    metrics = tallied(Regression(loss_function, 1000.0, 60.0), outputs, targets, batch_size)
    assert metrics.loss == pytest.approx({"mse": 25.0, "mae": 5.0}[loss_function], rel=1e-4)
    assert metrics.accuracy == pytest.approx(1 - 25.0 / targets.numpy().var(), rel=1e-4)


@pytest.mark.parametrize(
    ("outputs", "targets", "accuracy"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0),
        ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0], 0.0),  # R² is -3
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], 0.0),
        ([5.0], [5.0], 1.0),  # one label leaves nothing to explain
        ([5.0], [6.0], 0.0),
        ([float("nan")], [6.0], 0.0),
        ([float("inf"), 1.0], [6.0, 7.0], 0.0),
    ],
)
def test_r_squared_is_cut_to_0_and_1(outputs: list[float], targets: list[float], accuracy: float) -> None:
    metrics = tallied(Regression("mse", 0.0, 1.0), torch.tensor(outputs), torch.tensor(targets).double(), 10)
    assert metrics.accuracy == pytest.approx(accuracy)


def test_the_sums_go_on_where_they_were() -> None:
    objective = Classification("cross_entropy")
    outputs, targets = torch.randn(10, 4), torch.randint(4, (10,))
    first, second = Tally(objective, CPU), Tally(objective, CPU)
    first.add(outputs[:5], targets[:5], objective.loss(outputs[:5], targets[:5]))
    second.load_state_dict(first.state_dict())
    for tally in (first, second):
        tally.add(outputs[5:], targets[5:], objective.loss(outputs[5:], targets[5:]))
    assert first.metrics() == second.metrics()
    first.reset()
    first.add(outputs, targets, objective.loss(outputs, targets))
    assert first.metrics().accuracy == second.metrics().accuracy

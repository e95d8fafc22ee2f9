"""Losses, accuracy, and running sums."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.engine.conftest import MakeSession, classes, numbers, rows
from training.engine.architectures import catalogue
from training.engine.data import TrainingData
from training.engine.failures import TrainingFailure
from training.engine.objectives import (
    Binary,
    Classification,
    LanguageModelling,
    Metrics,
    MultiLabel,
    Objective,
    OneVersusRest,
    Regression,
    Tally,
    build_objective,
    class_weights,
)
from training.spec import SessionSpec

CPU = torch.device("cpu")


def tallied(objective: Objective, outputs: torch.Tensor, targets: torch.Tensor, batch_size: int) -> Metrics:
    tally = Tally(objective, CPU)
    for part in torch.split(torch.arange(len(targets)), batch_size):
        tally.add(outputs[part], targets[part], objective.loss(outputs[part], targets[part]))
    return tally.metrics()


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_cross_entropy_is_the_mean_over_all_samples_whatever_the_batches(batch_size: int) -> None:
    outputs, targets = torch.randn(10, 4), torch.randint(4, (10,))
    expected = -torch.log_softmax(outputs.double(), 1)[torch.arange(10), targets].mean().item()
    metrics = tallied(Classification(), outputs, targets, batch_size)
    assert metrics.loss == pytest.approx(expected, rel=1e-5)
    assert metrics.accuracy == (outputs.argmax(1) == targets).double().mean().item()


def test_bce_asks_of_each_class_whether_it_is_the_one() -> None:
    outputs, targets = torch.tensor([[5.0, -5.0, -5.0]]), torch.tensor([0])
    expected = np.log1p(np.exp(-5.0))
    assert OneVersusRest().loss(outputs, targets).item() == pytest.approx(expected, rel=1e-5)


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
    objective = Classification()
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


def test_the_sums_of_all_ranks_make_one_metric() -> None:
    objective = Classification()
    outputs, targets = torch.randn(10, 4), torch.randint(4, (10,))
    ranks = [Tally(objective, CPU), Tally(objective, CPU)]
    for tally, part in zip(ranks, (slice(7), slice(7, 10)), strict=True):
        tally.add(outputs[part], targets[part], objective.loss(outputs[part], targets[part]))
    sums: list[torch.Tensor] = []
    ranks[1].metrics(sums.append)
    together = ranks[0].metrics(lambda mine: mine.add_(sums[0]))
    alone = tallied(objective, outputs, targets, 10)
    assert together.loss == pytest.approx(alone.loss)
    assert together.accuracy == alone.accuracy


@pytest.mark.parametrize("batch_size", [1, 3, 10])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_class_weights_are_torchs_but_the_mean_is_over_the_samples(batch_size: int, label_smoothing: float) -> None:
    outputs, targets = torch.randn(10, 4), torch.randint(4, (10,))
    weights = torch.tensor([1.0, 2.0, 0.5, 7.0])
    by_sample = F.cross_entropy(outputs, targets, weight=weights, label_smoothing=label_smoothing, reduction="none")
    metrics = tallied(Classification(weights, label_smoothing), outputs, targets, batch_size)
    assert metrics.loss == pytest.approx(by_sample.double().mean().item(), rel=1e-5)


def test_label_smoothing_is_torchs() -> None:
    outputs, targets = torch.randn(10, 4), torch.randint(4, (10,))
    expected = F.cross_entropy(outputs, targets, label_smoothing=0.1)
    assert Classification(None, 0.1).loss(outputs, targets) == expected


@pytest.mark.parametrize(("logit", "target", "right"), [(0.1, 1, 1), (-0.1, 1, 0), (-0.1, 0, 1), (0.1, 0, 0)])
def test_of_two_classes_one_logit_tells(logit: float, target: int, right: int) -> None:
    metrics = tallied(Binary(), torch.tensor([[logit]]), torch.tensor([target]), 1)
    probability = 1 / (1 + math.exp(-logit))
    assert metrics.loss == pytest.approx(-math.log(probability if target else 1 - probability), rel=1e-5)
    assert metrics.accuracy == right


def test_yes_or_no_losses_weigh_a_sample_by_its_class() -> None:
    weights, targets = torch.tensor([3.0, 0.5]), torch.tensor([0, 1, 1])
    for objective, plain, outputs in (
        (Binary(weights), Binary(), torch.randn(3, 1)),
        (OneVersusRest(weights), OneVersusRest(), torch.randn(3, 2)),
    ):
        single = [plain.loss(outputs[[row]], targets[[row]]).item() for row in range(3)]
        expected = np.mean([3.0 * single[0], 0.5 * single[1], 0.5 * single[2]])
        assert objective.loss(outputs, targets).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_sets_of_classes_are_judged_by_their_decisions(batch_size: int) -> None:
    outputs = torch.tensor([[3.0, -1.0, 2.0], [1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [2.0, -2.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    metrics = tallied(MultiLabel(), outputs, targets, batch_size)
    probability = 1 / (1 + np.exp(-outputs.double().numpy()))
    expected = -np.log(np.where(targets.numpy() > 0, probability, 1 - probability)).mean()
    assert metrics.loss == pytest.approx(expected, rel=1e-5)
    assert metrics.accuracy == pytest.approx((3 + 2 + 0 + 1) / 12)


def test_the_weights_of_sets_are_of_their_columns() -> None:
    outputs, targets = torch.randn(5, 2), torch.randint(2, (5, 2)).float()
    columns = [F.binary_cross_entropy_with_logits(outputs[:, column], targets[:, column]) for column in (0, 1)]
    weighted = MultiLabel(torch.tensor([4.0, 1.0])).loss(outputs, targets)
    assert weighted.item() == pytest.approx((4 * columns[0] + columns[1]).item() / 2, rel=1e-5)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_text_is_counted_by_token(batch_size: int, label_smoothing: float) -> None:
    outputs, targets = torch.randn(5, 7, 11), torch.randint(11, (5, 7))
    flat = outputs.reshape(35, 11), targets.reshape(35)
    metrics = tallied(LanguageModelling(label_smoothing), outputs, targets, batch_size)
    assert metrics.loss == pytest.approx(F.cross_entropy(*flat, label_smoothing=label_smoothing).item(), rel=1e-5)
    assert metrics.accuracy == pytest.approx((flat[0].argmax(1) == flat[1]).double().mean().item())
    assert metrics.extras == {"perplexity": pytest.approx(math.exp(F.cross_entropy(*flat).item()), rel=1e-5)}


def test_a_perplexity_beyond_all_numbers_is_infinite() -> None:
    outputs = torch.tensor([[[0.0, 1000.0]]])
    assert tallied(LanguageModelling(), outputs, torch.tensor([[0]]), 1).extras == {"perplexity": math.inf}


def session(make_session: MakeSession, **options: Any) -> tuple[SessionSpec, TrainingData]:
    spec = SessionSpec.read(make_session(**options).spec)
    return spec, TrainingData.load(spec, catalogue())


SETS = np.array([[1, 0, 1]] * 20 + [[0, 1, 0]] * 4)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"y": classes()}, "classification"),
        ({"y": classes(names=2)}, "classification"),
        ({"y": classes(), "loss_function": "bce"}, "classification"),
        ({"y": classes(names=2), "loss_function": "bce"}, "binary"),
        ({"y": SETS, "loss_function": "bce"}, "multi-label"),
        ({"y": classes(), "loss_function": "mae"}, "regression"),
        ({"y": numbers(), "loss_function": "mse"}, "regression"),
    ],
)
def test_loss_and_labels_name_the_problem(make_session: MakeSession, options: dict[str, Any], problem: str) -> None:
    spec, data = session(make_session, x=rows(), **options)
    objective = build_objective(spec.config, data)
    assert objective.problem == problem
    _, targets = data.batch(data.train_rows[:6], CPU)
    outputs = torch.randn(6, data.output_count) if data.class_names else torch.randn(6)
    metrics = tallied(objective, outputs, targets, 4)
    assert math.isfinite(metrics.loss)
    assert 0 <= metrics.accuracy <= 1


def test_balanced_weights_make_all_classes_cost_the_same(make_session: MakeSession) -> None:
    spec, data = session(make_session, x=rows(), y=np.array([0] * 15 + [1] * 9), class_weights="balanced")
    weights, counts = class_weights(spec.config, data), data.train_class_counts()
    assert weights is not None
    assert counts is not None
    assert (weights * counts).tolist() == pytest.approx([data.train_count / 2] * 2)


def test_a_class_that_the_training_split_lacks_weighs_one(make_session: MakeSession) -> None:
    y = np.array([0] * 10 + [1] * 10 + [2] * 4)
    spec, data = session(make_session, x=rows(), y=y, validation_from="end", class_weights="balanced")
    weights = class_weights(spec.config, data)
    assert weights is not None
    assert weights.tolist() == pytest.approx([19 / 30, 19 / 27, 1.0])


def test_weights_are_given_by_the_names_of_the_classes(make_session: MakeSession) -> None:
    y = np.array(["cat", "dog", "emu"])[classes()]
    spec, data = session(make_session, x=rows(), y=y, class_weights={"emu": 3, "cat": 0.5})
    weights = class_weights(spec.config, data)
    assert weights is not None
    assert weights.tolist() == [0.5, 1.0, 3.0]


def test_weights_of_classes_that_are_not_there_are_refused(make_session: MakeSession) -> None:
    spec, data = session(make_session, x=rows(), y=classes(), class_weights={"1": 2.0, "yeti": 2.0})
    with pytest.raises(
        TrainingFailure, match="'yeti', and the dataset has no such class: use its own, 0, 1, 2"
    ) as error:
        build_objective(spec.config, data)
    assert error.value.code == "bad_config"

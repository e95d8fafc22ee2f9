"""The report on the validation split, beside cases worked out by hand and a second computation without torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.engine.conftest import MakeSession, classes, numbers, rows
from training.engine import report as module
from training.engine.architectures import catalogue
from training.engine.data import TrainingData
from training.engine.objectives import (
    Binary,
    Classification,
    LanguageModelling,
    MultiLabel,
    Objective,
    OneVersusRest,
    Regression,
    Tally,
    build_objective,
)
from training.engine.report import build_report
from training.spec import SessionSpec

CPU = torch.device("cpu")
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Split:
    """A validation split whose samples are what the model is to answer."""

    outputs: Tensor
    targets: Tensor
    class_names: tuple[str, ...] | None = None

    def validation_batches(self, batch_size: int) -> list[Tensor]:
        return list(torch.split(torch.arange(len(self.outputs)), batch_size))

    def announce(self, batches: list[Tensor]) -> None:
        self.announced = torch.cat(batches).tolist()

    def batch(self, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        assert [self.announced.pop(0) for _ in rows] == rows.tolist()
        return self.outputs[rows].to(device), self.targets[rows].to(device)


class Echo(nn.Module):
    """Answers its input, and only where it is evaluated and nothing is learnt."""

    def forward(self, samples: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        return samples


def report_of(
    objective: Objective, outputs: Any, targets: Any, names: Sequence[str] | None = None, batch_size: int = 64
) -> Any:
    """The report, as it comes back from the journal."""
    split = Split(torch.as_tensor(outputs), torch.as_tensor(targets), tuple(names) if names is not None else None)
    model = Echo()
    report = build_report(objective, cast(TrainingData, split), model, CPU, batch_size)
    assert model.training
    return json.loads(json.dumps(report, allow_nan=False))


def test_a_classification_worked_out_by_hand() -> None:
    outputs = [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [1.0, 0.0, 2.0]]
    report = report_of(Classification(), outputs, [0, 0, 0, 1, 2], "abc", batch_size=2)
    assert report["problem"] == "classification"
    assert (report["samples"], report["accuracy"]) == (5, 0.8)
    assert report["confusion_matrix"] == [[2, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert [entry["name"] for entry in report["classes"]] == ["a", "b", "c"]
    assert [entry["count"] for entry in report["classes"]] == [3, 1, 1]
    assert [entry["recall"] for entry in report["classes"]] == pytest.approx([2 / 3, 1, 1])
    assert [entry["precision"] for entry in report["classes"]] == pytest.approx([1, 0.5, 1])
    assert [entry["f1"] for entry in report["classes"]] == pytest.approx([0.8, 2 / 3, 1])
    assert report["macro_f1"] == pytest.approx((0.8 + 2 / 3 + 1) / 3)
    assert report["weighted_f1"] == pytest.approx((3 * 0.8 + 2 / 3 + 1) / 5)
    # Of class a two of its three samples stand before both others, one behind the sample of c only.
    assert [entry["roc_auc"] for entry in report["classes"]] == pytest.approx([5 / 6, 1, 1])
    assert report["roc_auc"] == pytest.approx((5 / 6 + 2) / 3)
    assert report["roc_auc_thresholds"] is None


def test_a_binary_problem_has_both_classes() -> None:
    report = report_of(Binary(), [[2.0], [-1.0], [0.5], [-3.0]], [1, 1, 0, 0], "ny")
    assert report["problem"] == "binary"
    assert report["confusion_matrix"] == [[1, 1], [1, 1]]
    assert [entry["roc_auc"] for entry in report["classes"]] == [0.75, 0.75]
    assert (report["roc_auc"], report["accuracy"], report["macro_f1"]) == (0.75, 0.5, 0.5)


def test_scores_that_say_almost_the_same_are_still_told_apart() -> None:
    outputs = [[20.0], [30.0], [25.0], [-40.0], [-30.0]]  # float32 probabilities of the first three would all be 1
    assert report_of(Binary(), outputs, [0, 1, 1, 0, 0], "ny")["roc_auc"] == 1


def test_many_labels_worked_out_by_hand() -> None:
    outputs = [[1.0, -1.0], [2.0, 1.0], [-1.0, -2.0], [1.0, 3.0]]
    targets = [[1.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    report = report_of(MultiLabel(), outputs, targets, "ab", batch_size=3)
    assert report["problem"] == "multi-label"
    assert [entry["count"] for entry in report["classes"]] == [3, 2]
    assert [entry["precision"] for entry in report["classes"]] == pytest.approx([2 / 3, 1])
    assert [entry["recall"] for entry in report["classes"]] == pytest.approx([2 / 3, 1])
    assert [entry["roc_auc"] for entry in report["classes"]] == pytest.approx([0.5, 1])
    assert (report["exact_match"], report["accuracy"], report["samples"]) == (0.5, 0.75, 4)
    assert "confusion_matrix" not in report


def test_a_regression_worked_out_by_hand() -> None:
    report = report_of(Regression("mse", 2.0, 2.0), [1.0, 2.0, 7.0], [1.0, 3.0, 5.0], batch_size=2)
    figures = {"samples": 3, "mse": 5 / 3, "mae": 1.0, "r2": 1 - 5 / 8, "max_error": 2.0, "loss": 5 / 3}
    assert {name: report[name] for name in figures} == pytest.approx(figures)


def test_worse_than_the_mean_is_below_zero() -> None:
    report = report_of(Regression("mae", 0.0, 1.0), [10.0, -10.0], [-10.0, 10.0])
    assert (report["r2"], report["accuracy"]) == (-3, 0)


def test_labels_far_from_zero_keep_their_spread() -> None:
    labels = 1e9 + np.arange(100.0)
    outputs = np.float64(labels) + np.tile([0.5, -0.5], 50)
    report = report_of(Regression("mse", 1e9, 30.0), outputs, labels, batch_size=7)
    assert report["r2"] == pytest.approx(1 - 25 / ((100**3 - 100) / 12), rel=1e-9)


def test_language_modelling_counts_tokens() -> None:
    outputs = torch.zeros(3, 4, 5)
    outputs[..., 2] = 1.0
    targets = torch.tensor([[2, 2, 0, 1]] * 3)
    report = report_of(LanguageModelling(), outputs, targets, batch_size=2)
    likely = np.e / (np.e + 4)
    loss = -(np.log(likely) + np.log(1 / (np.e + 4))) / 2
    assert report["loss"] == pytest.approx(loss, rel=1e-6)
    assert report["perplexity"] == pytest.approx(np.exp(loss), rel=1e-6)
    assert (report["accuracy"], report["tokens"], report["problem"]) == (0.5, 12, "language modelling")


def test_what_is_not_defined_is_null() -> None:
    report = report_of(Classification(), [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0, 1], "abc")
    absent = report["classes"][2]
    assert absent == {"name": "c", "count": 0, "precision": None, "recall": None, "f1": None, "roc_auc": None}
    assert (report["macro_f1"], report["roc_auc"]) == (1, 1)
    only = report_of(Classification(), [[1.0, 0.0], [1.0, 0.0]], [0, 0], "ab")
    assert (only["roc_auc"], only["classes"][0]["roc_auc"], only["classes"][0]["f1"]) == (None, None, 1)
    assert report_of(Regression("mse", 0.0, 1.0), [1.0, 2.0], [3.0, 3.0])["r2"] is None


@pytest.mark.parametrize(
    "objective", [Classification(), OneVersusRest(), Binary(), MultiLabel(), Regression("mse", 0, 1)]
)
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_model_that_answers_nonsense_gets_a_report_without_nonsense(objective: Objective, broken: float) -> None:
    outputs, targets = torch.zeros(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    names: str | None = "abc"
    if objective.problem == "binary":
        outputs, targets, names = outputs[:, :1], targets % 2, "ab"
    elif objective.problem == "multi-label":
        targets = torch.eye(3)[targets]
    elif objective.problem == "regression":
        outputs, targets, names = outputs[:, 0], targets.double(), None
    outputs = outputs.clone()
    outputs.view(-1)[0] = broken
    report = report_of(objective, outputs, targets, names, batch_size=2)
    assert report["loss"] is None
    if objective.problem == "regression":
        assert (report["mse"], report["mae"], report["r2"], report["max_error"]) == (None, None, None, None)
    elif np.isnan(broken):  # the sigmoid of infinity is a score as good as any
        assert report["roc_auc"] is None


def test_beyond_a_hundred_classes_there_is_no_matrix() -> None:
    targets = torch.arange(101)
    report = report_of(Classification(), torch.eye(101) * 5, targets, [f"class {number}" for number in range(101)])
    assert report["confusion_matrix"] is None
    assert len(report["classes"]) == 101
    assert (report["macro_f1"], report["roc_auc"]) == (1, 1)


def auc_by_pairs(scores: Array, positive: Array) -> float | None:
    """The share of pairs that stand in the right order, a tie being half right."""
    if positive.all() or not positive.any():
        return None
    distances = scores[positive][:, None] - scores[~positive][None, :]
    return float(np.mean((distances > 0) + 0.5 * (distances == 0)))


def f1_by_sets(guessed: Array, true: Array) -> float | None:
    both = guessed.sum() + true.sum()
    return float(2 * (guessed & true).sum() / both) if both else None


def mean_of_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def check_classes(report: Any, scores: Array, guessed: Array, true: Array) -> None:
    """Compare with (N, classes) scores, guesses and truths."""
    columns = range(true.shape[1])
    areas = [auc_by_pairs(scores[:, column], true[:, column]) for column in columns]
    f1s = [f1_by_sets(guessed[:, column], true[:, column]) for column in columns]
    recalls = [float(guessed[true[:, c], c].mean()) if true[:, c].any() else None for c in columns]
    precisions = [float(true[guessed[:, c], c].mean()) if guessed[:, c].any() else None for c in columns]
    assert [entry["roc_auc"] for entry in report["classes"]] == pytest.approx(areas, abs=1e-9)
    for name, expected in {"f1": f1s, "recall": recalls, "precision": precisions}.items():
        assert [entry[name] for entry in report["classes"]] == pytest.approx(expected, abs=1e-9)
    assert report["roc_auc"] == pytest.approx(mean_of_known(areas), abs=1e-9)
    assert report["macro_f1"] == pytest.approx(mean_of_known(f1s), abs=1e-9)


# How many samples, classes and levels of a score, few of which make many ties, and a seed.
scores_and_seeds = st.tuples(st.integers(1, 60), st.integers(2, 6), st.integers(1, 20), st.integers(0, 2**32 - 1))


@settings(max_examples=60)
@given(scores_and_seeds, st.booleans())
def test_classes_are_what_numpy_finds(case: tuple[int, int, int, int], one_versus_rest: bool) -> None:
    count, classes, levels, seed = case
    random = np.random.default_rng(seed)
    logits = random.integers(0, levels, (count, classes)).astype(np.float32) / 4
    if not one_versus_rest:  # the last bit of a softmax would tell ties apart that are ties in arithmetic
        logits += random.normal(size=logits.shape).astype(np.float32)
    targets = random.integers(0, classes, count)
    objective = OneVersusRest() if one_versus_rest else Classification()
    report = report_of(objective, logits, targets, "abcdef"[:classes], batch_size=int(random.integers(1, 20)))
    guesses = logits.argmax(1)
    scores = logits.astype(np.float64)
    if not one_versus_rest:
        scores = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (targets, guesses), 1)
    assert report["confusion_matrix"] == matrix.tolist()
    check_classes(report, scores, np.eye(classes, dtype=bool)[guesses], np.eye(classes, dtype=bool)[targets])


@settings(max_examples=60)
@given(scores_and_seeds)
def test_labels_are_what_numpy_finds(case: tuple[int, int, int, int]) -> None:
    count, labels, levels, seed = case
    random = np.random.default_rng(seed)
    logits = random.integers(-levels, levels + 1, (count, labels)).astype(np.float32) / 4
    targets = random.random((count, labels)) < random.random(labels)
    report = report_of(MultiLabel(), logits, targets.astype(np.float32), "abcdef"[:labels], batch_size=7)
    check_classes(report, logits, logits > 0, targets)
    assert report["exact_match"] == pytest.approx(((logits > 0) == targets).all(1).mean())


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=50), st.integers(1, 10))
def test_numbers_are_what_numpy_finds(pairs: list[tuple[float, float]], batch_size: int) -> None:
    outputs, labels = np.array(pairs).T
    report = report_of(Regression("mse", 0.0, 1.0), outputs, labels, batch_size=batch_size)
    residuals = outputs - labels
    assert report["mse"] == pytest.approx(np.mean(residuals**2), rel=1e-9)
    assert report["mae"] == pytest.approx(np.mean(np.abs(residuals)), rel=1e-9)
    assert report["max_error"] == np.abs(residuals).max()
    if labels.std() > 1e-3 * (1 + np.abs(labels).max()):
        assert report["r2"] == pytest.approx(1 - np.sum(residuals**2) / np.sum((labels - labels.mean()) ** 2), rel=1e-6)


@pytest.mark.parametrize("many_labels", [False, True])
def test_more_scores_than_can_be_kept_are_judged_by_thresholds(
    monkeypatch: pytest.MonkeyPatch, many_labels: bool
) -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 900)
    truths = np.eye(3, dtype=bool)[targets]
    logits = (random.normal(size=(900, 3)) + truths).astype(np.float32)
    objective: Objective = MultiLabel() if many_labels else Classification()
    wanted = truths.astype(np.float32) if many_labels else targets
    exact = report_of(objective, logits, wanted, "abc")
    monkeypatch.setattr(module, "EXACT_SCORES", 2699)
    binned = report_of(objective, logits, wanted, "abc")
    assert (exact["roc_auc_thresholds"], binned["roc_auc_thresholds"]) == (None, module.THRESHOLDS)
    assert binned["roc_auc"] == pytest.approx(exact["roc_auc"], abs=0.005)
    assert binned["roc_auc"] != exact["roc_auc"]
    assert binned["macro_f1"] == exact["macro_f1"]


@pytest.mark.parametrize(
    ("labels", "loss_function", "problem"),
    [
        (classes(30, 3), "cross_entropy", "classification"),
        (classes(30, 3), "bce", "classification"),
        (classes(30, 2), "bce", "binary"),
        (numbers(30), "mae", "regression"),
    ],
)
def test_a_dataset_as_the_trainer_finds_it(
    make_session: MakeSession, labels: Array, loss_function: str, problem: str
) -> None:
    directory = make_session(x=rows(30), y=labels, loss_function=loss_function, validation_split=0.5)
    spec = SessionSpec.read(directory.spec)
    data = TrainingData.load(spec, catalogue())
    objective = build_objective(spec.config, data)
    model = nn.Linear(5, data.output_count)
    network = model if problem != "regression" else nn.Sequential(model, nn.Flatten(0))
    report = build_report(objective, data, network, CPU, 4)
    tally = Tally(objective, CPU)
    for batch in data.validation_batches(4):
        samples, targets = data.batch(batch, CPU)
        outputs = network(samples)
        tally.add(outputs, targets, objective.loss(outputs, targets))
    assert (report["problem"], report["samples"]) == (problem, 15)
    assert (report["loss"], report["accuracy"]) == (tally.metrics().loss, tally.metrics().accuracy)
    if problem != "regression":
        assert [entry["name"] for entry in report["classes"]] == list(data.class_names or ())
        assert sum(entry["count"] for entry in report["classes"]) == sum(map(sum, report["confusion_matrix"])) == 15

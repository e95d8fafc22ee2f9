"""How a model does on the validation split, in more detail than an epoch tells."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.engine.data import TrainingData
from training.engine.objectives import Objective, OneVersusRest, Tally

# A confusion matrix of more classes is nothing to look at.
MATRIX_CLASSES = 100
# So many scores are kept, in float64, to put in order; of more the ROC-AUC is found from counts in so many steps.
EXACT_SCORES = 20_000_000
THRESHOLDS = 1000


class Figures(Protocol):
    """What a report of one kind of problem adds up over the batches."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch, as the objective gets it."""

    def report(self) -> dict[str, Any]:
        """The figures of all batches, as JSON knows them; what is not finite is NaN or infinite here."""


@torch.inference_mode()
def build_report(
    objective: Objective, data: TrainingData, model: nn.Module, device: torch.device, batch_size: int
) -> dict[str, Any]:
    """The report on the validation split, as JSON knows it: every number is finite, or null where it is not defined.

    The model is left in the mode that it was in.
    """
    batches = data.validation_batches(batch_size)
    tally = Tally(objective, device)
    figures = _figures(objective, data, sum(len(rows) for rows in batches))
    was_training = model.training
    model.eval()
    data.announce(batches)
    for rows in batches:
        samples, targets = data.batch(rows, device)
        outputs = model(samples)
        tally.add(outputs, targets, objective.loss(outputs, targets))
        figures.add(outputs, targets)
    model.train(was_training)
    metrics = tally.metrics()
    summary = {"problem": objective.problem, "loss": metrics.loss, "accuracy": metrics.accuracy, **metrics.extras}
    report: dict[str, Any] = _finite(summary | figures.report())
    return report


def _figures(objective: Objective, data: TrainingData, count: int) -> Figures:
    if objective.problem == "regression":
        return NumberFigures()
    if objective.problem == "language modelling":
        return TokenFigures()
    names = data.class_names
    assert names is not None, f"{objective.problem} without class names"
    if objective.problem == "multi-label":
        return LabelFigures(names, count)
    return ClassFigures(names, count, one_versus_rest=isinstance(objective, OneVersusRest))


class ClassFigures:
    """Of samples that belong to one class each. Outputs are logits (N, classes), or (N, 1) for the second of two."""

    def __init__(self, names: Sequence[str], count: int, one_versus_rest: bool) -> None:
        self._names = names
        self._one_versus_rest = one_versus_rest
        self._true, self._guessed, self._right = torch.zeros(3, len(names), dtype=torch.int64)
        self._matrix = torch.zeros(len(names), len(names), dtype=torch.int64) if len(names) <= MATRIX_CLASSES else None
        self._roc_auc = RocAuc(len(names), count)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        logits = outputs.double()
        if logits.shape[1] == 1:
            logits = torch.cat([-logits, logits], 1)
            scores = logits.sigmoid()
            guesses = (outputs.squeeze(1) > 0).long()
        else:
            scores = logits.sigmoid() if self._one_versus_rest else logits.softmax(1)
            guesses = outputs.argmax(1)
        self._roc_auc.add(scores, targets)
        guesses, targets = guesses.cpu(), targets.cpu()
        classes = len(self._names)
        self._true += targets.bincount(minlength=classes)
        self._guessed += guesses.bincount(minlength=classes)
        self._right += targets[guesses == targets].bincount(minlength=classes)
        if self._matrix is not None:
            self._matrix += (targets * classes + guesses).bincount(minlength=classes**2).reshape(classes, classes)

    def report(self) -> dict[str, Any]:
        """Rows of the confusion matrix are the true classes, columns the guessed ones, in the order of the classes."""
        matrix = None if self._matrix is None else self._matrix.tolist()
        figures = _by_class(self._names, self._true, self._guessed, self._right, self._roc_auc)
        return {**figures, "confusion_matrix": matrix}


class LabelFigures:
    """Of samples with any number of labels. Outputs are logits (N, labels), targets above 0 where a label is there."""

    def __init__(self, names: Sequence[str], count: int) -> None:
        self._names = names
        self._true, self._guessed, self._right = torch.zeros(3, len(names), dtype=torch.int64)
        self._samples = self._exact = 0
        self._roc_auc = RocAuc(len(names), count)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self._roc_auc.add(outputs.double().sigmoid(), (targets > 0).long())
        guesses, labels = (outputs > 0).cpu(), (targets > 0).cpu()
        self._true += labels.sum(0)
        self._guessed += guesses.sum(0)
        self._right += (guesses & labels).sum(0)
        self._samples += len(labels)
        self._exact += int((guesses == labels).all(1).sum())

    def report(self) -> dict[str, Any]:
        figures = _by_class(self._names, self._true, self._guessed, self._right, self._roc_auc)
        return {**figures, "samples": self._samples, "exact_match": self._exact / self._samples}


def _by_class(names: Sequence[str], true: Tensor, guessed: Tensor, right: Tensor, roc_auc: "RocAuc") -> dict[str, Any]:
    """Precision, recall, F1 and ROC-AUC of each class, NaN where undefined, and their means over those that have one.

    The weighted mean counts a class as often as it is true.
    """
    precision, recall = right.double() / guessed, right.double() / true
    f1 = 2 * right.double() / (true + guessed)
    areas = roc_auc.by_class()
    classes = [
        {"name": str(name), "count": count, "precision": p, "recall": r, "f1": f, "roc_auc": area}
        for name, count, p, r, f, area in zip(
            names, true.tolist(), precision.tolist(), recall.tolist(), f1.tolist(), areas.tolist(), strict=True
        )
    ]
    return {
        "samples": roc_auc.count,
        "macro_f1": f1.nanmean().item(),
        "weighted_f1": ((f1.nan_to_num() * true).sum() / true.sum()).item(),
        "roc_auc": areas.nanmean().item(),
        "roc_auc_thresholds": roc_auc.thresholds,
        "classes": classes,
    }


class RocAuc:
    """The area under the ROC curve of each class against the rest: the chance that a sample of the class scores higher
    than one of the rest, where a tie counts half.

    Exact while the scores can be kept; of more samples they are counted in `thresholds` steps, in bounded memory.
    """

    def __init__(self, classes: int, count: int) -> None:
        self.count = count
        self.thresholds = None if count * classes <= EXACT_SCORES else THRESHOLDS
        self._classes = classes
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._counts = torch.zeros(2, classes, THRESHOLDS, dtype=torch.int64)  # of the rest, of the class
        self._finite = True

    def add(self, scores: Tensor, targets: Tensor) -> None:
        """Scores (N, classes) in 0…1; targets (N,) class indices, or (N, classes) of 0 and 1."""
        scores, targets = scores.cpu(), targets.cpu()
        self._finite &= bool(scores.isfinite().all())
        belongs = F.one_hot(targets, self._classes) if targets.ndim == 1 else targets
        if self.thresholds is None:
            self._kept.append((scores, belongs.bool()))
        elif self._finite:
            steps = (scores * THRESHOLDS).long().clamp(max=THRESHOLDS - 1)
            places = (belongs * self._classes + torch.arange(self._classes)) * THRESHOLDS + steps
            self._counts += places.flatten().bincount(minlength=self._counts.numel()).reshape(self._counts.shape)

    def by_class(self) -> Tensor:
        """(classes,) float64; NaN for a class that no sample or every sample has, and for all without finite scores."""
        if not self._finite:
            return torch.full((self._classes,), math.nan, dtype=torch.float64)
        if self.thresholds is not None:
            return torch.stack(
                [_area(self._counts[1, index], self._counts[0, index]) for index in range(self._classes)]
            )
        scores, belongs = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        return torch.stack([_exact_area(scores[:, index], belongs[:, index]) for index in range(self._classes)])


def _exact_area(scores: Tensor, belongs: Tensor) -> Tensor:
    """Scores (N,) and whether each is of the class (N,), bool."""
    values, places = scores.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    return _area(places[belongs].bincount(minlength=len(values)), places[~belongs].bincount(minlength=len(values)))


def _area(positive: Tensor, negative: Tensor) -> Tensor:
    """(), float64, from how many samples of the class and of the rest have each score, lowest first; NaN without."""
    positive, negative = positive.double(), negative.double()
    below = negative.cumsum(0) - negative / 2
    return (positive * below).sum() / (positive.sum() * negative.sum())


class NumberFigures:
    """Of numbers, in the units of the labels. Outputs and targets are (N,)."""

    def __init__(self) -> None:
        self._count = 0
        self._squares = self._absolute = self._largest = 0.0
        self._mean = self._spread = 0.0  # of the labels: their mean, and the squares of their distances from it

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        labels = targets.double().cpu()
        residuals = outputs.double().cpu().reshape(labels.shape) - labels
        self._squares += residuals.square().sum().item()
        self._absolute += residuals.abs().sum().item()
        self._largest = max(self._largest, residuals.abs().max().item(), key=_nan_last)
        # Means and spreads of two parts make those of the whole without cancelling.
        count, mean = len(labels), labels.mean().item()
        distance, whole = mean - self._mean, self._count + count
        self._spread += (labels - mean).square().sum().item() + distance**2 * self._count * count / whole
        self._mean += distance * count / whole
        self._count = whole

    def report(self) -> dict[str, Any]:
        """r2 is below 0 when the labels' mean would have been the better guess, and NaN when all labels are equal."""
        return {
            "samples": self._count,
            "mse": self._squares / self._count,
            "mae": self._absolute / self._count,
            "r2": 1 - self._squares / self._spread if self._spread else math.nan,
            "max_error": self._largest,
        }


class TokenFigures:
    """Of tokens: loss, perplexity and accuracy, which the objective itself counts, are all there is."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self._count += targets.numel()

    def report(self) -> dict[str, Any]:
        return {"tokens": self._count}


def _nan_last(value: float) -> float:
    """An order in which NaN is the largest."""
    return math.inf if math.isnan(value) else value


def _finite(value: Any) -> Any:
    """The same value of JSON with null for every number that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

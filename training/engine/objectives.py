"""What a session minimises and how it is judged: losses, and the running sums that metrics are made from.

The sums stay on the device; they are read once an epoch, so that no step waits for them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from training.engine.data import TrainingData
from training.engine.failures import TrainingFailure
from training.spec import TrainingConfig

Problem = Literal["classification", "binary", "multi-label", "regression", "language modelling"]
Loss = Callable[[Tensor, Tensor], Tensor]

# Beyond this exp() overflows a float64.
LARGEST_EXPONENT = 709.0


@dataclass(frozen=True)
class Metrics:
    """Loss in the units of the labels, accuracy in 0…1, and what else a problem is judged by, over all counted."""

    loss: float
    accuracy: float
    extras: dict[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """A loss, and what to sum over the batches to know how good the outputs are."""

    problem: Problem
    sum_count: int
    loss_unit: float  # what loss() is multiplied by to be reported

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar: the sum of what is counted, weighted or not, divided by count()."""

    def count(self, targets: Tensor) -> int:
        """How many things the mean of a batch is over: its samples, or its tokens."""

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What to add up over the batches: (sum_count,), int64 or float64."""

    def metrics(self, mean_loss: float, sums: list[float], count: int) -> Metrics:
        """The metrics of so many samples or tokens from their mean loss and their sums."""


def build_objective(config: TrainingConfig, data: TrainingData) -> Objective:
    """What the configuration asks for of this data. Raises TrainingFailure (bad_config) for wrong class weights."""
    if data.kind == "text":
        return LanguageModelling(config.label_smoothing)
    labels = data.label_moments()
    if labels is not None:
        return Regression(config.loss_function, labels.mean.item(), labels.scale.item())
    weights = class_weights(config, data)
    if data.has_sets:
        return MultiLabel(weights)
    if config.loss_function == "cross_entropy":
        return Classification(weights, config.label_smoothing)
    return OneVersusRest(weights) if data.output_count > 1 else Binary(weights)


def class_weights(config: TrainingConfig, data: TrainingData) -> Tensor | None:
    """What an error costs by class, (classes,) float32; None when all cost the same.

    Balanced is total / (classes * count), counted on the training split. A class that is not named, or that the
    training split does not hold, weighs 1. Raises TrainingFailure (bad_config).
    """
    chosen, names, counts = config.class_weights, data.class_names, data.train_class_counts()
    if chosen is None or names is None or counts is None:
        return None
    if isinstance(chosen, str):
        balanced = counts.sum() / (len(names) * counts.double())
        return torch.where(counts > 0, balanced, 1.0).float()
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise TrainingFailure(
            "bad_config",
            f"class_weights names {unknown[0]!r}, and the dataset has no such class: use its own, {_few(names)}.",
        )
    return torch.tensor([float(chosen.get(name, 1.0)) for name in names])


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


class Weights:
    """Class weights on the device of the outputs; 1 for all where there are none."""

    def __init__(self, weights: Tensor | None) -> None:
        self._weights = weights

    def on(self, device: torch.device) -> Tensor | None:
        """(classes,) float32, moved once."""
        if self._weights is not None and self._weights.device != device:
            self._weights = self._weights.to(device)
        return self._weights


class Classification:
    """Outputs are logits (N, classes), targets are class indices (N,); accuracy is the share of right guesses.

    Each sample's loss counts as much as the weight of its class, and the mean is over the samples, not over their
    weights as in torch: so the mean of an epoch is that of its batches, however the classes fall into them.
    """

    problem: Problem = "classification"
    loss_unit = 1.0
    sum_count = 1

    def __init__(self, weights: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        self._weights = Weights(weights)
        self._label_smoothing = label_smoothing

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        weights = self._weights.on(outputs.device)
        if weights is None:
            return F.cross_entropy(outputs.float(), targets, label_smoothing=self._label_smoothing)
        total = F.cross_entropy(
            outputs.float(), targets, weight=weights, label_smoothing=self._label_smoothing, reduction="sum"
        )
        return total / len(targets)

    def count(self, targets: Tensor) -> int:
        return len(targets)

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(1) == targets).count_nonzero().reshape(1)

    def metrics(self, mean_loss: float, sums: list[float], count: int) -> Metrics:
        return Metrics(mean_loss, sums[0] / count)


class OneVersusRest(Classification):
    """As Classification, but each class has an output of its own that says yes or no to it.

    The loss is the mean over the classes of binary cross-entropy, times the weight of the sample's class.
    """

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        weights = self._weights.on(outputs.device)
        decisions = F.one_hot(targets, outputs.shape[1]).to(torch.float32)
        by_sample = None if weights is None else weights[targets][:, None]
        return F.binary_cross_entropy_with_logits(outputs.float(), decisions, by_sample)


class Binary:
    """Outputs are (N, 1), the logit of the second class; targets are class indices (N,), 0 or 1.

    Accuracy is the share of right guesses, where a probability above 0.5 is a guess for the second class. A sample's
    loss counts as much as the weight of its class.
    """

    problem: Problem = "binary"
    loss_unit = 1.0
    sum_count = 1

    def __init__(self, weights: Tensor | None = None) -> None:
        self._weights = Weights(weights)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        weights = self._weights.on(outputs.device)
        by_sample = None if weights is None else weights[targets]
        return F.binary_cross_entropy_with_logits(outputs.squeeze(1).float(), targets.to(torch.float32), by_sample)

    def count(self, targets: Tensor) -> int:
        return len(targets)

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs.squeeze(1) > 0) == targets.bool()).count_nonzero().reshape(1)

    def metrics(self, mean_loss: float, sums: list[float], count: int) -> Metrics:
        return Metrics(mean_loss, sums[0] / count)


class MultiLabel:
    """Outputs are logits (N, classes), targets (N, classes) float, 1 where a sample has the class and 0 elsewhere.

    The loss is the mean of binary cross-entropy over all decisions, each times the weight of the class it is about;
    accuracy is the share of decisions that are right, where a probability above 0.5 is a yes.
    """

    problem: Problem = "multi-label"
    loss_unit = 1.0
    sum_count = 2  # right decisions, all decisions

    def __init__(self, weights: Tensor | None = None) -> None:
        self._weights = Weights(weights)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        weights = self._weights.on(outputs.device)
        return F.binary_cross_entropy_with_logits(outputs.float(), targets, weights)

    def count(self, targets: Tensor) -> int:
        return len(targets)

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        right = ((outputs > 0) == (targets > 0)).count_nonzero()
        return torch.stack([right, torch.full_like(right, targets.numel())])

    def metrics(self, mean_loss: float, sums: list[float], count: int) -> Metrics:
        right, decisions = sums
        return Metrics(mean_loss, right / decisions)


class LanguageModelling:
    """Outputs are logits (N, L, vocabulary), targets the token behind each place (N, L); all is counted by token.

    Accuracy is the share of tokens that were the likeliest. Perplexity is e to the mean cross-entropy, in which label
    smoothing has no part.
    """

    problem: Problem = "language modelling"
    loss_unit = 1.0

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._label_smoothing = label_smoothing
        self.sum_count = 2 if label_smoothing else 1

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1).float(), targets.flatten(), label_smoothing=self._label_smoothing)

    def count(self, targets: Tensor) -> int:
        return targets.numel()

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        right = (outputs.argmax(-1) == targets).count_nonzero().reshape(1)
        if not self._label_smoothing:
            return right
        cross_entropy = F.cross_entropy(outputs.flatten(0, 1).float(), targets.flatten(), reduction="sum")
        return torch.cat([right.double(), cross_entropy.double().reshape(1)])

    def metrics(self, mean_loss: float, sums: list[float], count: int) -> Metrics:
        cross_entropy = sums[1] / count if self._label_smoothing else mean_loss
        perplexity = math.inf if cross_entropy > LARGEST_EXPONENT else math.exp(cross_entropy)
        return Metrics(mean_loss, sums[0] / count, {"perplexity": perplexity})


class Regression:
    """Outputs and targets are numbers (N,) in the units of the labels; accuracy is R², cut to 0…1.

    Inside, both are standardised by the training split's mean and scale, so that a learning rate means the same
    whatever the labels' units are. The loss is reported in those units (squared ones for mse).
    """

    problem: Problem = "regression"
    sum_count = 3
    losses: dict[str, tuple[Loss, int]] = {"mse": (F.mse_loss, 2), "mae": (F.l1_loss, 1)}  # with the power of the units

    def __init__(self, loss_function: str, label_mean: float, label_scale: float) -> None:
        self._loss, power = self.losses[loss_function]
        self._mean, self._scale = label_mean, label_scale
        self.loss_unit = label_scale**power

    def _standardise(self, values: Tensor) -> Tensor:
        return (values - self._mean) / self._scale

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(self._standardise(outputs), self._standardise(targets).to(outputs.dtype))

    def count(self, targets: Tensor) -> int:
        return len(targets)

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        labels = self._standardise(targets)
        residuals = self._standardise(outputs.double()) - labels
        return torch.stack([residuals.square().sum(), labels.sum(), labels.square().sum()])

    def metrics(self, mean_loss: float, sums: list[float], count: int) -> Metrics:
        residual, total, total_squares = sums
        spread = total_squares - total**2 / count
        # Labels that are all the same leave nothing to explain: right is 1, wrong is 0.
        r_squared = 1 - residual / spread if spread > 1e-12 * count else float(residual <= 1e-12 * count)
        accuracy = min(1.0, max(0.0, r_squared)) if math.isfinite(r_squared) else 0.0
        return Metrics(mean_loss * self.loss_unit, accuracy)


class Tally:
    """The running sums of a pass over the data. Part of a checkpoint, since a pass may be interrupted."""

    def __init__(self, objective: Objective, device: torch.device) -> None:
        self._objective = objective
        self._sums = torch.zeros(1 + objective.sum_count, dtype=torch.float64, device=device)
        # Views, made once: this is done in every step.
        self._loss_sum, self._other_sums = self._sums[0], self._sums[1:]
        self._count = 0

    @torch.no_grad()
    def add(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Add one batch with its mean loss."""
        count = self._objective.count(targets)
        self._loss_sum.add_(loss, alpha=count)
        self._other_sums.add_(self._objective.sums(outputs, targets))
        self._count += count

    def metrics(self, sum_over_ranks: Callable[[Tensor], object] | None = None) -> Metrics:
        """The metrics of what was added, here or with World.sum_ on all ranks together. Waits for the device."""
        everything = torch.cat([self._sums, self._sums.new_tensor([self._count])])
        if sum_over_ranks is not None:
            sum_over_ranks(everything)
        loss_sum, *sums, count = everything.tolist()
        return self._objective.metrics(loss_sum / count, sums, int(count))

    def reset(self) -> None:
        self._sums.zero_()
        self._count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self._sums, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums.copy_(state["sums"])
        self._count = state["count"]

"""What a session minimises and how it is judged: losses, and the running sums that metrics are made from.

The sums stay on the device; they are read once an epoch, so that no step waits for them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Metrics:
    """Loss in the units of the labels, accuracy in 0…1, both over all samples counted."""

    loss: float
    accuracy: float


class Objective(Protocol):
    """A loss, and what to sum over the batches to know how good the outputs are."""

    sum_count: int

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar."""

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What to add up over the batches: (sum_count,), int64 or float64."""

    def metrics(self, mean_loss: float, sums: list[float], count: int) -> Metrics:
        """The metrics of `count` samples from their mean loss and their sums."""


def one_vs_rest(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of one logit per class against the class written as one-hot."""
    return F.binary_cross_entropy_with_logits(outputs, F.one_hot(targets, outputs.shape[1]).to(outputs.dtype))


class Classification:
    """Outputs are logits (N, classes), targets are class indices (N,); accuracy is the share of right guesses."""

    sum_count = 1
    losses: dict[str, Loss] = {"cross_entropy": F.cross_entropy, "bce": one_vs_rest}

    def __init__(self, loss_function: str) -> None:
        self._loss = self.losses[loss_function]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(outputs, targets)

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(1) == targets).count_nonzero().reshape(1)

    def metrics(self, mean_loss: float, sums: list[float], count: int) -> Metrics:
        return Metrics(mean_loss, sums[0] / count)


class Regression:
    """Outputs and targets are numbers (N,) in the units of the labels; accuracy is R², cut to 0…1.

    Inside, both are standardised by the training split's mean and scale, so that a learning rate means the same
    whatever the labels' units are. The loss is reported in those units (squared ones for mse).
    """

    sum_count = 3
    losses: dict[str, tuple[Loss, int]] = {"mse": (F.mse_loss, 2), "mae": (F.l1_loss, 1)}  # with the power of the units

    def __init__(self, loss_function: str, label_mean: float, label_scale: float) -> None:
        self._loss, power = self.losses[loss_function]
        self._mean, self._scale = label_mean, label_scale
        self._loss_unit = label_scale**power

    def _standardise(self, values: Tensor) -> Tensor:
        return (values - self._mean) / self._scale

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(self._standardise(outputs), self._standardise(targets).to(outputs.dtype))

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
        return Metrics(mean_loss * self._loss_unit, accuracy)


class Tally:
    """The running sums of a pass over samples. Part of a checkpoint, since a pass may be interrupted."""

    def __init__(self, objective: Objective, device: torch.device) -> None:
        self._objective = objective
        self._sums = torch.zeros(1 + objective.sum_count, dtype=torch.float64, device=device)
        # Views, made once: this is done in every step.
        self._loss_sum, self._other_sums = self._sums[0], self._sums[1:]
        self._count = 0

    @torch.no_grad()
    def add(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Add one batch with its mean loss."""
        self._loss_sum.add_(loss, alpha=len(targets))
        self._other_sums.add_(self._objective.sums(outputs, targets))
        self._count += len(targets)

    def metrics(self) -> Metrics:
        """The metrics of what was added. Waits for the device."""
        loss_sum, *sums = self._sums.tolist()
        return self._objective.metrics(loss_sum / self._count, sums, self._count)

    def reset(self) -> None:
        self._sums.zero_()
        self._count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self._sums, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums.copy_(state["sums"])
        self._count = state["count"]

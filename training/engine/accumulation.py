"""Steps made from several batches: which batches go together, and what has come together so far."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from training.engine.world import World


class PlannedBatch(NamedTuple):
    """This rank's part of a batch, and its part in a step.

    rows: (N,). sample_count: the samples of the batch on all ranks. weight: what the mean loss over the rows is
    multiplied by to be their part of the step's. is_counted: whether they belong into this rank's sums. closes_step:
    whether the step is taken after it.
    """

    rows: Tensor
    sample_count: int
    weight: float
    is_counted: bool
    closes_step: bool


def plan(batches: Sequence[Tensor], window: int, world: World) -> Iterator[PlannedBatch]:
    """The batches of an epoch, each `window` of them making a step; the last step may have fewer.

    A step's gradient is the mean over all its samples, however they are spread over batches and ranks.
    """
    for first in range(0, len(batches), window):
        together = batches[first : first + window]
        count = sum(map(len, together))
        for place, rows in enumerate(together, start=1):
            share = world.share(rows)
            weight = share.loss_scale * len(rows) / count
            yield PlannedBatch(share.rows, len(rows), weight, share.counted, place == len(together))


class OpenStep:
    """What the batches since the last step have left: gradients, in the parameters, and their weighted loss."""

    def __init__(self, parameters: Sequence[nn.Parameter], device: torch.device) -> None:
        self._parameters = parameters
        self._device = device
        self.loss: Tensor | None = None

    @property
    def is_open(self) -> bool:
        return self.loss is not None

    def add(self, loss: Tensor, weight: float) -> None:
        """Add the loss of a batch, whose gradients have been added to those of the parameters."""
        part = loss.detach() if weight == 1.0 else loss.detach() * weight
        self.loss = part if self.loss is None else self.loss + part

    def close(self) -> None:
        """Forget everything, since the step was taken."""
        self.loss = None
        for parameter in self._parameters:
            parameter.grad = None  # what zero_grad() does, without its bookkeeping in each step

    def state_dict(self) -> dict[str, Any]:
        """On the CPU, from where it can go to another process."""
        gradients = [parameter.grad for parameter in self._parameters]
        return {
            "gradients": [None if gradient is None else gradient.cpu() for gradient in gradients],
            "loss": None if self.loss is None else self.loss.cpu(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for parameter, gradient in zip(self._parameters, state["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.to(self._device)
        self.loss = None if state["loss"] is None else state["loss"].to(self._device)

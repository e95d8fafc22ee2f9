"""How the learning rate changes: a function of the step, so that a resume has nothing to catch up with.

torch's schedulers come to the same rates (a test compares them) but cost 10 to 20 µs a step and cannot be told where
they are. Only `plateau` has a state: it depends on how the epochs went.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from training.spec import TrainingConfig

# one_cycle starts at this fraction of its peak, and ends at so small a part of where it started.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4


class Schedule:
    """Sets the learning rate of an optimizer. Steps and epochs count what is complete, from 0."""

    def __init__(
        self, config: TrainingConfig, optimizer: torch.optim.Optimizer, total_steps: int, steps_per_epoch: int
    ) -> None:
        """`total_steps` are all that the session may come to, over all its attempts."""
        self._config = config
        self._optimizer = optimizer
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._factor_at: Callable[[int], float] = getattr(self, f"_{config.scheduler}")
        # Whether there is anything to do before a step; if not, it costs nothing.
        self.is_constant = config.scheduler == "none" and not config.warmup_steps
        # What plateau knows: how far the rate has dropped, the best val_loss, the epochs since.
        self._drop, self._best, self._waited = 1.0, math.inf, 0

    def rate(self, step: int) -> float:
        """The learning rate of the step that follows so many complete ones."""
        warmup = self._config.warmup_steps
        rise = (step + 1) / warmup if step < warmup else 1.0
        return self._config.learning_rate * rise * self._factor_at(step)

    def set_rate(self, step: int) -> None:
        """Let the optimizer's next step be taken at its rate."""
        rate = self.rate(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def finish_epoch(self, val_loss: float) -> None:
        """Learn how an epoch went."""
        if val_loss < self._best:
            self._best, self._waited = val_loss, 0
            return
        self._waited += 1
        if self._waited > self._config.scheduler_args.patience:
            self._drop *= self._config.scheduler_args.factor
            self._waited = 0

    def _none(self, step: int) -> float:
        return 1.0

    def _cosine(self, step: int) -> float:
        """Half a cosine from 1 to the final fraction, over what is left behind the warm-up."""
        warmup, final = self._config.warmup_steps, self._config.scheduler_args.final_fraction
        if step < warmup:
            return 1.0
        return _cosine_between(1.0, final, (step - warmup) / (self._total_steps - warmup))

    def _step(self, step: int) -> float:
        arguments = self._config.scheduler_args
        return arguments.factor ** (step // self._steps_per_epoch // arguments.every_epochs)

    def _one_cycle(self, step: int) -> float:
        """A cosine up to 1, and a longer one down to next to nothing."""
        peak = max(self._config.scheduler_args.peak_at * self._total_steps - 1, 0.0)
        last = self._total_steps - 1
        if step <= peak:
            return _cosine_between(ONE_CYCLE_START, 1.0, step / peak if peak else 1.0)
        return _cosine_between(1.0, ONE_CYCLE_START * ONE_CYCLE_END, (step - peak) / (last - peak))

    def _plateau(self, step: int) -> float:
        return self._drop

    def state_dict(self) -> dict[str, Any]:
        return {"drop": self._drop, "best": self._best, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._drop, self._best, self._waited = state["drop"], state["best"], state["waited"]


def _cosine_between(start: float, end: float, fraction: float) -> float:
    """From start to end as the fraction goes from 0 to 1, slow at both ends."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2

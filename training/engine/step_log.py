"""The step series: how single steps went, as points in the journal.

The values stay on the device until they are written, many at once, so that no step waits for them.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from training.journal import JournalWriter

FLUSH_POINTS = 256
FLUSH_SECONDS = 1.0


@dataclass(frozen=True)
class Point:
    """One step as it is kept until it is written. loss and gradient_norm: scalars on the device."""

    step: int
    loss: Tensor
    gradient_norm: Tensor
    learning_rate: float
    samples_per_second: float


class StepLog:
    """Collects every n-th step. What is pending is written before a checkpoint, hence it has no state to save."""

    def __init__(self, journal: JournalWriter, every_steps: int, loss_unit: float) -> None:
        """`loss_unit` is what a loss of the objective is multiplied by to be reported."""
        self._journal = journal
        self._every_steps = every_steps
        self._loss_unit = loss_unit
        self._points: list[Point] = []
        self._flush_due_at = 0.0
        self._samples = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Measure the speed from now on: validation and checkpoints are no part of it."""
        self._samples = 0
        self._measured_from = time.perf_counter()

    def count(self, samples: int) -> None:
        """So many samples more went through the network."""
        self._samples += samples

    def is_due(self, step: int) -> bool:
        """Whether a point of this step is wanted."""
        return step % self._every_steps == 0

    def add(self, step: int, loss: Tensor, gradient_norm: Tensor, learning_rate: float) -> None:
        """Keep a point, and write all that are pending when they are many or old."""
        now = time.perf_counter()
        speed = self._samples / (now - self._measured_from)
        self._samples, self._measured_from = 0, now
        if not self._points:
            self._flush_due_at = now + FLUSH_SECONDS
        self._points.append(Point(step, loss.detach(), gradient_norm, learning_rate, speed))
        if len(self._points) >= FLUSH_POINTS or now >= self._flush_due_at:
            self.flush()

    def flush(self) -> None:
        """Write the points that are pending. Waits for the device."""
        points, self._points = self._points, []
        if not points:
            return
        losses = torch.stack([point.loss for point in points]).double().mul_(self._loss_unit).tolist()
        norms = torch.stack([point.gradient_norm for point in points]).tolist()
        series = {
            "train/loss": losses,
            "learning_rate": [point.learning_rate for point in points],
            "gradient_norm": norms,
            "samples_per_second": [point.samples_per_second for point in points],
        }
        self._journal.points([point.step for point in points], finite_series(series))


def finite_series(series: dict[str, list[float]]) -> dict[str, list[float | None]]:
    """The series as the journal takes them: what is not finite is null."""
    return {name: [value if math.isfinite(value) else None for value in values] for name, values in series.items()}

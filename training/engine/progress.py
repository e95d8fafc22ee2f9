"""How far the training is, and the signs of life that say so."""

import time
from typing import Any

from training.journal import JournalWriter

SIGN_SECONDS = 1.0


class Progress:
    """How far the training is: complete epochs, complete batches of the epoch that is open, complete steps in all."""

    def __init__(self, step: int = 0) -> None:
        """`step` is what is known of a checkpoint before its state is taken up."""
        self.epoch = self.batch = 0
        self.step = step
        self._earlier_seconds = 0.0
        self._started_at: float | None = None

    def start_clock(self) -> None:
        self._started_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time spent in training and validation, over all attempts."""
        if self._started_at is None:
            return self._earlier_seconds
        return self._earlier_seconds + time.monotonic() - self._started_at

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "batch": self.batch, "step": self.step, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self._earlier_seconds = state["seconds"]


class SignsOfLife:
    """Says in the journal about every second that the trainer is at work: with how far it is, how fast, how long yet.

    The speed is that of the training batches since the last sign; validation and checkpoints are no part of it.
    """

    def __init__(
        self, journal: JournalWriter | None, progress: Progress, steps_planned: int, max_seconds: float | None
    ) -> None:
        """Without a journal it says nothing: one process speaks for all."""
        self._journal = journal
        self._progress = progress
        self._steps_planned = steps_planned
        self._max_seconds = max_seconds
        self._samples = 0
        self._seconds = 0.0  # that these took, up to the last pause
        self._speed: float | None = None
        self._measured_from = self._trained_until = self._due_at = time.monotonic()

    def count(self, samples: int) -> None:
        """So many samples more went through the network; says so if it is time."""
        self._samples += samples
        self._trained_until = time.monotonic()
        if self._trained_until >= self._due_at:
            self.give()

    def give_if_due(self) -> None:
        """Give a sign if the last one is a second old."""
        if time.monotonic() >= self._due_at:
            self.give()

    def give(self) -> None:
        """Say now how far the training is."""
        self._measure_speed()
        self._due_at = time.monotonic() + SIGN_SECONDS
        if self._journal is not None:
            self._journal.progress(self._progress.step, self._steps_planned, self._speed, self._seconds_left())

    def restart_clock(self) -> None:
        """Measure the speed from now on: what passed since the last training batch was something else."""
        self._seconds += self._trained_until - self._measured_from
        self._measured_from = self._trained_until = time.monotonic()

    def _measure_speed(self) -> None:
        seconds = self._seconds + self._trained_until - self._measured_from
        if self._samples and seconds > 0:
            self._speed = self._samples / seconds
        self._samples, self._seconds, self._measured_from = 0, 0.0, self._trained_until

    def _seconds_left(self) -> float | None:
        """At the pace of all attempts so far, validation included; None before there is one."""
        done, seconds = self._progress.step, self._progress.seconds
        if not done or not seconds:
            return None
        left = seconds * (self._steps_planned - done) / done
        return left if self._max_seconds is None else max(0.0, min(left, self._max_seconds - seconds))

"""Rates, and what is left of them. No database here: the settings are made of it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowance:
    """What is left of a rate."""

    limit: int
    remaining: int
    reset_seconds: int  # until all of it is there again
    wait_seconds: int  # until one more request is let in; 0 when one is


@dataclass(frozen=True)
class Rate:
    """So many requests in so many seconds: all at once, or spread."""

    requests: int
    period_seconds: int

    @property
    def each_seconds(self) -> float:
        """How long it takes until one more request may come."""
        return self.period_seconds / self.requests

    def allowance(self, spent_seconds: float, is_refused: bool) -> Allowance:
        """What is left when it takes so long until nothing is spent any more."""
        left_seconds = self.period_seconds - spent_seconds
        remaining = max(0, math.floor(left_seconds / self.each_seconds + 1e-6))
        wait = max(1, math.ceil(self.each_seconds - left_seconds)) if is_refused and not remaining else 0
        return Allowance(self.requests, remaining, max(0, math.ceil(spent_seconds)), wait)

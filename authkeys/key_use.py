"""How a key is used, as the log of attempts tells it."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Self

from authkeys.models import APIKey, AuthLog, Outcome

# The log may be very long, and has no index by key: only so many of its newest rows are looked at.
ROWS_LOOKED_AT = 100_000
DAYS = 14
ENDPOINTS_SHOWN = 10


@dataclass(frozen=True)
class KeyUse:
    """What was asked with a key in the last days."""

    key: APIKey
    days: dict[date, dict[str, int]]
    endpoints: list[dict[str, Any]]

    @classmethod
    def of(cls, key: APIKey) -> Self:
        attempts = AuthLog.objects.filter(key_hash=key.key_hash).newest(ROWS_LOOKED_AT)
        return cls(key, attempts.by_day(DAYS), list(attempts.by_endpoint()[:ENDPOINTS_SHOWN]))

    @property
    def totals(self) -> list[tuple[Outcome, int]]:
        return [(outcome, sum(counts[outcome] for counts in self.days.values())) for outcome in Outcome]

    @property
    def total(self) -> int:
        return sum(count for _, count in self.totals)

    @property
    def most_in_a_day(self) -> int:
        return max(sum(counts.values()) for counts in self.days.values())

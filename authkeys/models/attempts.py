"""The log of every attempt to authenticate, and the chain that holds its rows together."""

from datetime import date, timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Case, Count, Max, Value, When
from django.db.models.functions import TruncDate
from django.utils import timezone

from authkeys import keys


class Reason(models.TextChoices):
    """Why an attempt to authenticate ended as it did."""

    OK = "ok"
    MISSING = "missing", "no key"
    MALFORMED = "malformed", "not the shape of a key"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    AMBIGUOUS = "ambiguous", "two different keys"
    CSRF = "csrf", "no CSRF token"
    PASSWORD = "password", "wrong name or password"
    THROTTLED = "throttled", "too many requests"


class Outcome(models.TextChoices):
    """What became of a request, by the status of its answer."""

    ANSWERED = "answered", "answered"
    REFUSED = "refused", "refused (4xx)"
    FAILED = "failed", "failed (5xx)"


class AuthLogQuerySet(models.QuerySet["AuthLog"]):
    def newest(self, count: int) -> Self:
        """Those among so many of the newest rows of the whole log: what is asked of these is soon found, however
        long it is.
        """
        newest_id = AuthLog.objects.aggregate(newest=Max("id"))["newest"] or 0
        return self.filter(id__gt=newest_id - count)

    def by_day(self, days: int) -> dict[date, dict[str, int]]:
        """How many had each outcome on each of the last days, the oldest first and today last."""
        midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        first = midnight - timedelta(days=days - 1)
        outcome = Case(
            When(status__gte=500, then=Value(Outcome.FAILED.value)),
            When(status__gte=400, then=Value(Outcome.REFUSED.value)),
            default=Value(Outcome.ANSWERED.value),
        )
        counts: dict[date, dict[str, int]] = {
            (first + timedelta(days=ahead)).date(): dict.fromkeys(Outcome.values, 0) for ahead in range(days)
        }
        by_day = self.filter(timestamp__gte=first).annotate(day=TruncDate("timestamp"), outcome=outcome)
        for day, name, count in by_day.order_by().values_list("day", "outcome").annotate(count=Count("pk")):
            if day in counts:  # a clock that was wrong may have said any day
                counts[day][name] = count
        return counts

    def by_endpoint(self) -> "models.QuerySet[AuthLog, dict[str, Any]]":
        """Each endpoint that was asked, how often and when last; the one that was asked last comes first."""
        asked = self.order_by().values("method", "endpoint")
        return asked.annotate(count=Count("pk"), last=Max("timestamp")).order_by("-last")


class AuthLog(models.Model):
    """One attempt to authenticate, good or bad. Holds the hash of what was presented, never the key."""

    timestamp = models.DateTimeField(db_index=True)
    success = models.BooleanField()
    reason = models.CharField(max_length=16, choices=Reason)
    key_hash = models.CharField("SHA-256 of the key", max_length=64, blank=True, help_text="Empty: no key was sent.")
    key_prefix = models.CharField(max_length=keys.PREFIX_LENGTH, blank=True)
    key_name = models.CharField(max_length=160, blank=True)
    method = models.CharField(max_length=16)
    endpoint = models.CharField(max_length=500)
    status = models.PositiveSmallIntegerField(
        null=True, help_text="Of the answer. None: of a row that is older than this column."
    )
    request_id = models.CharField(max_length=32, blank=True)
    client_address = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64, help_text="SHA-256 of the hash before it and of this row.")

    objects = AuthLogQuerySet.as_manager()

    class Meta:
        db_table = "auth_logs"
        ordering = ["-id"]
        verbose_name = "authentication attempt"

    def __str__(self) -> str:
        return f"{self.method} {self.endpoint}: {self.reason}"


class AuditChain(models.Model):
    """The two ends of the chain, in the only row: the newest attempt, and the last one that was pruned.

    Each is known by its id and its hash; while nothing is pruned, the beginning is 0 and GENESIS.
    """

    ONLY: ClassVar[int] = 1
    GENESIS: ClassVar[str] = "0" * 64

    newest_id = models.BigIntegerField(default=0)
    newest_hash = models.CharField(max_length=64, default=GENESIS)
    pruned_id = models.BigIntegerField(default=0)
    pruned_hash = models.CharField(max_length=64, default=GENESIS)

    class Meta:
        db_table = "audit_chain"

    def __str__(self) -> str:
        return f"{self.pruned_id}…{self.newest_id}"

"""Answers to be given again."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.http import HttpResponse
from django.utils import timezone


class KeptAnswerQuerySet(models.QuerySet["KeptAnswer"]):
    def live(self) -> "KeptAnswerQuerySet":
        """The answers that are given again."""
        return self.filter(created_at__gte=self._oldest())

    def expired(self) -> "KeptAnswerQuerySet":
        """The answers whose keys may be used for something else."""
        return self.filter(created_at__lt=self._oldest())

    @staticmethod
    def _oldest() -> datetime:
        return timezone.now() - timedelta(hours=settings.IDEMPOTENCY_HOURS)


class KeptAnswer(models.Model):
    """The first answer to a request that came with an Idempotency-Key, to be given again."""

    holder = models.CharField(max_length=64, help_text="The hash of an API key, or a user.")
    key = models.CharField("Idempotency-Key", max_length=255)
    fingerprint = models.CharField("SHA-256 of the request", max_length=64)
    by = models.CharField(max_length=160)
    endpoint = models.CharField(max_length=500)
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField()
    body = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = KeptAnswerQuerySet.as_manager()

    class Meta:
        db_table = "kept_answers"
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["holder", "key"], name="kept_answers_once_a_key")]

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.status}"

    def replay(self) -> HttpResponse:
        """The answer once more, marked as such."""
        return HttpResponse(self.body, status=self.status, headers=self.headers | {"Idempotency-Replayed": "true"})

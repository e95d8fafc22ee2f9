"""API keys, of which only the hash is kept, the log of every attempt to authenticate, and answers to be given again."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.http import HttpResponse
from django.utils import timezone

from authkeys import keys

USE_IS_NOTED_EVERY = timedelta(minutes=1)


class Reason(models.TextChoices):
    """Why an attempt to authenticate ended as it did."""

    OK = "ok"
    MISSING = "missing", "no key"
    MALFORMED = "malformed", "not the shape of a key"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    CSRF = "csrf", "no CSRF token"


class APIKeyQuerySet(models.QuerySet["APIKey"]):
    def create_key(self, name: str, expires_at: datetime | None = None) -> tuple["APIKey", str]:
        """Make a key. The clear key is returned here and never again. Raises ValidationError for a bad name."""
        clear = keys.make()
        row = APIKey(name=name, prefix=keys.prefix(clear), key_hash=keys.digest(clear.encode()), expires_at=expires_at)
        row.full_clean()
        row.save(force_insert=True)
        return row, clear

    def with_hash(self, key_hash: str) -> "APIKey | None":
        """The key of this hash. In SQL, because every request asks, and Django makes it slower than it runs."""
        return next(iter(self.raw("SELECT * FROM api_keys WHERE key_hash = %s", [key_hash])), None)

    def called(self, prefix_or_name: str) -> "APIKeyQuerySet":
        """The keys that go by this prefix or this name."""
        return self.filter(Q(prefix=prefix_or_name) | Q(name=prefix_or_name))


class APIKey(models.Model):
    """A key to the API. Revoked keys are kept, so that the log stays readable."""

    name = models.CharField(max_length=100, help_text="Who or what uses the key.")
    prefix = models.CharField(max_length=keys.PREFIX_LENGTH, db_index=True, editable=False)
    key_hash = models.CharField("SHA-256 of the key", max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: the key does not expire.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = APIKeyQuerySet.as_manager()

    class Meta:
        db_table = "api_keys"
        ordering = ["-created_at", "-id"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def refusal(self) -> Reason | None:
        """Why the key opens nothing any more; None while it does."""
        if self.revoked_at is not None:
            return Reason.REVOKED
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return Reason.EXPIRED
        return None

    def revoke(self) -> bool:
        """Close the key for good; False when somebody did before."""
        return bool(APIKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now()))

    def note_use(self) -> None:
        """Keep when the key was used last, to the minute: a write on every request would be too many."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at >= USE_IS_NOTED_EVERY:
            APIKey.objects.filter(pk=self.pk).update(last_used_at=now)


class AuthLog(models.Model):
    """One attempt to authenticate, good or bad. Holds the hash of what was presented, never the key."""

    timestamp = models.DateTimeField(auto_now_add=True, db_index=True)
    success = models.BooleanField()
    reason = models.CharField(max_length=16, choices=Reason)
    key_hash = models.CharField("SHA-256 of the key", max_length=64, blank=True, help_text="Empty: no key was sent.")
    key_prefix = models.CharField(max_length=keys.PREFIX_LENGTH, blank=True)
    key_name = models.CharField(max_length=160, blank=True)
    method = models.CharField(max_length=16)
    endpoint = models.CharField(max_length=500)
    request_id = models.CharField(max_length=32, blank=True)
    client_address = models.CharField(max_length=64, blank=True)

    class Meta:
        db_table = "auth_logs"
        ordering = ["-timestamp", "-id"]
        verbose_name = "authentication attempt"

    def __str__(self) -> str:
        return f"{self.method} {self.endpoint}: {self.reason}"


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

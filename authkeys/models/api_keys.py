"""API keys, of which only the hash is kept."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from authkeys import keys, scopes
from authkeys.models.attempts import Reason
from authkeys.scopes import WORKING

USE_IS_NOTED_EVERY = timedelta(minutes=1)
# There always is a row, of an unknown key one that looks like any other: it takes as long to read as a known one's.
WITH_HASH = """
    SELECT api_keys.id, name, owner, prefix, key_hash, expires_at, revoked_at, replaces_id,
        COALESCE(scopes, '["sessions:read", "sessions:write", "models:read", "datasets:read"]') AS scopes,
        COALESCE(created_at, '2026-01-01 00:00:00.000001+00:00') AS created_at,
        CASE WHEN api_keys.id IS NULL THEN '2026-01-01 00:00:00.000001+00:00' ELSE last_used_at END AS last_used_at
    FROM (SELECT 1) AS one LEFT JOIN api_keys ON key_hash = %s
"""


class KeyNotUsable(Exception):
    """A key that is revoked or expired, and so cannot be rotated."""

    def __init__(self, key: "APIKey") -> None:
        super().__init__(f"The key {key} is {key.refusal}; make a new one instead.")


def require_known_scopes(names: list[str]) -> None:
    """Raises ValidationError unless these are scopes, and at least one."""
    unknown = [name for name in names if name not in scopes.SCOPES]
    if unknown or not names:
        raise ValidationError(f"Choose one or more of {', '.join(scopes.SCOPES)}.")


class APIKeyQuerySet(models.QuerySet["APIKey"]):
    def create_key(
        self,
        name: str,
        expires_at: datetime | None = None,
        *,
        scopes: Iterable[str] = WORKING,
        owner: str = "",
        replaces: "APIKey | None" = None,
    ) -> tuple["APIKey", str]:
        """Make a key; if nothing is said, one to work with the server. The clear key is returned here and never again.

        Raises ValidationError for a bad name, and for scopes that there are not.
        """
        clear = keys.make()
        row = APIKey(
            name=name,
            owner=owner,
            scopes=list(scopes),
            prefix=keys.prefix(clear),
            key_hash=keys.digest(clear.encode()),
            expires_at=expires_at,
            replaces=replaces,
        )
        row.full_clean()
        row.save(force_insert=True)
        return row, clear

    def with_hash(self, key_hash: str) -> "APIKey | None":
        """The key of this hash. In SQL, because every request asks, and Django makes it slower than it runs."""
        (row,) = self.raw(WITH_HASH, [key_hash])
        return row if row.pk is not None else None

    def called(self, prefix_or_name: str) -> "APIKeyQuerySet":
        """The keys that go by this prefix or this name."""
        return self.filter(Q(prefix=prefix_or_name) | Q(name=prefix_or_name))

    def kept(self) -> "APIKeyQuerySet":
        """The keys that nobody has revoked."""
        return self.filter(revoked_at=None)


class APIKey(models.Model):
    """A key to the API. Revoked keys are kept, so that the log stays readable."""

    name = models.CharField(max_length=100, help_text="Who or what uses the key.")
    owner = models.CharField(max_length=100, blank=True, help_text="Who answers for the key: a person, a team.")
    scopes = models.JSONField(validators=[require_known_scopes], help_text="What the key may do.")
    prefix = models.CharField(max_length=keys.PREFIX_LENGTH, db_index=True, editable=False)
    key_hash = models.CharField("SHA-256 of the key", max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: the key does not expire.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    replaces = models.ForeignKey("self", models.PROTECT, null=True, blank=True, editable=False)

    objects = APIKeyQuerySet.as_manager()

    class Meta:
        db_table = "api_keys"
        ordering = ["-created_at", "-id"]
        verbose_name = "API key"
        # What members of staff may do through the API, beside what the admin's own permissions let them.
        permissions = [(scopes.permission(name), f"API: {name}") for name in scopes.SCOPES]

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
        return bool(APIKey.objects.filter(pk=self.pk).kept().update(revoked_at=timezone.now()))

    def rotate(self, overlap: timedelta) -> tuple["APIKey", str]:
        """Make a key in place of this one, which goes on working for the time of the overlap.

        The new one has its name, owner, scopes and end. Raises KeyNotUsable when this one opens nothing any more.
        """
        with transaction.atomic():
            old = APIKey.objects.select_for_update().get(pk=self.pk)
            if old.refusal:
                raise KeyNotUsable(old)
            made = APIKey.objects.create_key(old.name, old.expires_at, scopes=old.scopes, owner=old.owner, replaces=old)
            ends_at = timezone.now() + overlap
            if old.expires_at is None or ends_at < old.expires_at:
                APIKey.objects.filter(pk=old.pk).update(expires_at=ends_at)
        return made

    def note_use(self) -> None:
        """Keep when the key was used last, to the minute: a write on every request would be too many."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at >= USE_IS_NOTED_EVERY:
            APIKey.objects.filter(pk=self.pk).update(last_used_at=now)

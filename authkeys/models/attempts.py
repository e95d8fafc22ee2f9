"""The log of every attempt to authenticate, and the chain that holds its rows together."""

from typing import ClassVar

from django.db import models

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

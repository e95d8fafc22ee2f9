"""What django-q2 calls."""

from datetime import timedelta

from django.conf import settings

from authkeys import chain
from authkeys.models import KeptAnswer, Usage


def forget_kept_answers() -> int:
    """Delete the answers that are not given again any more."""
    return KeptAnswer.objects.expired().delete()[0]


def log_audit_head() -> int:
    """Note the newest row of the audit log outside of the database, and give its id."""
    return chain.log_head().id


def prune_audit_log() -> int:
    """Delete the attempts that are older than AUDIT_RETENTION_DAYS, and what is left of rates long gone."""
    Usage.objects.empty().delete()
    if not settings.AUDIT_RETENTION_DAYS:
        return 0
    return chain.prune(timedelta(days=settings.AUDIT_RETENTION_DAYS))

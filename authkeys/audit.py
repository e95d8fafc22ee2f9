"""The record of every attempt to authenticate: noted when somebody asks, written with the answer.

What a request changes and its row are one transaction (authkeys/changes.py); where nothing was changed, the row comes
before the answer leaves (servermgmt/middleware.py). What cannot be recorded is not done.
"""

from dataclasses import dataclass

from django.db import DatabaseError, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.encoding import escape_uri_path

from authkeys import chain
from authkeys.addresses import client_address
from authkeys.models import APIKey, AuthLog, Reason

# What the columns hold.
LONGEST_METHOD = 16
LONGEST_ENDPOINT = 500
LONGEST_NAME = 160


class AuditUnavailable(Exception):
    """The attempt could not be recorded, and what is not recorded is not done."""

    def __init__(
        self, message: str = "The attempt could not be recorded, so nothing was done; try again later."
    ) -> None:
        super().__init__(message)


@dataclass
class Attempt:
    """What is known of who asks, and, once it is written, the row that tells it."""

    reason: Reason
    key_hash: str = ""
    key_prefix: str = ""
    key_name: str = ""
    key: APIKey | None = None
    row_id: int | None = None
    status: int | None = None
    is_unrecordable: bool = False  # a locked database was waited for; the answer that says so must not wait once more


def note(request: HttpRequest, attempt: Attempt) -> None:
    """Keep with the request who asks; the last word counts."""
    request.attempt = attempt  # type: ignore[attr-defined]


def noted(request: HttpRequest) -> Attempt | None:
    """Who asks, where anybody has asked."""
    attempt: Attempt | None = getattr(request, "attempt", None)
    return attempt


def record(request: HttpRequest, status: int) -> None:
    """Write the row of this request's attempt, which is answered so. Raises AuditUnavailable when that fails."""
    attempt = noted(request)
    if attempt is None:
        return
    values = (
        timezone.now(),
        attempt.reason is Reason.OK,
        attempt.reason.value,
        attempt.key_hash,
        attempt.key_prefix,
        attempt.key_name[:LONGEST_NAME],
        (request.method or "")[:LONGEST_METHOD],
        escape_uri_path(request.path)[:LONGEST_ENDPOINT],
        status,
        getattr(request, "request_id", ""),
        client_address(request),
    )
    try:
        with transaction.atomic():
            attempt.row_id, attempt.status = chain.append(values), status
            if attempt.key and attempt.reason is Reason.OK:
                attempt.key.note_use()
    except DatabaseError as error:
        attempt.is_unrecordable = True
        raise AuditUnavailable from error


def record_once(request: HttpRequest, status: int) -> None:
    """As record(), unless the row is there already, or could not be written before."""
    attempt = noted(request)
    if attempt is None or attempt.is_unrecordable or is_there(attempt, request, status):
        return
    record(request, status)


def is_there(attempt: Attempt, request: HttpRequest, status: int) -> bool:
    """Whether the row of this answer was written, and has stayed."""
    if attempt.row_id is None or attempt.status == status:
        return attempt.row_id is not None
    # Another answer than the row tells: something went wrong behind it, which may have undone its transaction.
    return AuthLog.objects.filter(pk=attempt.row_id, request_id=getattr(request, "request_id", "")).exists()

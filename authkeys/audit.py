"""The record of every attempt to authenticate, written before anything else is done."""

from django.db import DatabaseError, connection
from django.utils import timezone
from django.utils.encoding import escape_uri_path
from rest_framework.request import Request

from authkeys.models import Reason

# Every request pays for this row; by way of the model it would cost three times as much.
INSERT = """
    INSERT INTO auth_logs
        (timestamp, success, reason, key_hash, key_prefix, key_name, method, endpoint, request_id, client_address)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class AuditUnavailable(Exception):
    """The attempt could not be recorded, and what is not recorded is not done."""


def record(request: Request, reason: Reason, *, key_hash: str = "", key_prefix: str = "", key_name: str = "") -> None:
    """Keep one attempt. Raises AuditUnavailable when the row cannot be written."""
    row = (
        connection.ops.adapt_datetimefield_value(timezone.now()),
        reason is Reason.OK,
        reason.value,
        key_hash,
        key_prefix,
        key_name,
        (request.method or "")[:16],
        escape_uri_path(request.path)[:500],
        getattr(request, "request_id", ""),
        request.META.get("REMOTE_ADDR", "")[:64],
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(INSERT, row)
    except DatabaseError as error:
        raise AuditUnavailable("The attempt could not be recorded, so nothing was done; try again later.") from error

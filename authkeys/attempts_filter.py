"""Which rows of the audit log are asked for."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError

from authkeys.models import AuthLog, Reason

METHOD = "[A-Z]{1,16}"
PREFIX = "[0-9A-Za-z_]{1,8}"
LONGEST_TEXT = 500
TEXT = {"type": "string", "pattern": r"^[^\x00]+$"}


def read_choice(text: str) -> str:
    if text not in Reason.values:
        raise ValueError(f"must be one of {', '.join(Reason.values)}")
    return text


def read_truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def read_status(text: str) -> int:
    if not re.fullmatch("[1-5][0-9][0-9]", text):
        raise ValueError("must be a status of HTTP")
    return int(text)


def read_moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
        if moment is None:
            raise ValueError
        return (moment if timezone.is_aware(moment) else timezone.make_aware(moment)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z") from None


def read_text(text: str) -> str:
    if not 1 <= len(text) <= LONGEST_TEXT or "\0" in text:
        raise ValueError(f"must be 1 to {LONGEST_TEXT} characters")
    return text


def read_method(text: str) -> str:
    if not re.fullmatch(METHOD, text):
        raise ValueError("must be a method such as POST")
    return text


# Each parameter of the query: how it is read, which rows it leaves, and how it is described.
FILTERS: dict[str, tuple[Callable[[str], Any], str, dict[str, Any], str]] = {
    "success": (read_truth, "success", {"type": "boolean"}, "Whether the key was good."),
    "reason": (read_choice, "reason", {"type": "string", "enum": Reason.values}, "Why it ended so."),
    "status": (read_status, "status", {"type": "integer", "minimum": 100, "maximum": 599}, "What was answered."),
    "key": (read_text, "key", TEXT, "The beginning of a key, or its name."),
    "method": (read_method, "method", {"type": "string", "pattern": f"^{METHOD}$"}, "The method of the request."),
    "endpoint": (read_text, "endpoint__startswith", TEXT, "How the path begins."),
    "address": (read_text, "client_address", TEXT, "Whence it came."),
    "request_id": (read_text, "request_id", TEXT, "The X-Request-ID of an answer."),
    "since": (read_moment, "timestamp__gte", {"type": "string", "format": "date-time"}, "From this time on."),
    "until": (read_moment, "timestamp__lt", {"type": "string", "format": "date-time"}, "Before this time."),
}
PARAMETERS = [OpenApiParameter(name, schema, description=text) for name, (_, _, schema, text) in FILTERS.items()]


def asked_for(rows: QuerySet[AuthLog], query: Mapping[str, str]) -> QuerySet[AuthLog]:
    """The rows that a query names. Raises ValidationError, which names every parameter that is wrong."""
    problems: dict[str, list[str]] = {}
    for name, (read, column, _, _) in FILTERS.items():
        if name not in query:
            continue
        try:
            value = read(query[name])
        except ValueError as error:
            problems[name] = [str(error)]
            continue
        named = Q(key_prefix=value) | Q(key_name=value) if column == "key" else Q(**{column: value})
        rows = rows.filter(named)
    if problems:
        raise ValidationError(problems)
    return rows

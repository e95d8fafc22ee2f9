"""The one place that makes error answers: every 4xx and 5xx, whatever raised it, has the same body."""

import logging
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.core.exceptions import (
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.response import Response

from authkeys import audit
from authkeys.audit import AuditUnavailable
from authkeys.errors import BeyondOwnScopes
from authkeys.idempotency import KeyInUse, KeyReused
from authkeys.models import KeyNotUsable, Reason
from registry import files
from registry.errors import InvalidName, NameTaken, TooLarge
from registry.formats import InvalidDataset
from servermgmt.parsers import InvalidJSON
from servermgmt.renderers import JSONRenderer
from training.event_views import StreamsNeedTheWebServer
from training.installation import CatalogueUnavailable
from training.models import IllegalTransition
from training.repetition import CannotRepeat
from training.restart import NoCheckpoint
from training.spec import InvalidConfig
from training.stream import TooManyStreams

logger = logging.getLogger(__name__)

CODES = {
    400: "INVALID_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "THROTTLED",
}

MOST_FIELDS = 20  # that an answer names, and that many problems of each
LONGEST_TEXT = 500
LONGEST_MESSAGE = MOST_FIELDS * (LONGEST_TEXT + 10)
UNNAMED = "non_field_errors"  # under which REST framework puts what is wrong with no field in particular

# What the apps raise. Their messages are written for the client.
DOMAIN: dict[type[Exception], tuple[int, str]] = {
    InvalidConfig: (400, "INVALID_CONFIG"),
    InvalidName: (400, "INVALID_NAME"),
    InvalidDataset: (400, "INVALID_DATASET"),
    InvalidJSON: (400, "INVALID_JSON"),
    IllegalTransition: (409, "ILLEGAL_STATE"),
    CannotRepeat: (409, "CANNOT_REPEAT"),
    NoCheckpoint: (409, "NO_CHECKPOINT"),
    NameTaken: (409, "NAME_TAKEN"),
    KeyInUse: (409, "IDEMPOTENCY_KEY_IN_USE"),
    KeyReused: (422, "IDEMPOTENCY_KEY_REUSED"),
    TooLarge: (413, "TOO_LARGE"),
    BeyondOwnScopes: (403, "FORBIDDEN"),
    KeyNotUsable: (409, "KEY_NOT_USABLE"),
    AuditUnavailable: (503, "AUDIT_UNAVAILABLE"),
    CatalogueUnavailable: (503, "CATALOGUE_UNAVAILABLE"),
    TooManyStreams: (503, "TOO_MANY_STREAMS"),
    StreamsNeedTheWebServer: (503, "STREAMS_UNAVAILABLE"),
}

DATABASE_UNAVAILABLE = (
    503,
    "DATABASE_UNAVAILABLE",
    "The database cannot be used now: it is busy, or its disk is full or failing. Try again later.",
)

# What Django raises. Its messages are written for its developers. The more special come first.
FRAMEWORK: dict[type[Exception], tuple[int, str, str]] = {
    RequestDataTooBig: (413, "TOO_LARGE", "The body of the request is too large."),
    TooManyFilesSent: (400, "INVALID_REQUEST", "The request holds too many files; send one."),
    TooManyFieldsSent: (400, "INVALID_REQUEST", "The request holds too many fields."),
    DisallowedHost: (
        400,
        "INVALID_REQUEST",
        "This server does not go by the host name of the request. Use another of its names or addresses, "
        "or have its operator add this one to the setting ALLOWED_HOSTS.",
    ),
    SuspiciousOperation: (400, "INVALID_REQUEST", "The request is malformed."),
    MultiPartParserError: (400, "INVALID_REQUEST", "The multipart body is malformed."),
    UnreadablePostError: (400, "INVALID_REQUEST", "The body of the request ended early; send it again."),
    Http404: (404, "NOT_FOUND", "There is no such thing here; /docs lists what there is."),
    PermissionDenied: (403, "FORBIDDEN", "This is not allowed."),
    OperationalError: DATABASE_UNAVAILABLE,
    InterfaceError: DATABASE_UNAVAILABLE,  # a connection that broke
}

# What the system says of a disk, by the numbers of its errors. Connections have others.
STORAGE: dict[frozenset[int], tuple[int, str, str]] = {
    files.FULL: (
        507,
        "STORAGE_FULL",
        "The server has no room on its disk, so nothing was kept. Have space freed, then send the request again.",
    ),
    files.UNUSABLE: (
        503,
        "STORAGE_UNAVAILABLE",
        "The server cannot use its disk or a folder there, so nothing was kept. Tell its operator; try again later.",
    ),
}


@dataclass(frozen=True)
class Problem:
    """An error as the client is to see it."""

    status: int
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        message = printable(self.message, LONGEST_MESSAGE)
        return {"error": {"code": self.code, "message": message, "details": self.details}, "detail": message}


def answer_exception(error: Exception, context: Mapping[str, Any]) -> Response:
    """REST framework's exception handler: the answer to whatever a view raised."""
    request = context["request"]
    if not isinstance(getattr(request, "accepted_renderer", None), JSONRenderer | BrowsableAPIRenderer):
        # Who it is could not be found out, and to negotiate now would be to ask once more, and to wait for it once
        # more; or a page has an error, and no template for it.
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = request.accepted_renderer.media_type
    problem = describe(error, context["request"].request_id)
    if problem.status >= 500:
        logger.error("request %s failed", context["request"].request_id, exc_info=error)
    return Response(problem.body(), status=problem.status, headers=dict(problem.headers))


def describe(error: Exception, request_id: str) -> Problem:
    """What a client is told of an error: of ours nothing but the id under which the log has it."""
    for kind, (status, code) in DOMAIN.items():
        if isinstance(error, kind):
            errors = getattr(error, "errors", {})
            message = summary(errors, with_names=False) if errors else str(error)
            return Problem(status, code, message, getattr(error, "details", None) or fields(errors), headers(error))
    for kind, (status, code, message) in FRAMEWORK.items():
        if isinstance(error, kind):
            return Problem(status, code, message)
    if isinstance(error, OSError):
        for numbers, (status, code, message) in STORAGE.items():
            if error.errno in numbers:
                return Problem(status, code, message)
    if isinstance(error, exceptions.ValidationError):
        return Problem(400, CODES[400], summary(error.detail, with_names=True), fields(error.detail))
    if isinstance(error, exceptions.UnsupportedMediaType):
        hint = "JSON is sent in UTF-8 and no body is coded; /docs has what this path takes."
        return Problem(415, CODES[415], f"{shortened(str(error.detail))} {hint}")
    if isinstance(error, exceptions.NotAuthenticated):
        message = "Send an API key with the request, as Authorization: Bearer KEY or as X-API-Key: KEY."
        return Problem(401, CODES[401], message, headers=headers(error))
    if isinstance(error, exceptions.APIException) and error.status_code in CODES:
        details = getattr(error, "details", {})
        message = shortened(str(error.detail))
        return Problem(error.status_code, CODES[error.status_code], message, details, headers(error))
    return internal_error(request_id)


def internal_error(request_id: str) -> Problem:
    message = f"The server failed. Tell its operator the request id {request_id}."
    return Problem(500, "INTERNAL_ERROR", message, {"request_id": request_id})


def fields(detail: Any) -> dict[str, list[str]]:
    """Each wrong field with what is wrong with it, however deep REST framework nests that; the first MOST_FIELDS."""
    found: dict[str, list[str]] = {}
    for name, message in islice(_leaves(detail, None), MOST_FIELDS):
        found.setdefault(UNNAMED if name is None else printable(name), []).append(printable(message))
    return found


def summary(detail: Any, with_names: bool) -> str:
    """What is wrong with each field in one sentence, which says how many there are beside those that it names."""
    texts = [text if name is None or not with_names else f"{name}: {text}" for name, text in _leaves(detail, None)]
    beyond = f"; and {len(texts) - MOST_FIELDS} more" if len(texts) > MOST_FIELDS else ""
    return "; ".join(shortened(text) for text in texts[:MOST_FIELDS]) + beyond


def _leaves(detail: Any, path: str | None) -> Iterator[tuple[str | None, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _leaves(inner, str(name) if path is None else f"{path}.{name}")
    elif isinstance(detail, list | tuple):
        for inner in detail:
            yield from _leaves(inner, path)
    else:
        yield path, str(detail)


def headers(error: Exception) -> dict[str, str]:
    """The headers that HTTP asks for beside a status."""
    values = {"WWW-Authenticate": getattr(error, "auth_header", None), "Retry-After": getattr(error, "wait", None)}
    return {name: str(value) for name, value in values.items() if value is not None}


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text without control characters: what a client sent must not reach somebody's terminal through us."""
    categories = ("C", "Zl", "Zp")
    return "".join(
        "�" if unicodedata.category(each).startswith(categories) else each for each in shortened(text, longest)
    )


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, or its beginning and its end: the one says which field it is about, the other what is wrong with it."""
    return text if len(text) <= longest else f"{text[: longest * 3 // 5]} … {text[-longest // 5 :]}"


# --- What Django answers by itself, outside of REST framework's views ---


def answer(problem: Problem) -> JsonResponse:
    response = JsonResponse(problem.body(), status=problem.status, headers=dict(problem.headers))
    response["Content-Length"] = str(len(response.content))
    return response


def refusal(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Django's 400, 403 and 404."""
    return answer(describe(exception, ""))


def server_error(request: HttpRequest) -> JsonResponse:
    request_id = getattr(request, "request_id", "")
    logger.exception("request %s failed", request_id)
    error = sys.exception()
    problem = describe(error, request_id) if isinstance(error, Exception) else None
    return answer(problem if problem and problem.status > 500 else internal_error(request_id))


def csrf_failure(request: HttpRequest, reason: str) -> JsonResponse:
    message = "The form has expired or came from elsewhere. Load its page again, allow cookies, and send it again."
    if (attempt := audit.noted(request)) is not None:
        attempt.reason = Reason.CSRF
    return answer(Problem(403, CODES[403], message))

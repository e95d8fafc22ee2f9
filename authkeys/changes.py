"""Requests that change something: the change, the row that says who made it, and a kept answer are one transaction."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from authkeys import audit
from authkeys.idempotency import HEADER, Submission, lasts

Handler = Callable[..., Any]


class ChangingView(APIView):
    """A view whose changes are recorded with what they change, and whose POSTs may come with an Idempotency-Key."""

    # What takes long must not keep everybody else from the database: it is not carried out in one transaction, but
    # calls conclude() in that of its own at the end. Whoever sends it twice at once is told to wait.
    change_is_slow = False
    # The fields of an answer that are shown once: kept for an Idempotency-Key they are null.
    shown_once: tuple[str, ...] = ()
    submission: Submission | None = None
    concluded: HttpResponse | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        name = (request.method or "").lower()
        if request.method not in SAFE_METHODS and name in self.http_method_names and hasattr(self, name):
            setattr(self, name, partial(self.change, getattr(self, name)))

    def change(self, handler: Handler, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """The answer of the handler, or the one that is kept for this request. Raises KeyReused or KeyInUse."""
        if not self.change_is_slow:
            read_body(request._request)
        submission = Submission.read(request) if request.method == "POST" and HEADER in request.headers else None
        if self.change_is_slow:
            alone: AbstractContextManager[None] = submission.claim() if submission else nullcontext()
        else:
            alone = RecordedTransaction(request._request)
            handler = transaction.atomic(handler)  # what it changed before it raised an error is undone
        with alone:
            earlier = submission.earlier_answer() if submission else None
            if earlier is not None:
                audit.record(request._request, earlier.status)
                return earlier.replay()
            self.submission = submission
            try:
                answer = handler(request, *args, **kwargs)
            except audit.AuditUnavailable:
                raise
            except Exception as error:
                answer = self.handle_exception(error)
            return answer if answer is self.concluded else self.conclude(answer)

    def conclude(self, answer: Response) -> Response:
        """Record what is answered, and keep it for whoever sends the request once more, in one transaction."""
        self.finalize_response(self.request, answer, *self.args, **self.kwargs)
        answer.render()  # what cannot be rendered is not done
        with transaction.atomic():
            if self.submission is not None and lasts(answer):
                self.submission.keep(self.without_secrets(answer))
            audit.record(self.request._request, answer.status_code)
        self.concluded = answer
        return answer

    def without_secrets(self, answer: Response) -> Response:
        """The answer as it may be kept."""
        if not self.shown_once or not isinstance(answer.data, dict) or answer.status_code >= 400:
            return answer
        kept = Response(answer.data | dict.fromkeys(self.shown_once), answer.status_code, headers=dict(answer.items()))
        self.finalize_response(self.request, kept, *self.args, **self.kwargs)
        kept.render()
        return kept


class RecordedTransaction(transaction.Atomic):
    """A transaction that ends with a row of the audit log. Where it cannot be had, neither can the row."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(using=None, savepoint=True, durable=False)
        self.request = request

    def __enter__(self) -> None:
        try:
            super().__enter__()
        except DatabaseError as error:
            attempt = audit.noted(self.request)
            if attempt is not None:
                attempt.is_unrecordable = True
            raise audit.AuditUnavailable from error


def read_body(request: HttpRequest) -> None:
    """Bring the body into memory, so that nobody waits for a client while the database waits for him.

    Raises RequestDataTooBig beyond DATA_UPLOAD_MAX_MEMORY_SIZE. Django's own way to do this asks for the length, which
    a body in chunks does not tell.
    """
    if hasattr(request, "_body") or request._read_started:  # type: ignore[attr-defined]
        return
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body = request.read(limit + 1)
    if len(body) > limit:
        raise RequestDataTooBig
    request._body = body
    request._stream = BytesIO(body)

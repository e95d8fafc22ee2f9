"""What every request passes through."""

import os
import re
import uuid
from collections.abc import Callable
from contextlib import suppress

from django.conf import settings
from django.db import connection, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import resolve
from rest_framework.permissions import SAFE_METHODS

from authkeys import audit, rates
from authkeys.changes import RecordedTransaction, read_body
from authkeys.models import Reason
from servermgmt.errors import answer, describe

Answer = Callable[[HttpRequest], HttpResponseBase]


class IdentifiedRequest(HttpRequest):
    """A request as it is behind RequestIdMiddleware."""

    request_id: str


class RequestIdMiddleware:
    """Gives each request an id, by which its answer, its audit row and the server's log find together."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: IdentifiedRequest) -> HttpResponseBase:
        request.request_id = uuid.uuid4().hex
        response = self.get_response(request)
        response["X-Request-ID"] = request.request_id
        return response


class TrailingSlashMiddleware:
    """Takes a path with one trailing slash for the path without it; a redirect would lose the body of a POST."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        if path != "/" and path.endswith("/") and not path.startswith(("/admin/", settings.STATIC_URL)):
            request.path_info = path[:-1]
            request.path = request.path[:-1]
        return self.get_response(request)


class SessionCookieMiddleware:
    """Takes a session cookie that cannot be one for none: what a client writes into it must not reach the database."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        if key is not None and not re.fullmatch("[a-z0-9]{1,40}", key):
            del request.COOKIES[settings.SESSION_COOKIE_NAME]
        return self.get_response(request)


class DurabilityMiddleware:
    """Sees to it that what a client is told was done is on the disk, and survives the loss of power.

    SQLite in its WAL mode leaves that to the next checkpoint. To have it for every row, of which the audit alone writes
    one a request, would make every request wait for the disk.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.method not in SAFE_METHODS and response.status_code < 400:
            sync_database()
        return response


class AuditMiddleware:
    """Sees to it that every attempt to authenticate has its row before its answer leaves; says what is left of a rate.

    Where something was changed the row is there already, in the transaction of the change.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: IdentifiedRequest) -> HttpResponseBase:
        response = self.get_response(request)
        try:
            audit.record_once(request, response.status_code)
        except audit.AuditUnavailable as error:
            response.close()
            response = answer(describe(error, request.request_id))
        rates.add_headers(request, response)
        return response


class AdminChangesMiddleware:
    """Makes what a member of staff changes in the admin one transaction with its row in the audit log.

    A view whose `change_is_slow` must not keep everybody else from the database meanwhile: it records what it changes
    by itself, in the transaction at its end.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: IdentifiedRequest) -> HttpResponseBase:
        is_change = request.method not in SAFE_METHODS and request.path_info.startswith("/admin/")
        if not is_change or not request.user.is_authenticated:
            return self.get_response(request)
        audit.note(request, audit.Attempt(Reason.OK, key_name=f"user:{request.user.get_username()}"))
        if getattr(resolve(request.path_info).func, "change_is_slow", False):
            return self.get_response(request)
        read_body(request)
        if getattr(resolve(request.path_info).func, "change_is_slow", False):
            return self.get_response(request)
        try:
            with RecordedTransaction(request):
                response = self.get_response(request)
                if response.status_code >= 500:
                    transaction.set_rollback(True)
                else:
                    audit.record(request, response.status_code)
        except audit.AuditUnavailable as error:
            return answer(describe(error, request.request_id))
        return response

    def process_exception(self, request: IdentifiedRequest, error: Exception) -> HttpResponseBase | None:
        """What a slow view could not record is not done, and that is no fault of the view."""
        return answer(describe(error, request.request_id)) if isinstance(error, audit.AuditUnavailable) else None


def sync_database() -> None:
    """Bring to the disk what has been committed. Other databases than SQLite do so by themselves."""
    if connection.vendor != "sqlite":
        return
    # There is no log once the last connection has closed, and then nothing is left in it.
    with suppress(FileNotFoundError):
        log = os.open(f"{connection.settings_dict['NAME']}-wal", os.O_RDONLY)
        try:
            os.fsync(log)
        finally:
            os.close(log)

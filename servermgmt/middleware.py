"""What every request passes through."""

import os
import re
import uuid
from collections.abc import Callable
from contextlib import suppress

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase

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
        if request.method not in ("GET", "HEAD", "OPTIONS") and response.status_code < 400:
            sync_database()
        return response


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

"""What every request passes through."""

import uuid
from collections.abc import Callable

from django.conf import settings
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

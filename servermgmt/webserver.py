"""The web server's answers to what is no HTTP at all, in the one shape that errors have."""

import contextlib
import json
import socket
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

STATUSES: dict[type[Exception], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class JSONErrorWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threads, but its own error pages, which are HTML, are JSON."""

    def handle_error(self, request: Any, client: socket.socket, address: Any, error: Exception) -> None:
        from servermgmt.errors import CODES, Problem, internal_error  # Django is set up in the worker, not before

        request_id = uuid.uuid4().hex
        if isinstance(error, errors.ParseException):
            status = STATUSES.get(type(error), HTTPStatus.BAD_REQUEST)
            problem = Problem(status, CODES[400], f"The request is not HTTP as this server reads it: {status.phrase}.")
        else:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            problem = internal_error(request_id)
            self.log.error("request %s failed", request_id, exc_info=error)
        body = json.dumps(problem.body())
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        head += f"X-Request-ID: {request_id}\r\n"
        with contextlib.suppress(OSError):  # the client may be gone
            util.write(client, f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())

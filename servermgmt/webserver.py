"""The web server: no client holds a thread for nothing, and what is no HTTP is answered in the shape of all errors."""

import contextlib
import json
import logging
import os
import socket
import time
import uuid
from http import HTTPStatus
from typing import Any

from csp.utils import build_policy
from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from servermgmt.logs import LineFormatter

HEAD_SECONDS = 10  # from its first byte to its empty line
IDLE_SECONDS = 20  # without a byte of a body, or of an answer taken
SLOWEST_BYTES_A_SECOND = 1000  # of a body, behind the first IDLE_SECONDS
VANISHED_SECONDS = 60  # without a sign that what was sent has arrived, of a connection that was handed over


class HeadTooSlow(errors.ParseException):  # type: ignore[misc]
    """The head of a request did not come to its end in time."""


STATUSES: dict[type[Exception], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    HeadTooSlow: HTTPStatus.REQUEST_TIMEOUT,
}


class ImpatientSocket(socket.socket):
    """A client's socket that waits for the head of a request, and then for its body, only so long.

    A body that stops, or that trickles, raises TimeoutError, which the application takes for a body that ended early.
    """

    head_ends: float | None = None
    body_began = 0.0
    received = 0

    @classmethod
    def take_over(cls, other: socket.socket) -> "ImpatientSocket":
        return cls(other.family, other.type, other.proto, fileno=other.detach())

    def expect_head(self) -> None:
        self.head_ends = time.monotonic() + HEAD_SECONDS

    def expect_body(self) -> None:
        self.head_ends = None
        self.body_began = time.monotonic()
        self.received = 0
        self.settimeout(IDLE_SECONDS)  # for the answer, too

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """As a socket does, but not beyond what is left of the time; a caller's own timeout counts if it is shorter."""
        own = self.gettimeout()
        self.settimeout(min(self._patience(), IDLE_SECONDS if own is None else own))
        try:
            data = super().recv(size, flags)
        except TimeoutError:
            if self.head_ends is not None:
                raise HeadTooSlow from None
            raise
        finally:
            self.settimeout(own)
        self.received += len(data)
        return data

    def hand_over(self) -> socket.socket:
        """The connection, for somebody who goes on with the answer when gunicorn has done with it.

        From then on this socket leads nowhere: what gunicorn writes to it fails, as if the client had gone.
        """
        taken = socket.socket(fileno=os.dup(self.fileno()))
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_SECONDS * 1000)
        nowhere, other = socket.socketpair()
        with nowhere, other:
            os.dup2(nowhere.fileno(), self.fileno(), inheritable=False)
        return taken

    def _patience(self) -> float:
        ends = self.head_ends
        if ends is None:
            ends = self.body_began + IDLE_SECONDS + self.received / SLOWEST_BYTES_A_SECOND
        return max(0.001, ends - time.monotonic())


class JSONErrorWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threads, but impatient, and its own error pages, which are HTML, are JSON."""

    def handle(self, conn: Any) -> Any:
        if not isinstance(conn.sock, ImpatientSocket):
            conn.sock = ImpatientSocket.take_over(conn.sock)
        conn.sock.expect_head()
        result = super().handle(conn)
        if not result:
            # Here and not where gunicorn does it: in its main thread, everybody would wait for this client to close.
            util.close_graceful(conn.sock)
        return result

    def handle_request(self, req: Any, conn: Any) -> Any:
        conn.sock.expect_body()
        return super().handle_request(req, conn)

    def handle_error(self, request: Any, client: socket.socket, address: Any, error: Exception) -> None:
        from servermgmt.csp import NOTHING  # Django is set up in the worker, not before
        from servermgmt.errors import CODES, Problem, internal_error

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
        head += f"Content-Security-Policy: {build_policy(NOTHING)}\r\nX-Content-Type-Options: nosniff\r\n"
        head += f"X-Request-ID: {request_id}\r\n"
        with contextlib.suppress(OSError):  # the client may be gone
            util.write(client, f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())


class LineLogger(Logger):  # type: ignore[misc]
    """Gunicorn's log, in lines that nobody can forge."""

    def _set_handler(self, log: logging.Logger, output: str | None, fmt: logging.Formatter, stream: Any = None) -> None:
        super()._set_handler(log, output, LineFormatter(fmt._fmt, fmt.datefmt), stream)

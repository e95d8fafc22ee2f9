"""Bodies that are sent in chunks, which WSGI hands on without a length and Django therefore takes for empty."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from django.core.exceptions import RequestDataTooBig

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment


class ChunkedBodies:
    """A WSGI application that gives a chunked body the largest length allowed; it ends where its chunks do.

    Nothing is read here: a stranger is answered before his body is looked at.
    """

    def __init__(self, application: "WSGIApplication", limit_bytes: int) -> None:
        self.application = application
        self.limit_bytes = limit_bytes

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if "HTTP_TRANSFER_ENCODING" in environ and environ.get("wsgi.input_terminated"):
            environ["wsgi.input"] = BoundedInput(environ["wsgi.input"], self.limit_bytes)
            environ["CONTENT_LENGTH"] = str(self.limit_bytes + 1)
        return self.application(environ, start_response)


class BoundedInput:
    """An input that refuses to go on behind a number of bytes, where Django would take the end for that of the body."""

    def __init__(self, stream: "InputStream", limit_bytes: int) -> None:
        self.stream = stream
        self.left_bytes = limit_bytes

    def read(self, *size: int) -> bytes:
        return self._count(self.stream.read, *size)

    def readline(self, *size: int) -> bytes:
        return self._count(self.stream.readline, *size)

    def _count(self, read: Callable[..., bytes], *size: int) -> bytes:
        try:
            data = read(*size)
        except Exception as error:  # each web server has its own for chunks that are broken or end too soon
            raise OSError("the chunks are broken") from error
        self.left_bytes -= len(data)
        if self.left_bytes < 0:
            raise RequestDataTooBig
        return data

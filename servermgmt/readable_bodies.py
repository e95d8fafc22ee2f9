"""What a request says of its body: a type that nobody can read is none, and a length has to be kept."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
# Without the * of extended parameters, whose encodings Django looks up before anybody can catch what that raises.
NAME = r"[!#$%&'+.^_`|~0-9A-Za-z-]++"
QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*+"'
# White space and words let go of nothing once they have it: no header takes longer to read than it is long.
MEDIA_TYPE = re.compile(rf"{WORD}/{WORD}(?:[ \t]*+;[ \t]*+(?:{NAME}=(?:{WORD}|{QUOTED}))?)*+[ \t]*+")
CHARSET = re.compile(r';[ \t]*+charset=(?!"?utf-?8"?[ \t]*+(?:;|$))', re.IGNORECASE)


class ReadableBodies:
    """A WSGI application that leaves out a Content-Type by which no body can be read; REST framework answers 415 then.

    It is one that is malformed, one with another charset than UTF-8 (by which Django would read the query, too), and
    any of a body with a Content-Encoding, which nobody here undoes. A body that is shorter than it says cannot be read.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self.application = application

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        coding = environ.get("HTTP_CONTENT_ENCODING", "identity")
        if coding.lower() != "identity" or not is_readable(environ.get("CONTENT_TYPE", "")):
            environ["CONTENT_TYPE"] = ""
        length = environ.get("CONTENT_LENGTH", "")
        if length.isdecimal() and "HTTP_TRANSFER_ENCODING" not in environ:
            environ["wsgi.input"] = WholeInput(environ["wsgi.input"], int(length))
        return self.application(environ, start_response)


class WholeInput:
    """An input that fails where it ends early, which Django would take for the end of the body."""

    def __init__(self, stream: "InputStream", length: int) -> None:
        self.stream = stream
        self.left = length

    def read(self, size: int = -1) -> bytes:
        wanted = self.left if size < 0 else min(size, self.left)
        return self._count(self.stream.read(wanted) if wanted else b"", wanted)

    def readline(self, size: int = -1) -> bytes:
        wanted = self.left if size < 0 else min(size, self.left)
        line = self.stream.readline(wanted) if wanted else b""
        return self._count(line, min(1, wanted))

    def _count(self, data: bytes, least: int) -> bytes:
        if len(data) < least:
            raise OSError("the body is shorter than its Content-Length")
        self.left -= len(data)
        return data


def is_readable(content_type: str) -> bool:
    """Whether this is a media type, and in UTF-8 if it says a charset."""
    return bool(MEDIA_TYPE.fullmatch(content_type)) and not CHARSET.search(content_type)

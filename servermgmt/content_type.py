"""What a request says of its body: a Content-Type that nobody can read, or a coded body, is no type at all."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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
    any of a body with a Content-Encoding, which nobody here undoes.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self.application = application

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        coding = environ.get("HTTP_CONTENT_ENCODING", "identity")
        if coding.lower() != "identity" or not is_readable(environ.get("CONTENT_TYPE", "")):
            environ["CONTENT_TYPE"] = ""
        return self.application(environ, start_response)


def is_readable(content_type: str) -> bool:
    """Whether this is a media type, and in UTF-8 if it says a charset."""
    return bool(MEDIA_TYPE.fullmatch(content_type)) and not CHARSET.search(content_type)

"""JSON from strangers: nothing in it is guessed at, and nothing in it costs more than its size."""

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer

DEEPEST = 32
LONGEST_INTEGER_DIGITS = 100
MOST_ITEMS = 10_000  # of an array
MOST_MEMBERS = 100_000  # of an object; so many classes may have a weight each
# Half a surrogate pair is no text in any encoding, and PostgreSQL takes no NUL.
NO_TEXT = re.compile("[\0\ud800-\udfff]")


class InvalidJSON(ParseError):
    """The body is not JSON, or JSON that two readers could understand differently."""


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it, in UTF-8, and without what readers disagree on.

    Refuses duplicate names, NaN and Infinity, numbers beyond what a float holds, lone surrogates, NUL characters, and
    what is nested deeper than 32 or longer than MOST_ITEMS or MOST_MEMBERS. Raises InvalidJSON, or RequestDataTooBig
    beyond DATA_UPLOAD_MAX_MEMORY_SIZE.
    """

    media_type = "application/json"
    renderer_class = JSONRenderer  # with which the browsable API fills in its form

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise RequestDataTooBig
        if not body:
            return {}  # as REST framework does where the length says so; a chunked body has none
        try:
            value = json.loads(
                body.decode("utf-8"),
                object_pairs_hook=_object,
                parse_constant=_refuse_constant,
                parse_float=_float,
                parse_int=_int,
            )
            _check(value, 1)
        except RecursionError:
            raise InvalidJSON(f"The JSON is nested deeper than {DEEPEST}.") from None
        except UnicodeDecodeError:
            raise InvalidJSON("The body is not UTF-8.") from None
        except ValueError as error:
            raise InvalidJSON(f"The body is not valid JSON: {error}.") from None
        return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object holds the same name twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _int(text: str) -> int:
    if len(text.lstrip("-")) > LONGEST_INTEGER_DIGITS:
        raise ValueError("a number is too large")
    return int(text)


def _check(value: Any, depth: int) -> None:
    """Refuse what the grammar allows but no reader of ours should meet."""
    if isinstance(value, str):
        if NO_TEXT.search(value):
            raise ValueError("a string holds a NUL character or half a surrogate pair")
    elif isinstance(value, dict | list):
        if depth > DEEPEST:
            raise RecursionError
        if len(value) > (MOST_MEMBERS if isinstance(value, dict) else MOST_ITEMS):
            raise ValueError(f"an array holds more than {MOST_ITEMS} items, or an object more than {MOST_MEMBERS}")
        for inner in value:
            _check(inner, depth + 1)
        if isinstance(value, dict):
            for inner in value.values():
                _check(inner, depth + 1)

"""What the target of a request, its path and query, may hold: nothing that two readers could understand differently."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this, by way of the settings

HALF_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class ClearTarget(BasePermission):
    """Stands behind the other permissions, so that a stranger is told nothing but that he is one.

    Raises NotFound for a path with a NUL character, which no name holds and no database takes, and ValidationError for
    a query that is not percent-encoded UTF-8, holds a NUL character, or names a parameter twice.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if "\0" in request.path:
            raise NotFound("There is nothing at this path; /docs lists what there is.")
        seen = set()
        for name in parameters(request.META.get("QUERY_STRING", "")):
            if name in seen:
                raise ValidationError({name: ["is in the query twice; send it once"]})
            seen.add(name)
        return True


def parameters(query: str) -> Iterator[str]:
    """The names in a query, as often as they come. Raises ValidationError where it is not readable."""
    for part in filter(None, query.split("&")):
        name = unquote_plus(part.partition("=")[0], errors="replace")
        try:
            if HALF_ESCAPE.search(part) or "\0" in unquote_plus(part, errors="strict"):
                raise ValueError
            # The web server hands bytes over as latin-1; what is no ASCII was not percent-encoded.
            part.encode("ascii")
        except ValueError:
            raise ValidationError({name: ["must be percent-encoded UTF-8, without NUL characters"]}) from None
        yield name

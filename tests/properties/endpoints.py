"""Every path that the resolver knows, found by walking it, so that a later endpoint is met by the properties too."""

import re
from collections.abc import Iterator
from typing import Any

from django.contrib.admindocs.views import simplify_regex
from django.urls import URLResolver, get_resolver
from django.views import View

OPEN = ["/", "/health", "/docs", "/redoc", "/openapi.json", "/admin"]  # the last leads to a login of its own
METHODS = [name.upper() for name in View.http_method_names]


def templates(resolver: Any = None, before: str = "") -> Iterator[str]:
    """The paths outside the admin, as str.format takes them: /api/v1/models/{name}."""
    for entry in (resolver or get_resolver()).url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            if entry.namespace != "admin":
                yield from templates(entry, route)
        else:
            yield re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", simplify_regex(route))


# The last pattern is the one for whatever no other one takes; the first path stands for it.
CLOSED = ["/api/v1/nothing", *sorted(path for path in templates() if path not in OPEN and "[" not in path)]

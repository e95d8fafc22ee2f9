"""How answers become JSON."""

from collections.abc import Mapping
from typing import Any

from rest_framework import renderers


class JSONRenderer(renderers.JSONRenderer):
    """JSON for every answer: REST framework writes None as an empty body, which no client can parse."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        if data is None:
            return b"null"
        body: bytes = super().render(data, accepted_media_type, renderer_context)
        return body

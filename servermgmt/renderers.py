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


class BrowsableAPIRenderer(renderers.BrowsableAPIRenderer):
    """Pages without the styles that REST framework writes into them, which the browser would refuse.

    Those are for code samples, of which there are none, and around the links that our own template shows.
    """

    def get_context(
        self, data: Any, accepted_media_type: str | None, renderer_context: Mapping[str, Any]
    ) -> dict[str, Any]:
        context = super().get_context(data, accepted_media_type, renderer_context)
        return context | {"code_style": "", "extra_actions": None, "other_pages": context["extra_actions"]}

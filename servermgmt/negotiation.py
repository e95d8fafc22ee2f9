"""Which form an answer takes."""

from collections.abc import Iterable
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request

from authkeys.authentication import StaffSessionAuthentication


class StaffSeeHtmlNegotiation(DefaultContentNegotiation):
    """Pages for staff who are logged in, JSON for all others; a stranger is never asked what he accepts.

    REST framework negotiates before it authenticates. Asking for the authenticator here turns that round, so that
    a stranger gets 401 and not 406. The `file_actions` of a view answer with a file, which is what it is, whatever a
    client says that it accepts; only an error is rendered there.
    """

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> Any:
        authenticator = request.successful_authenticator
        choice = list(renderers)
        view = (request.parser_context or {}).get("view")
        if authenticator is None or getattr(view, "action", None) in getattr(view, "file_actions", ()):
            return choice[0], choice[0].media_type
        if not isinstance(authenticator, StaffSessionAuthentication):
            choice = [renderer for renderer in choice if not isinstance(renderer, BrowsableAPIRenderer)]
        return super().select_renderer(request, choice, format_suffix)

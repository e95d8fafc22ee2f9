"""The admin's site."""

from typing import Any

from django.http import HttpRequest
from unfold.sites import UnfoldAdminSite


class AdminSite(UnfoldAdminSite):
    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Hands the theme's colors to our own template: unfold's writes them into the page without a nonce."""
        context: dict[str, Any] = super().each_context(request)
        return context | {"colors": None, "theme_colors": context["colors"]}

"""Who may do what: the scope that a call needs, and what staff may do in the admin."""

from typing import Any

from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS
from rest_framework.views import APIView
from unfold.admin import ModelAdmin


def required_scope(view: APIView, method: str) -> str | None:
    """The scope that a key needs for this call, by the view's `scope`; None where the view names none.

    A whole scope such as `keys:manage` is for every method; of `sessions` it is `sessions:read` to look at them, and
    `sessions:write` for the rest.
    """
    scope: str | None = getattr(view, "scope", None)
    if scope is None or ":" in scope:
        return scope
    return f"{scope}:read" if method in SAFE_METHODS else f"{scope}:write"


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the server alone writes: a hand looks at them, and neither adds, changes nor deletes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

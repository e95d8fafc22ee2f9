"""Who may do what: in the API by scopes, in the admin by reading only."""

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from unfold.admin import ModelAdmin

from authkeys import scopes
from authkeys.authentication import held_scopes

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module, as the settings say

NONE_NEEDED = ""


class MissingScope(PermissionDenied):
    """A good key that may not do this."""

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"This needs a key with the scope {scope}, which yours has not. GET /api/v1/keys/self has its scopes."
        )
        self.details = {"scope": [scope]}


def required_scope(view: "APIView", method: str) -> str | None:
    """The scope that a request of this method to a view needs; None when any key will do.

    A view says it as `scope`: whole, as in "keys:manage", or as "sessions", which stands for sessions:read and
    sessions:write. NONE_NEEDED stands for none, and a view that says nothing is for `admin` alone.
    """
    said: str = getattr(view, "scope", scopes.ADMIN)
    if said == NONE_NEEDED:
        return None
    if said in scopes.SCOPES:
        return said
    return f"{said}:{'read' if method in SAFE_METHODS else 'write'}"


class HasScope(IsAuthenticated):
    """Lets in whoever holds the scope that the view asks for."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not super().has_permission(request, view):
            return False
        scope = required_scope(view, request.method or "")
        if scope is not None and not scopes.holds(held_scopes(request), scope):
            raise MissingScope(scope)
        return True


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the server alone writes: a hand looks at them, and neither adds, changes nor deletes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

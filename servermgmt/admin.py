"""The admin of what more than one app knows of: models with their sessions, and the logins that django-axes keeps."""

from typing import Any

from axes.models import AccessAttempt, AccessLog
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path

from authkeys.permissions import ReadOnlyAdmin
from registry.admin import StoredFileAdmin
from registry.models import Model
from servermgmt.model_page import ModelPage
from training.prediction import NotPredicted


@admin.register(Model)
class RegisteredModelAdmin(StoredFileAdmin):
    list_display = ["name", "session_id", "size", "created_at"]
    list_filter = ["created_at"]
    search_fields = ["name", "session_id", "sha256"]
    fields = ["name", "session_id", "size", "sha256", "path", "created_at"]
    change_form_outer_after_template = "servermgmt/model_page.html"

    def get_urls(self) -> list[URLPattern]:
        tries = path("<int:key>/try/", self.admin_site.admin_view(self.try_with_file), name="registry_model_try")
        return [tries, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        model = self.get_object(request, object_id)
        context = {"model_page": ModelPage.of(model, request.user) if model is not None else None}
        page: HttpResponse = super().change_view(request, object_id, form_url, context | (extra_context or {}))
        return page

    def try_with_file(self, request: HttpRequest, key: int) -> HttpResponse:
        """What the model says of the samples in a file, as a part of its page. Nothing is kept of it."""
        model = get_object_or_404(Model, pk=key)
        if not self.has_view_permission(request, model) or request.method != "POST":
            raise PermissionDenied
        context: dict[str, Any] = {}
        try:
            context["prediction"] = ModelPage.of(model, request.user).try_with(request.FILES.get("file"))
        except NotPredicted as problem:
            context["problem"] = str(problem)
        return render(request, "servermgmt/prediction.html", context)

    try_with_file.change_is_slow = True  # type: ignore[attr-defined]  # and it changes nothing


@admin.register(AccessAttempt)
class FailedLoginAdmin(ReadOnlyAdmin):
    """The failures of the last minutes, which may have locked somebody out. `manage.py axes_reset` forgets them."""

    list_display = ["attempt_time", "username", "ip_address", "failures_since_start", "user_agent"]
    list_filter = ["attempt_time"]
    search_fields = ["username", "ip_address", "user_agent"]
    fields = ["attempt_time", "username", "ip_address", "failures_since_start", "user_agent", "path_info"]


@admin.register(AccessLog)
class LoginAdmin(ReadOnlyAdmin):
    """Who came in, and when."""

    list_display = ["attempt_time", "username", "ip_address", "logout_time", "user_agent"]
    list_filter = ["attempt_time"]
    search_fields = ["username", "ip_address", "user_agent"]
    fields = ["attempt_time", "username", "ip_address", "logout_time", "user_agent"]

"""The admin of the keys, of the log of attempts, and of the answers that are kept."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from authkeys import scopes
from authkeys.export import csv_answer
from authkeys.key_use import KeyUse
from authkeys.models import APIKey, AuthLog, KeptAnswer, KeyNotUsable
from authkeys.permissions import ReadOnlyAdmin

OVERLAP = timedelta(days=1)


class APIKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A key, with its scopes to tick; of those that one has oneself."""

    scopes = forms.MultipleChoiceField(choices=scopes.CHOICES, widget=UnfoldAdminCheckboxSelectMultipleWidget)

    class Meta:
        model = APIKey
        fields = ["name", "owner", "scopes", "expires_at"]

    def clean_scopes(self) -> list[str]:
        return scopes.in_order(self.cleaned_data["scopes"])


@admin.register(APIKey)
class APIKeyAdmin(ModelAdmin):
    """Keys are made, rotated and revoked here, never deleted: the log would point nowhere."""

    form = APIKeyForm
    list_display = [
        "name",
        "owner",
        "shown_prefix",
        "shown_scopes",
        "state",
        "created_at",
        "expires_at",
        "last_used_at",
    ]
    list_filter = ["created_at", "expires_at", "revoked_at", "last_used_at"]
    search_fields = ["name", "owner", "prefix"]
    fields = ["name", "owner", "scopes", "expires_at"]
    actions = ["rotate", "revoke"]
    change_form_outer_after_template = "authkeys/key_use.html"

    @admin.display(description="prefix", ordering="prefix")
    def shown_prefix(self, key: APIKey) -> str:
        return f"{key.prefix}…"

    @admin.display(description="scopes")
    def shown_scopes(self, key: APIKey) -> str:
        return " ".join(key.scopes)

    @admin.display
    def state(self, key: APIKey) -> str:
        return key.refusal.label if key.refusal else "usable"

    def get_form(self, request: HttpRequest, obj: APIKey | None = None, **options: Any) -> type["ModelForm[APIKey]"]:
        form: type[ModelForm[APIKey]] = super().get_form(request, obj, **options)
        if "scopes" in form.base_fields:
            held = scopes.of_staff(request.user)
            form.base_fields["scopes"].choices = [  # type: ignore[attr-defined]
                choice for choice in scopes.CHOICES if scopes.holds(held, choice[0])
            ]
        return form

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form, and behind it how the key is used, for whoever may see the log."""
        key = self.get_object(request, object_id)
        sees_use = key is not None and request.user.has_perm("authkeys.view_authlog")
        context = {
            "use": KeyUse.of(key) if key is not None and sees_use else None,
            "may_end": key is not None and key.refusal is None and self.has_change_permission(request, key),
        }
        page: HttpResponse = super().change_view(request, object_id, form_url, context | (extra_context or {}))
        return page

    def has_change_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        """Nobody changes a key that may do what he may not himself."""
        may: bool = super().has_change_permission(request, obj)
        return may and (obj is None or scopes.holds_all(scopes.of_staff(request.user), obj.scopes))

    def save_model(self, request: HttpRequest, obj: APIKey, form: "ModelForm[APIKey]", change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_data)
            return
        row, clear = APIKey.objects.create_key(obj.name, obj.expires_at, scopes=obj.scopes, owner=obj.owner)
        obj.pk, obj.prefix = row.pk, row.prefix
        self.show(request, row, clear)

    def show(self, request: HttpRequest, row: APIKey, clear: str) -> None:
        messages.success(request, f"Copy the key of {row.name} now, it is not shown again: {clear}")

    def own(self, request: HttpRequest, keys: QuerySet[APIKey]) -> Sequence[APIKey]:
        """Those of the keys that the one who asks may change; of the others he is told."""
        allowed = [key for key in keys if self.has_change_permission(request, key)]
        for key in keys:
            if key not in allowed:
                messages.warning(request, f"{key} may do what you may not: it is left as it is.")
        return allowed

    @admin.action(description="Rotate the selected keys: the old ones work for another day", permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        for key in self.own(request, queryset):
            try:
                self.show(request, *key.rotate(OVERLAP))
            except KeyNotUsable as refusal:
                messages.warning(request, str(refusal))

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        revoked = sum(key.revoke() for key in self.own(request, queryset))
        messages.success(request, f"{revoked} revoked.")

    def has_delete_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        return False


@admin.register(AuthLog)
class AuthLogAdmin(ReadOnlyAdmin):
    """What was recorded, to read, to search and to take along; no hand writes here."""

    list_display = [
        "timestamp",
        "success",
        "reason",
        "key_name",
        "key_prefix",
        "method",
        "endpoint",
        "status",
        "client_address",
    ]
    list_filter = ["success", "reason", "timestamp", "method", "status"]
    search_fields = ["key_name", "key_prefix", "key_hash", "endpoint", "request_id", "client_address"]
    date_hierarchy = "timestamp"
    show_full_result_count = False  # counting the whole log is slow, and tells nothing
    actions = ["export"]

    @admin.action(description="Export the selected attempts as CSV", permissions=["view"])
    def export(self, request: HttpRequest, queryset: QuerySet[AuthLog]) -> StreamingHttpResponse:
        return csv_answer(queryset)


@admin.register(KeptAnswer)
class KeptAnswerAdmin(ReadOnlyAdmin):
    """What whoever sends a request once more is answered."""

    list_display = ["created_at", "by", "key", "endpoint", "status"]
    list_filter = ["created_at", "status"]
    search_fields = ["key", "by", "endpoint"]
    fields = ["created_at", "by", "key", "endpoint", "fingerprint", "status", "shown_body"]
    date_hierarchy = "created_at"

    @admin.display(description="answer")
    def shown_body(self, answer: KeptAnswer) -> str:
        return bytes(answer.body).decode(errors="replace")

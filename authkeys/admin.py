"""The admin of the keys, of the log of attempts, and of the answers that are kept."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from authkeys.models import APIKey, AuthLog, KeptAnswer
from authkeys.permissions import ReadOnlyAdmin


@admin.register(APIKey)
class APIKeyAdmin(ModelAdmin):
    """Keys are made and revoked here, never deleted: the log would point nowhere."""

    list_display = ["name", "shown_prefix", "state", "created_at", "expires_at", "last_used_at"]
    list_filter = ["created_at", "expires_at", "revoked_at"]
    search_fields = ["name", "prefix"]
    fields = ["name", "expires_at"]
    actions = ["revoke"]

    @admin.display(description="prefix", ordering="prefix")
    def shown_prefix(self, key: APIKey) -> str:
        return f"{key.prefix}…"

    @admin.display
    def state(self, key: APIKey) -> str:
        return key.refusal.label if key.refusal else "usable"

    def save_model(self, request: HttpRequest, obj: APIKey, form: "ModelForm[APIKey]", change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_data)
            return
        row, clear = APIKey.objects.create_key(obj.name, obj.expires_at)
        obj.pk, obj.prefix = row.pk, row.prefix
        messages.success(request, f"Copy the key of {obj.name} now, it is not shown again: {clear}")

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        revoked = sum(key.revoke() for key in queryset)
        messages.success(request, f"{revoked} revoked.")

    def has_delete_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        return False


@admin.register(AuthLog)
class AuthLogAdmin(ReadOnlyAdmin):
    """What was recorded, to read and to search; no hand writes here."""

    list_display = ["timestamp", "success", "reason", "key_name", "key_prefix", "method", "endpoint", "client_address"]
    list_filter = ["success", "reason", "timestamp", "method"]
    search_fields = ["key_name", "key_prefix", "key_hash", "endpoint", "request_id", "client_address"]
    date_hierarchy = "timestamp"
    show_full_result_count = False  # counting the whole log is slow, and tells nothing


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

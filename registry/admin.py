"""The registry in the admin: to look at, to search, and to delete from. Files come in by upload only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from registry.models import Dataset, Model, StoredFile


class StoredFileAdmin(ModelAdmin):
    date_hierarchy = "created_at"

    @admin.display(description="size", ordering="size_bytes")
    def size(self, row: StoredFile) -> str:
        return f"{row.size_mb:,.3f} MiB"

    @admin.display(description="file")
    def path(self, row: StoredFile) -> str:
        return str(row.path)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Dataset)
class DatasetAdmin(StoredFileAdmin):
    """A dataset that a session was trained on cannot be deleted: the admin says which sessions hold it."""

    list_display = ["name", "format", "dimensions", "sample_count", "labels", "class_count", "size", "created_at"]
    list_filter = ["format", "labels", "created_at"]
    search_fields = ["name", "sha256", "dimensions"]
    fields = [
        "name",
        ("format", "dimensions", "sample_count"),
        ("labels", "class_count"),
        "size",
        "sha256",
        "path",
        "created_at",
    ]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        to_delete, counts, missing_permissions, protected = super().get_deleted_objects(objs, request)
        # Else the page says that the right to delete sessions is missing, and not that they need the dataset.
        return to_delete, counts, set() if protected else missing_permissions, protected


@admin.register(Model)
class RegisteredModelAdmin(StoredFileAdmin):
    list_display = ["name", "session_id", "size", "created_at"]
    list_filter = ["created_at"]
    search_fields = ["name", "session_id", "sha256"]
    fields = ["name", "session_id", "size", "sha256", "path", "created_at"]

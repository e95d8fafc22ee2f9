"""The registry in the admin: to look at, to search, and to delete from. Files come in by upload only.

The page of a model, which shows the session that it comes from, is servermgmt's.
"""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin

from registry.models import Dataset, StoredFile
from registry.preview import LookingBusy, NothingToSee, preview


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
    change_form_outer_after_template = "registry/dataset_page.html"

    def get_urls(self) -> list[URLPattern]:
        looks = path(
            "<int:key>/preview/", self.admin_site.admin_view(self.show_preview), name="registry_dataset_preview"
        )
        return [looks, *super().get_urls()]

    def show_preview(self, request: HttpRequest, key: int) -> HttpResponse:
        """The part of a dataset's page that takes reading its file; asked for behind the page."""
        dataset = get_object_or_404(Dataset, pk=key)
        if not self.has_view_permission(request, dataset):
            raise PermissionDenied
        context: dict[str, Any] = {"dataset": dataset}
        try:
            context["preview"] = preview(dataset)
        except LookingBusy:
            context["is_busy"] = True
        except NothingToSee as problem:
            context["problem"] = str(problem)
        return render(request, "registry/preview.html", context)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        to_delete, counts, missing_permissions, protected = super().get_deleted_objects(objs, request)
        # Else the page says that the right to delete sessions is missing, and not that they need the dataset.
        return to_delete, counts, set() if protected else missing_permissions, protected

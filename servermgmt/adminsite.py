"""The admin's site."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from unfold.sites import UnfoldAdminSite


class AdminSite(UnfoldAdminSite):
    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Hands the theme's colors to our own template: unfold's writes them into the page without a nonce."""
        context: dict[str, Any] = super().each_context(request)
        return context | {"colors": None, "theme_colors": context["colors"]}

    def extra_urls(self) -> list[URLPattern]:
        return [
            path("lists/", self.admin_view(self.lists), name="lists"),
            path("disk/", self.admin_view(self.disk), name="disk"),
        ]

    def lists(self, request: HttpRequest) -> HttpResponse:
        """The part of the dashboard that changes with every session that comes, starts or ends."""
        from servermgmt.dashboard import Sessions  # knows models, which are not there yet when the admin is

        if not request.user.has_perm("training.view_trainingsession"):
            raise PermissionDenied
        return render(request, "servermgmt/lists.html", {"sessions": Sessions.now()})

    def disk(self, request: HttpRequest) -> HttpResponse:
        """The part of the dashboard that is counted for a while: what takes the disk's room."""
        from servermgmt.disk_use import DiskUse  # likewise

        if not request.user.has_perm("monitoring.view_sample"):
            raise PermissionDenied
        return render(request, "servermgmt/disk_use.html", {"use": DiskUse.now()})

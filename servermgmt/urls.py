"""Every path of the server."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

import authkeys.urls
import monitoring.urls
import registry.urls
import training.urls
from servermgmt.health import HealthView
from servermgmt.views import IndexView, OpenAPIView, RedocView, SwaggerView, UnknownPathView

api = [*training.urls.urlpatterns, *registry.urls.urlpatterns, *monitoring.urls.urlpatterns, *authkeys.urls.urlpatterns]

urlpatterns = [
    path("", IndexView.as_view(), name="index"),
    path("health", HealthView.as_view(), name="health"),
    path("docs", SwaggerView.as_view(), name="docs"),
    path("redoc", RedocView.as_view(), name="redoc"),
    path("openapi.json", OpenAPIView.as_view(), name="openapi"),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api)),
    re_path(r"^[\s\S]*$", UnknownPathView.as_view()),  # [\s\S] because a dot leaves out line breaks
]

handler400 = handler403 = handler404 = "servermgmt.errors.refusal"
handler500 = "servermgmt.errors.server_error"

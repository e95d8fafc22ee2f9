from django.urls import path

from monitoring.views import SystemInfoView

urlpatterns = [path("system/info", SystemInfoView.as_view(), name="system-info")]

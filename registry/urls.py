"""The registry's paths below /api/v1/."""

from django.urls import path

from registry.views import DatasetViewSet, ModelViewSet

urlpatterns = [
    path("models", ModelViewSet.as_view({"get": "list", "post": "create"}), name="models"),
    path("models/<str:name>", ModelViewSet.as_view({"get": "download", "delete": "destroy"}), name="model"),
    path("datasets", DatasetViewSet.as_view({"get": "list", "post": "create"}), name="datasets"),
    path("datasets/<str:name>", DatasetViewSet.as_view({"get": "retrieve"}), name="dataset"),
]

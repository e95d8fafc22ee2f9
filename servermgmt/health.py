"""Whether the server is there."""

from drf_spectacular.utils import OpenApiExample, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from servermgmt.version import VERSION
from servermgmt.views import SERVICE, OpenView


class HealthView(OpenView):
    """Asks nothing of the database, so that a busy one does not get the server restarted."""

    @extend_schema(
        operation_id="health",
        tags=["server"],
        responses=inline_serializer(
            "ServerHealth",
            {"status": serializers.CharField(), "service": serializers.CharField(), "version": serializers.CharField()},
        ),
        examples=[OpenApiExample("example", {"status": "healthy", "service": SERVICE, "version": VERSION})],
    )
    def get(self, request: Request) -> Response:
        """Says that the server answers, and which version it is."""
        return Response({"status": "healthy", "service": SERVICE, "version": VERSION})

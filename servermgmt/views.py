"""What stands outside the API: the front page, the documentation, and the paths where nothing is."""

import functools
from typing import Any

from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema, inline_serializer
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from authkeys.permissions import NONE_NEEDED
from servermgmt.renderers import JSONRenderer
from servermgmt.version import VERSION

SERVICE = "Server Management API"


class OpenView(APIView):
    """A view that asks for no key."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


INDEX = {
    "service": SERVICE,
    "version": VERSION,
    "api": "/api/v1",
    "docs": "/docs",
    "redoc": "/redoc",
    "openapi": "/openapi.json",
    "health": "/health",
    "admin": "/admin/",
}


class IndexView(OpenView):
    @extend_schema(
        operation_id="index",
        tags=["server"],
        responses=inline_serializer("Index", {name: serializers.CharField() for name in INDEX}),
        examples=[OpenApiExample("example", INDEX)],
    )
    def get(self, request: Request) -> Response:
        """What this is, and where to go next."""
        names = ("docs", "redoc", "openapi", "health", "admin:index")
        links = {name.partition(":")[0]: reverse(name) for name in names}
        return Response({"service": SERVICE, "version": VERSION, "api": "/api/v1", **links})


class OpenAPIView(OpenView):
    renderer_classes = (OpenApiJsonRenderer2,)

    @extend_schema(
        operation_id="openapi",
        tags=["server"],
        responses={(200, OpenApiJsonRenderer2.media_type): OpenApiTypes.OBJECT},
        examples=[
            OpenApiExample(
                "example",
                {"openapi": "3.1.0", "info": {"title": SERVICE, "version": VERSION}, "paths": {}},
                media_type=OpenApiJsonRenderer2.media_type,
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """The description of the API, for programs."""
        return Response(openapi_document())


@functools.cache
def openapi_document() -> dict[str, Any]:
    """Made once: it is the same for everybody, and making it takes long enough to be a burden on an open path."""
    document: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return document


class DocumentationPage(APIView):
    """A page that reads /openapi.json and works without a network. What is no page, as a 405, is JSON."""

    url_name = "openapi"

    def get_renderers(self) -> list[BaseRenderer]:
        return super().get_renderers() if self.request.method in ("GET", "HEAD") else [JSONRenderer()]


PAGE: dict[str, Any] = {
    "tags": ["server"],
    "responses": {(200, "text/html"): OpenApiTypes.STR},
    "examples": [OpenApiExample("example", "<!DOCTYPE html>…", media_type="text/html")],
}


class SwaggerView(DocumentationPage, SpectacularSwaggerSplitView):
    """Its script has an address of its own."""

    @extend_schema(operation_id="docs", **PAGE)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The description of the API, to try it out in a browser."""
        response: Response = super().get(request, *args, **kwargs)
        return response


class RedocView(DocumentationPage, SpectacularRedocView):
    @extend_schema(operation_id="redoc", **PAGE)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The description of the API, to read in a browser."""
        response: Response = super().get(request, *args, **kwargs)
        return response


class UnknownPathView(APIView):
    """Every path that leads nowhere: a stranger gets 401 here as elsewhere, a key holder learns the truth."""

    schema = None
    scope = NONE_NEEDED

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound("There is nothing at this path; /docs lists what there is.")

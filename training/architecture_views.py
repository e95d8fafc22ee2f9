"""The endpoints under /api/v1/architectures: what this installation can train."""

from dataclasses import asdict
from typing import Any, get_args

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from training import examples
from training.catalogue import DataKind
from training.installation import catalogue, installation
from training.serializers import shown

KINDS: tuple[str, ...] = get_args(DataKind)


@shown(examples.ARCHITECTURE)
class ArchitectureSerializer(serializers.Serializer[Any]):
    """A network by name."""

    name = serializers.CharField(help_text="What a configuration calls it: model_architecture.")
    takes = serializers.ListField(child=serializers.ChoiceField(choices=KINDS), help_text="The data it can learn.")
    arguments = serializers.DictField(help_text="What model_args may hold, as a JSON Schema with every default.")
    description = serializers.CharField(help_text="What it is, in a sentence.")
    source = serializers.CharField(  # type: ignore[assignment]  # a serializer's fields are none of its attributes
        help_text="Who brings it: a package and its version, or a module."
    )


@shown(examples.LEFT_OUT)
class LeftOutSerializer(serializers.Serializer[Any]):
    """A module that should have brought architectures and could not."""

    module = serializers.CharField()
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="The package and its version, or the module once more."
    )
    reason = serializers.CharField()


class ArchitectureViewSet(GenericViewSet[Any]):
    """What can be trained: our networks, torchvision's, and those of installed packages."""

    scope = "sessions"

    def answer_list(self, entries: list[dict[str, Any]]) -> Response:
        """A page of entries, in the order that they have."""
        return self.get_paginated_response(self.paginate_queryset(entries))  # type: ignore[arg-type]

    @extend_schema(
        operation_id="list_architectures",
        parameters=[OpenApiParameter("takes", str, enum=KINDS, description="Those that can learn such data.")],
        responses={200: ArchitectureSerializer(many=True), 503: ["CATALOGUE_UNAVAILABLE"]},
    )
    def list(self, request: Request) -> Response:
        """Every architecture with its arguments."""
        kind = request.query_params.get("takes")
        if kind is not None and kind not in KINDS:
            raise ValidationError({"takes": [f"must be one of {', '.join(KINDS)}"]})
        return self.answer_list([asdict(entry) for entry in catalogue().values() if kind in (None, *entry.takes)])

    @extend_schema(
        operation_id="list_left_out_architectures",
        responses={200: LeftOutSerializer(many=True), 503: ["CATALOGUE_UNAVAILABLE"]},
    )
    @action(detail=False)
    def left_out(self, request: Request) -> Response:
        """The modules that should have brought architectures and could not, each with the reason."""
        return self.answer_list([asdict(entry) for entry in installation().left_out])

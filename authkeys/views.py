"""Keys and the audit log, over HTTP."""

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from authkeys import examples, scopes
from authkeys.attempts_filter import PARAMETERS, asked_for
from authkeys.authentication import actor, held_scopes
from authkeys.changes import ChangingView
from authkeys.errors import BeyondOwnScopes
from authkeys.export import csv_answer
from authkeys.models import APIKey, AuthLog
from authkeys.permissions import NONE_NEEDED
from authkeys.serializers import (
    AttemptSerializer,
    KeySerializer,
    MadeKeySerializer,
    NewKeySerializer,
    RevokedSerializer,
    RotationSerializer,
    SelfSerializer,
)

LARGEST_ID = 2**63 - 1


@extend_schema(tags=["keys"])
class KeyViewSet(ChangingView, GenericViewSet[APIKey]):
    """Keys that nobody has revoked. Whoever manages them can give and take no more than he has himself."""

    scope = "keys:manage"
    queryset = APIKey.objects.kept()
    serializer_class = KeySerializer
    lookup_url_kwarg = "key_id"
    path_parameters = {"key_id": {"schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}, "example": 7}}
    lookup_value_regex = "[0-9]{1,19}"
    shown_once = ("key",)

    def get_serializer_class(self) -> Any:
        forms = {"create": NewKeySerializer, "rotate": RotationSerializer}
        return forms.get(self.action, KeySerializer)

    def get_object(self) -> APIKey:
        if int(self.kwargs["key_id"]) > LARGEST_ID:
            raise NotFound("There is no such key.")
        return super().get_object()

    @extend_schema(operation_id="list_keys", responses=KeySerializer(many=True))
    def list(self, request: Request) -> Response:
        """Every key that nobody has revoked, the newest first."""
        return self.get_paginated_response(KeySerializer(self.paginate_queryset(self.get_queryset()), many=True).data)

    @extend_schema(operation_id="get_key", responses=KeySerializer)
    def retrieve(self, request: Request, key_id: str) -> Response:
        """One key."""
        return Response(KeySerializer(self.get_object()).data)

    @extend_schema(operation_id="make_key", request=NewKeySerializer, responses=MadeKeySerializer)
    def create(self, request: Request) -> Response:
        """Make a key. It is shown in this answer and never again."""
        asked = NewKeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        self.require_own(asked.validated_data["scopes"])
        return self.answer_made(*APIKey.objects.create_key(**asked.validated_data))

    @extend_schema(
        operation_id="rotate_key",
        request=RotationSerializer,
        responses={200: MadeKeySerializer, 409: ["KEY_NOT_USABLE"]},
    )
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, key_id: str) -> Response:
        """Make a key in place of this one, which goes on working for a while. The new one is shown this once."""
        asked = RotationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        key = self.get_object()
        self.require_own(key.scopes)
        return self.answer_made(*key.rotate(asked.overlap()))

    @extend_schema(operation_id="revoke_key", responses=RevokedSerializer)
    def destroy(self, request: Request, key_id: str) -> Response:
        """Revoke a key: it opens nothing any more, and is not listed; the audit log still names it."""
        key = self.get_object()
        self.require_own(key.scopes)
        key.revoke()
        return Response({"message": f"The key {key} is revoked."})

    @extend_schema(operation_id="get_own_key", responses=SelfSerializer)
    @action(detail=False, url_path="self", scope=NONE_NEEDED)
    def own(self, request: Request) -> Response:
        """The key that is sent with this request, and what it may do. Any key may ask."""
        nothing = {"id": None, "owner": "", "prefix": "", "expires_at": None, "last_used_at": None}
        key = request.auth
        known = KeySerializer(key).data if isinstance(key, APIKey) else {"name": actor(request).removeprefix("key:")}
        asker: dict[str, Any] = nothing | dict(known) | {"scopes": held_scopes(request)}
        return Response({str(name): asker[str(name)] for name in SelfSerializer().fields})

    def require_own(self, wanted: Iterable[str]) -> None:
        """Raises BeyondOwnScopes for a key that may do what the one who asks may not."""
        held = held_scopes(self.request)
        beyond = [scope for scope in wanted if not scopes.holds(held, scope)]
        if beyond:
            raise BeyondOwnScopes(beyond)

    @staticmethod
    def answer_made(row: APIKey, clear: str) -> Response:
        row.key = clear  # type: ignore[attr-defined]
        return Response(MadeKeySerializer(row).data, headers={"Cache-Control": "no-store"})


@extend_schema(tags=["audit"])
class AuditViewSet(GenericViewSet[AuthLog]):
    """Who has asked for what, and what was answered."""

    scope = "audit:read"
    file_actions = ("export",)
    queryset = AuthLog.objects.order_by("-id")
    serializer_class = AttemptSerializer

    def asked_rows(self) -> QuerySet[AuthLog]:
        return asked_for(self.get_queryset(), self.request.query_params)

    @extend_schema(operation_id="list_attempts", parameters=PARAMETERS, responses=AttemptSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Every attempt to authenticate, the newest first."""
        page = self.paginate_queryset(self.asked_rows())
        return self.get_paginated_response(AttemptSerializer(page, many=True).data)

    @extend_schema(
        operation_id="export_attempts",
        parameters=PARAMETERS,
        responses={(200, "text/csv"): OpenApiTypes.STR},
        examples=[OpenApiExample("example", examples.EXPORT, media_type="text/csv")],
    )
    @action(detail=False, pagination_class=None)
    def export(self, request: Request) -> StreamingHttpResponse:
        """The same as CSV, all of it."""
        return csv_answer(self.asked_rows())

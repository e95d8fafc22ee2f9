"""Keys and the audit log as clients see them, and what may be said of a new key."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction, OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from authkeys import examples
from authkeys.models import APIKey, AuthLog
from authkeys.scopes import SCOPES, in_order

LONGEST_OVERLAP_SECONDS = 30 * 86_400
OVERLAP_SECONDS = 86_400


class TextField(serializers.CharField):
    """A string, for which no number is taken, and which shows itself whole wherever it is shown."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be a string.")
        if not data.isprintable():
            raise serializers.ValidationError("Must not hold control characters or others that cannot be seen.")
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """A number, for which no string is taken."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("Must be a whole number.")
        return super().to_internal_value(data)


class StrictSerializer(serializers.Serializer[Any]):
    """A body of which nothing is ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError(
                {name: ["Is not a known field."] for name in unknown} | self.problems(data)
            )
        return super().to_internal_value(data)

    def problems(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What is wrong with the fields that are known."""
        try:
            super().to_internal_value(data)
        except serializers.ValidationError as error:
            return dict(error.detail)  # type: ignore[arg-type]
        return {}


class StrictSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Says that nothing else may be in such a body."""

    target_class = StrictSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(  # type: ignore[no-untyped-call]
            self.target, direction, bypass_extensions=True
        )
        return schema | {"additionalProperties": False}


class ScopesField(serializers.ListField):
    """Scopes, each once, in the order in which they are documented."""

    child = serializers.ChoiceField(choices=list(SCOPES))

    def to_internal_value(self, data: Any) -> list[str]:
        found: list[str] = super().to_internal_value(data)
        self.run_validators(found)  # before some of them fall together
        return in_order(found)


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.NEW_KEY)])
class NewKeySerializer(StrictSerializer):
    """A key to be made."""

    name = TextField(max_length=100, help_text="Who or what uses the key.")
    owner = TextField(max_length=100, allow_blank=True, default="", help_text="Who answers for it: a person, a team.")
    scopes = ScopesField(min_length=1, max_length=len(SCOPES), help_text="What it may do.")
    expires_at = serializers.DateTimeField(
        allow_null=True, default=None, help_text="When it ends; null: it does not. With a time zone, or in UTC."
    )

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("Must be in the future.")
        return moment


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.ROTATION)])
class RotationSerializer(StrictSerializer):
    """How a key is to be rotated."""

    overlap_seconds = WholeNumberField(
        min_value=0,
        max_value=LONGEST_OVERLAP_SECONDS,
        default=OVERLAP_SECONDS,
        help_text="How long the old key goes on working.",
    )

    def overlap(self) -> timedelta:
        return timedelta(seconds=self.validated_data["overlap_seconds"])


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.KEY)])
class KeySerializer(serializers.ModelSerializer[APIKey]):
    """A key, of which nobody sees more than the beginning."""

    scopes = serializers.ListField(child=serializers.ChoiceField(choices=list(SCOPES)))
    replaces = serializers.PrimaryKeyRelatedField[APIKey](
        read_only=True, allow_null=True, help_text="The id of the key in whose place it was made."
    )
    is_usable = serializers.SerializerMethodField(help_text="False: it has expired or was revoked.")

    class Meta:
        model = APIKey
        fields = [
            "id",
            "name",
            "owner",
            "prefix",
            "scopes",
            "created_at",
            "expires_at",
            "last_used_at",
            "replaces",
            "is_usable",
        ]
        read_only_fields = fields

    def get_is_usable(self, key: APIKey) -> bool:
        return key.refusal is None


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.MADE_KEY)])
class MadeKeySerializer(KeySerializer):
    """A key that was just made, in clear."""

    key = serializers.CharField(
        allow_null=True, help_text="The key itself. It is shown this once: null when the answer is given again."
    )

    class Meta(KeySerializer.Meta):
        fields = ["key", *KeySerializer.Meta.fields]
        read_only_fields = fields


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.OWN_KEY)])
class SelfSerializer(serializers.Serializer[Any]):
    """Who asks. A key from the environment and a person in a browser have no id and do not end."""

    id = serializers.IntegerField(allow_null=True)
    name = serializers.CharField()
    owner = serializers.CharField(allow_blank=True)
    prefix = serializers.CharField(allow_blank=True)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=list(SCOPES)))
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.ATTEMPT)])
class AttemptSerializer(serializers.ModelSerializer[AuthLog]):
    """One row of the audit log."""

    class Meta:
        model = AuthLog
        fields = [
            "id",
            "timestamp",
            "success",
            "reason",
            "key_hash",
            "key_prefix",
            "key_name",
            "method",
            "endpoint",
            "status",
            "request_id",
            "client_address",
            "hash",
        ]
        read_only_fields = fields


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.REVOKED)])
class RevokedSerializer(serializers.Serializer[Any]):
    """The answer to a revocation."""

    message = serializers.CharField()

"""Datasets and models as clients see them."""

from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from registry import examples
from registry.errors import TooLarge
from registry.formats import FORMATS
from registry.models import Dataset, Model


class SizeField(serializers.FloatField):
    """Units of 2**20 bytes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, help_text="In units of 2**20 bytes, exact to a byte.", **options)


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.MODEL)])
class RegisteredModelSerializer(serializers.ModelSerializer[Model]):
    """A model's file, and where it comes from."""

    size_mb = SizeField(read_only=True)
    file_path = serializers.CharField(source="path", read_only=True, help_text="Where the file lies on the server.")

    class Meta:
        model = Model
        fields = ["name", "size_mb", "created_at", "file_path", "sha256", "session_id"]
        read_only_fields = fields


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.DATASET)])
class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    """A dataset, described by what its file was found to hold."""

    size_mb = SizeField(read_only=True)
    sample_count = serializers.IntegerField(min_value=0, read_only=True, help_text="Of a text, its characters.")
    format = serializers.ChoiceField(choices=FORMATS, read_only=True)
    class_count = serializers.IntegerField(
        min_value=0,
        read_only=True,
        allow_null=True,
        help_text="Distinct labels; null for real numbers. Of a text, its distinct characters.",
    )
    file_path = serializers.CharField(source="path", read_only=True, help_text="Where the file lies on the server.")

    class Meta:
        model = Dataset
        fields = [
            "name",
            "size_mb",
            "sample_count",
            "format",
            "dimensions",
            "created_at",
            "file_path",
            "sha256",
            "labels",
            "class_count",
        ]
        read_only_fields = fields


@extend_schema_field({"type": "string", "format": "binary", "minLength": 1})
class NotEmptyFileField(serializers.FileField):
    """A file, described as one that holds something."""


@extend_schema_serializer(
    examples=[OpenApiExample("example", value={"file": examples.CSV}, media_type="multipart/form-data")]
)
class UploadSerializer(serializers.Serializer[Any]):
    """The body of an upload: one file."""

    file = NotEmptyFileField(write_only=True)

    def validate_file(self, file: UploadedFile) -> UploadedFile:
        if sum(len(files) for _, files in self.context["request"].FILES.lists()) > 1:
            raise serializers.ValidationError("There is more than one file; send one.")
        if file.size is not None and file.size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(f"A file may be {settings.MAX_UPLOAD_BYTES} bytes at most.")
        return file


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.REGISTERED)])
class RegisteredSerializer(serializers.Serializer[Any]):
    """The answer to an upload."""

    message = serializers.CharField()
    name = serializers.CharField()
    size_mb = SizeField()


@extend_schema_serializer(examples=[OpenApiExample("example", value=examples.DELETED)])
class DeletedSerializer(serializers.Serializer[Any]):
    """The answer to a delete."""

    message = serializers.CharField()

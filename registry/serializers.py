"""Datasets and models as clients see them."""

from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from rest_framework import serializers

from registry.errors import TooLarge
from registry.models import Dataset, Model


class RegisteredModelSerializer(serializers.ModelSerializer[Model]):
    file_path = serializers.CharField(source="path", read_only=True, help_text="Where the file lies on the server.")

    class Meta:
        model = Model
        fields = ["name", "size_mb", "created_at", "file_path", "sha256", "session_id"]
        read_only_fields = fields


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
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


class UploadSerializer(serializers.Serializer[Any]):
    """The body of an upload: one file."""

    file = serializers.FileField(write_only=True)

    def validate_file(self, file: UploadedFile) -> UploadedFile:
        if sum(len(files) for _, files in self.context["request"].FILES.lists()) > 1:
            raise serializers.ValidationError("There is more than one file; send one.")
        if file.size is not None and file.size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(f"A file may be {settings.MAX_UPLOAD_BYTES} bytes at most.")
        return file


class RegisteredSerializer(serializers.Serializer[Any]):
    """The answer to an upload."""

    message = serializers.CharField()
    name = serializers.CharField()
    size_mb = serializers.FloatField()


class DeletedSerializer(serializers.Serializer[Any]):
    """The answer to a delete."""

    message = serializers.CharField()

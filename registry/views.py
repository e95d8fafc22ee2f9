"""Datasets and models, over HTTP."""

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse, Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from authkeys.changes import ChangingView
from registry.errors import InvalidName
from registry.formats import FORMATS
from registry.models import NAME, Dataset, Model, StoredFile
from registry.serializers import (
    DatasetSerializer,
    DeletedSerializer,
    RegisteredModelSerializer,
    RegisteredSerializer,
    UploadSerializer,
)
from registry.uploads import UploadParser

UPLOADED = {200: RegisteredSerializer, 400: ["INVALID_NAME"], 409: ["NAME_TAKEN"], 507: ["STORAGE_FULL"]}


def name_parameter(name: str) -> OpenApiParameter:
    return OpenApiParameter(name, {"type": "string", "pattern": f"^{NAME}$"}, required=True, description="A free name.")


def path_parameters(example: str) -> dict[str, dict[str, Any]]:
    """A session's model may have a longer name than an upload."""
    return {"name": {"schema": {"type": "string", "minLength": 1, "maxLength": 200}, "example": example}}


class StoredFileViewSet(ChangingView, ListModelMixin, GenericViewSet[Any]):
    """What datasets and models have in common: they are listed, and they come in as uploads."""

    lookup_field = "name"
    parser_classes = [UploadParser]
    change_is_slow = True

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return UploadSerializer if self.action == "create" else super().get_serializer_class()

    def free_name(self, parameter: str) -> str:
        """The name to register under, as the query has it. Raises InvalidName or NameTaken before the body is read."""
        if parameter not in self.request.query_params:
            raise InvalidName(f"The query must say {parameter}, the name to register under.")
        name = self.request.query_params[parameter]
        self.get_queryset().model.require_free(name)
        return name

    def uploaded_file(self) -> UploadedFile:
        """The one file of the body. Raises TooLarge, or what REST framework raises for a body that is none."""
        upload = self.get_serializer(data=self.request.data)
        upload.is_valid(raise_exception=True)
        file: UploadedFile = upload.validated_data["file"]
        return file

    def registered(self, row: StoredFile) -> Response:
        """The answer to an upload, kept in the transaction that registers it."""
        message = f"{type(row).__name__} {row.name} is registered."
        return self.conclude(Response({"message": message, "name": row.name, "size_mb": row.size_mb}))


class DatasetViewSet(RetrieveModelMixin, StoredFileViewSet):
    scope = "datasets"
    path_parameters = path_parameters("digits")
    queryset = Dataset.objects.all()
    serializer_class = DatasetSerializer

    @extend_schema(operation_id="list_datasets")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Every dataset, the newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(operation_id="get_dataset")
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One dataset."""
        return super().retrieve(request, *args, **kwargs)

    @extend_schema(
        operation_id="upload_dataset",
        parameters=[
            name_parameter("dataset_name"),
            OpenApiParameter(
                "format", enum=FORMATS, description="What the file is; without it, the file's content decides."
            ),
        ],
        responses=UPLOADED | {400: ["INVALID_DATASET", "INVALID_NAME"]},
    )
    def create(self, request: Request) -> Response:
        """Register a dataset: csv, JSON, npy, npz, text, or an archive (zip, tar.gz) of images, a folder per class."""
        name = self.free_name("dataset_name")
        format = self.request.query_params.get("format")
        with Dataset.storing(name, self.uploaded_file().chunks(), format) as dataset:
            return self.registered(dataset)


class ModelViewSet(StoredFileViewSet):
    scope = "models"
    file_actions = ("download",)
    path_parameters = path_parameters("mlp_digits_0123456789ab")
    queryset = Model.objects.all()
    serializer_class = RegisteredModelSerializer

    @extend_schema(operation_id="list_models")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Every model, the newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(
        operation_id="upload_model",
        parameters=[name_parameter("model_name")],
        responses=UPLOADED,
    )
    def create(self, request: Request) -> Response:
        """Register a model. The file is kept as it is, and not looked into."""
        name = self.free_name("model_name")
        with Model.storing(name, self.uploaded_file().chunks()) as model:
            return self.registered(model)

    @extend_schema(
        operation_id="download_model",
        examples=[OpenApiExample("example", "(the bytes of the file)", media_type="application/octet-stream")],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def download(self, request: Request, name: str) -> FileResponse:
        """The model's file, byte for byte."""
        model: Model = self.get_object()
        try:
            file = model.path.open("rb")
        except FileNotFoundError:  # deleted since the row was read
            raise Http404 from None
        return FileResponse(file, as_attachment=True, filename=name, content_type="application/octet-stream")

    @extend_schema(operation_id="delete_model", responses=DeletedSerializer)
    def destroy(self, request: Request, name: str) -> Response:
        """Delete a model, row and file."""
        self.get_object().delete()
        return Response({"message": f"Model {name} is deleted."})

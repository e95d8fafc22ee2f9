"""The endpoints under /api/v1/training."""

import math
import re
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from training.estimate import EstimateBusy, estimate
from training.ingest import LARGEST_STEP, SERIES_NAME
from training.models import LogEntry, Metric, TrainingSession
from training.serializers import (
    EstimateSerializer,
    LogEntrySerializer,
    MessageSerializer,
    MetricSerializer,
    SeriesSerializer,
    SessionConfigSerializer,
    SessionSerializer,
    StatusSerializer,
    SubmittedSerializer,
)
from training.series import DEFAULT_POINTS, FEWEST_POINTS, MOST_POINTS, read_series
from training.tensorboard import tensorboard_archive

SESSION_ID = OpenApiParameter("session_id", str, OpenApiParameter.PATH, description="sess_ and 12 hex digits")


class SessionViewSet(GenericViewSet[Any]):
    """Sessions: start them, watch them, stop them."""

    # Record and report are long, and have answers of their own.
    queryset = TrainingSession.objects.select_related("model").defer("record", "report")
    serializer_class = SessionConfigSerializer
    lookup_field = "session_id"
    page_size: int | None = None

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        if self.action != "tensorboard":
            return super().perform_content_negotiation(request, force)
        # A file is what it is, whatever the client says it accepts; only an error is rendered.
        renderer = self.get_renderers()[0]
        return renderer, renderer.media_type

    def answer_list(self, rows: QuerySet[Any], serializer: type[serializers.BaseSerializer[Any]]) -> Response:
        """A page of rows, in the order that they have."""
        return self.get_paginated_response(serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(request=SessionConfigSerializer, responses=SubmittedSerializer)
    @action(detail=False, methods=["post"])
    def start(self, request: Request) -> Response:
        """Queue a session; it starts by itself when a place is free."""
        session = TrainingSession.objects.submit(request.data, by=str(request.user))
        return Response(SubmittedSerializer(session).data)

    @extend_schema(request=SessionConfigSerializer, responses=EstimateSerializer)
    @action(detail=False, methods=["post"])
    def validate(self, request: Request) -> Response:
        """Say what a session would cost, from its first steps, and queue nothing."""
        config, dataset = TrainingSession.objects.accept(request.data)
        try:
            return Response(estimate(config, dataset))
        except EstimateBusy:
            seconds = math.ceil(settings.VALIDATE_SECONDS)
            raise Throttled(seconds, "Other configurations are being validated; try again later.") from None

    @extend_schema(request=None, responses=MessageSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, session_id: str) -> Response:
        """Stop a session: a queued one at once, a running one after its step, with its weights saved."""
        session = self.get_object()
        session.request_stop(by=str(request.user))
        done = "is stopped" if session.has_ended else "stops after its step and saves its weights"
        return Response({"message": f"Session {session} {done}."})

    @extend_schema(responses=StatusSerializer)
    @action(detail=True)
    def status(self, request: Request, session_id: str) -> Response:
        """The true state of a session."""
        return Response(StatusSerializer(self.get_object()).data)

    @extend_schema(responses=MetricSerializer)
    @action(detail=True)
    def metrics(self, request: Request, session_id: str) -> Response:
        """The metrics of the newest epoch, or null before the first."""
        newest = self.metrics_of(self.get_object()).last()
        return Response(MetricSerializer(newest).data if newest else None)

    @extend_schema(responses=MetricSerializer(many=True))
    @action(detail=True)
    def history(self, request: Request, session_id: str) -> Response:
        """The metrics of every epoch, in order."""
        return self.answer_list(self.metrics_of(self.get_object()), MetricSerializer)

    @staticmethod
    def metrics_of(session: TrainingSession) -> QuerySet[Metric]:
        return session.metrics.select_related("session").order_by("epoch")

    @extend_schema(
        parameters=[
            OpenApiParameter("names", str, description="The series, separated by commas; without it all of them."),
            OpenApiParameter(
                "points",
                {"type": "integer", "minimum": FEWEST_POINTS, "maximum": MOST_POINTS, "default": DEFAULT_POINTS},
                description="The most points of each series; the lowest and the highest of the data are among them.",
            ),
            OpenApiParameter(
                "after", {"type": "integer", "minimum": 0}, description="Only what comes behind this step."
            ),
        ],
        responses=SeriesSerializer(many=True),
    )
    @action(detail=True, pagination_class=None)
    def series(self, request: Request, session_id: str) -> Response:
        """What the trainer measured by step: loss, learning rate, speed and more, thinned out for a chart."""
        names = request.query_params.get("names")
        listed = None if names is None else names.split(",")
        if listed is not None and not all(map(SERIES_NAME.fullmatch, listed)):
            raise ValidationError({"names": ["must be names of 1 to 100 characters, separated by commas"]})
        points = read_number(request, "points", FEWEST_POINTS, MOST_POINTS)
        after = read_number(request, "after", 0, LARGEST_STEP)
        found = read_series(self.get_object(), listed, DEFAULT_POINTS if points is None else points, after)
        return Response([series.as_dict() for series in found])

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    @action(detail=True)
    def tensorboard(self, request: Request, session_id: str) -> FileResponse:
        """The series as an archive to unpack into TensorBoard's log directory."""
        archive = tensorboard_archive(self.get_object())
        name = f"{session_id}_tensorboard.zip"
        return FileResponse(archive, as_attachment=True, filename=name, content_type="application/zip")

    @extend_schema(responses=OpenApiTypes.OBJECT)
    @action(detail=True)
    def record(self, request: Request, session_id: str) -> Response:
        """What reproducing the session takes, as its trainer found it, or null before it starts."""
        return Response(self.get_object().record)

    @extend_schema(responses=OpenApiTypes.OBJECT)
    @action(detail=True)
    def report(self, request: Request, session_id: str) -> Response:
        """How the final weights do on the validation split, in detail, or null before the end."""
        return Response(self.get_object().report)

    @extend_schema(responses=LogEntrySerializer(many=True))
    @action(detail=True, page_size=100)
    def logs(self, request: Request, session_id: str) -> Response:
        """The newest entries of a session's log, oldest first. The next page holds those before them."""
        entries: QuerySet[LogEntry] = self.get_object().log_entries.select_related("session").order_by("-id")
        page = self.paginate_queryset(entries) or []
        return self.get_paginated_response(LogEntrySerializer(page[::-1], many=True).data)

    @extend_schema(responses=SessionSerializer(many=True))
    @action(detail=False)
    def sessions(self, request: Request) -> Response:
        """All sessions, newest first."""
        return self.answer_list(self.get_queryset().order_by("-id"), SessionSerializer)

    @extend_schema(responses=SessionSerializer(many=True))
    @action(detail=False)
    def queue(self, request: Request) -> Response:
        """The queued sessions, in the order in which they will start."""
        queued = TrainingSession.objects.queued().select_related("model").defer("record", "report")
        return self.answer_list(queued, SessionSerializer)

    @extend_schema(responses=MessageSerializer)
    @action(detail=False, methods=["delete"], url_path=r"queue/(?P<session_id>[^/.]+)")
    def cancel(self, request: Request, session_id: str) -> Response:
        """Take a session out of the queue; it ends as stopped."""
        session = self.get_object()
        session.cancel(by=str(request.user))
        return Response({"message": f"Session {session} is out of the queue."})


def read_number(request: Request, name: str, smallest: int, largest: int) -> int | None:
    """A whole number of the query, if it has one. Raises ValidationError for anything else."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,19}", text) or not smallest <= int(text) <= largest:
        raise ValidationError({name: [f"must be a whole number from {smallest} to {largest}"]})
    return int(text)

"""The endpoints under /api/v1/training."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from training.models import LogEntry, Metric, TrainingSession
from training.serializers import (
    LogEntrySerializer,
    MessageSerializer,
    MetricSerializer,
    SessionConfigSerializer,
    SessionSerializer,
    StatusSerializer,
    SubmittedSerializer,
)

SESSION_ID = OpenApiParameter("session_id", str, OpenApiParameter.PATH, description="sess_ and 12 hex digits")


class SessionViewSet(GenericViewSet[Any]):
    """Sessions: start them, watch them, stop them."""

    queryset = TrainingSession.objects.select_related("model")
    serializer_class = SessionConfigSerializer
    lookup_field = "session_id"
    page_size: int | None = None

    def answer_list(self, rows: QuerySet[Any], serializer: type[serializers.BaseSerializer[Any]]) -> Response:
        """A page of rows, in the order that they have."""
        return self.get_paginated_response(serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(request=SessionConfigSerializer, responses=SubmittedSerializer)
    @action(detail=False, methods=["post"])
    def start(self, request: Request) -> Response:
        """Queue a session; it starts by itself when a place is free."""
        session = TrainingSession.objects.submit(request.data, by=str(request.user))
        return Response(SubmittedSerializer(session).data)

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
        return self.answer_list(TrainingSession.objects.queued().select_related("model"), SessionSerializer)

    @extend_schema(responses=MessageSerializer)
    @action(detail=False, methods=["delete"], url_path=r"queue/(?P<session_id>[^/.]+)")
    def cancel(self, request: Request, session_id: str) -> Response:
        """Take a session out of the queue; it ends as stopped."""
        session = self.get_object()
        session.cancel(by=str(request.user))
        return Response({"message": f"Session {session} is out of the queue."})

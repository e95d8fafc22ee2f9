"""The endpoints under /api/v1/training."""

import math
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from authkeys.authentication import actor
from authkeys.changes import ChangingView
from training import examples
from training.estimate import EstimateBusy, estimate, without_measure
from training.event_views import ONE_SESSION, described, stream
from training.ingest import LARGEST_STEP, SERIES_NAME
from training.installation import catalogue
from training.log_file import log_answer
from training.log_filter import PARAMETERS, asked_for
from training.log_search import LogSearch
from training.models import IllegalTransition, Metric, TrainingSession
from training.parameters import read_number, read_switch
from training.recovery import SESSION_ID
from training.restart import Restart, restarting
from training.serializers import (
    BulkResultSerializer,
    BulkSerializer,
    EstimateSerializer,
    LogEntrySerializer,
    MessageSerializer,
    MetricSerializer,
    RecordSerializer,
    ReportSerializer,
    RestartSerializer,
    SeriesSerializer,
    SessionConfigSerializer,
    SessionSerializer,
    StatusSerializer,
    SubmittedSerializer,
    TransitionSerializer,
)
from training.series import DEFAULT_POINTS, FEWEST_POINTS, MOST_POINTS, read_series
from training.state import Action
from training.steering import Bulk, steer
from training.tensorboard import tensorboard_archive

PATH_PARAMETERS = {
    "session_id": {
        "schema": {"type": "string", "pattern": f"^{SESSION_ID}$"},
        "description": "sess_ and 12 hex digits",
        "example": examples.SESSION_ID,
    }
}
LISTED_NAMES = "^[^\\x00-\\x1f\\x7f,]{1,100}(,[^\\x00-\\x1f\\x7f,]{1,100})*$"  # of SERIES_NAME
STEERED = {200: MessageSerializer, 409: ["ILLEGAL_STATE"]}
CONFIGURED = {400: ["INVALID_CONFIG"], 503: ["CATALOGUE_UNAVAILABLE"]}


@extend_schema(tags=["sessions"])
class SessionViewSet(ChangingView, GenericViewSet[Any]):
    """Sessions: start them, watch them, steer them."""

    scope = "sessions"
    file_actions = ("tensorboard", "download_log", "events")
    queryset = TrainingSession.objects.for_answers()
    serializer_class = SessionConfigSerializer
    lookup_field = "session_id"
    path_parameters = PATH_PARAMETERS
    page_size: int | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.action == "start":
            catalogue()  # may take seconds when it is asked for first, and nobody must wait for the database meanwhile

    def answer_list(
        self, rows: QuerySet[Any] | LogSearch, serializer: type[serializers.BaseSerializer[Any]]
    ) -> Response:
        """A page of rows, in the order that they have."""
        return self.get_paginated_response(serializer(self.paginate_queryset(rows), many=True).data)  # type: ignore[arg-type]

    @extend_schema(
        operation_id="start_session",
        request=SessionConfigSerializer,
        responses={200: SubmittedSerializer, **CONFIGURED},
    )
    @action(detail=False, methods=["post"])
    def start(self, request: Request) -> Response:
        """Queue a session; it starts by itself when a place is free."""
        session = TrainingSession.objects.submit(request.data, by=actor(request))
        return Response(SubmittedSerializer(session).data)

    @extend_schema(
        operation_id="steer_sessions",
        request=BulkSerializer,
        responses={200: BulkResultSerializer(many=True), 400: ["INVALID_CONFIG"]},
    )
    @action(detail=False, methods=["post"], serializer_class=BulkSerializer, pagination_class=None)
    def bulk(self, request: Request) -> Response:
        """Ask the same of many sessions; a result for each."""
        asked = Bulk.read(request.data)
        ids = list(dict.fromkeys(asked.session_ids))
        sessions = self.get_queryset().in_bulk(ids, field_name="session_id")
        return Response([self.result_for(session_id, sessions, Action(asked.action)) for session_id in ids])

    def result_for(self, session_id: str, sessions: Mapping[str, TrainingSession], action: Action) -> dict[str, Any]:
        """What came of it for one session of many; a refusal as its own answer would have it."""
        try:
            if session_id not in sessions:
                raise NotFound(f"There is no session {session_id[:60]}.")
            message, error = steer(sessions[session_id], action, actor(self.request)), None
        except (NotFound, IllegalTransition) as refusal:
            answer = self.get_exception_handler()(refusal, self.get_exception_handler_context())
            error = answer.data["error"]
            message = error["message"]
        return {"session_id": session_id, "done": error is None, "message": message, "error": error}

    @extend_schema(
        operation_id="validate_session",
        parameters=[
            OpenApiParameter(
                "measure",
                {"type": "boolean", "default": True},
                description="Whether to make the first steps; with false it is only checked, at once.",
            )
        ],
        request=SessionConfigSerializer,
        responses={200: EstimateSerializer, **CONFIGURED, 507: ["STORAGE_FULL"]},
    )
    @action(detail=False, methods=["post"], change_is_slow=True)
    def validate(self, request: Request) -> Response:
        """Say what a session would cost, from its first steps, and queue nothing."""
        is_to_measure = read_switch(request, "measure", default=True)
        config, dataset = TrainingSession.objects.accept(request.data)
        if not is_to_measure:
            return Response(without_measure(config, dataset))
        try:
            return Response(estimate(config, dataset))
        except EstimateBusy:
            seconds = math.ceil(settings.VALIDATE_SECONDS)
            raise Throttled(seconds, "Other configurations are being validated; try again later.") from None

    def ask(self, action: Action) -> Response:
        """Ask this of the session in the path."""
        return Response({"message": steer(self.get_object(), action, actor(self.request))})

    @extend_schema(operation_id="pause_session", request=None, responses=STEERED)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, session_id: str) -> Response:
        """Let a session wait until it is resumed: a queued one at once, a running one after its step, saved."""
        return self.ask(Action.PAUSE)

    @extend_schema(operation_id="resume_session", request=None, responses=STEERED)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, session_id: str) -> Response:
        """Put a paused session back into the queue, to the place that it had."""
        return self.ask(Action.RESUME)

    @extend_schema(operation_id="stop_session", request=None, responses=STEERED)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, session_id: str) -> Response:
        """Stop a session: a queued one at once, a running one after its step, with its weights saved."""
        return self.ask(Action.STOP)

    @extend_schema(operation_id="kill_session", request=None, responses=STEERED)
    @action(detail=True, methods=["post"])
    def kill(self, request: Request, session_id: str) -> Response:
        """End a session now, without anything being saved."""
        return self.ask(Action.KILL)

    @extend_schema(
        operation_id="restart_session",
        request=RestartSerializer,
        responses={
            200: SubmittedSerializer,
            **CONFIGURED,
            409: ["CANNOT_REPEAT", "NO_CHECKPOINT"],
            507: ["STORAGE_FULL"],
        },
    )
    @action(detail=True, methods=["post"], serializer_class=RestartSerializer, change_is_slow=True)
    def restart(self, request: Request, session_id: str) -> Response:
        """Queue a session with the same spec, from the beginning or as a fork that goes on from a checkpoint."""
        with restarting(self.get_object(), Restart.read(request.data), by=actor(request)) as session:
            return self.conclude(Response(SubmittedSerializer(session).data))

    @extend_schema(operation_id="list_transitions", responses=TransitionSerializer(many=True))
    @action(detail=True)
    def transitions(self, request: Request, session_id: str) -> Response:
        """Every change of a session's state, the first one first: when it was, by whom and why."""
        return self.answer_list(self.get_object().transitions.order_by("id"), TransitionSerializer)

    @extend_schema(operation_id="get_status", responses=StatusSerializer)
    @action(detail=True)
    def status(self, request: Request, session_id: str) -> Response:
        """The true state of a session."""
        return Response(StatusSerializer(self.get_object()).data)

    @extend_schema(operation_id="get_metrics", responses=MetricSerializer(allow_null=True))
    @action(detail=True)
    def metrics(self, request: Request, session_id: str) -> Response:
        """The metrics of the newest epoch, or null before the first."""
        newest = self.metrics_of(self.get_object()).last()
        return Response(MetricSerializer(newest).data if newest else None)

    @extend_schema(operation_id="list_metrics", responses=MetricSerializer(many=True))
    @action(detail=True)
    def history(self, request: Request, session_id: str) -> Response:
        """The metrics of every epoch, in order."""
        return self.answer_list(self.metrics_of(self.get_object()), MetricSerializer)

    @staticmethod
    def metrics_of(session: TrainingSession) -> QuerySet[Metric]:
        return session.metrics.select_related("session").order_by("epoch")

    @extend_schema(
        operation_id="get_series",
        parameters=[
            OpenApiParameter(
                "names",
                {"type": "string", "pattern": LISTED_NAMES},
                description="The series, separated by commas; without it all of them.",
            ),
            OpenApiParameter(
                "points",
                {"type": "integer", "minimum": FEWEST_POINTS, "maximum": MOST_POINTS, "default": DEFAULT_POINTS},
                description="The most points of each series; the lowest and the highest of the data are among them.",
            ),
            OpenApiParameter(
                "after",
                {"type": "integer", "minimum": 0, "maximum": LARGEST_STEP},
                description="Only what comes behind this step.",
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

    @extend_schema(
        operation_id="download_tensorboard",
        examples=[OpenApiExample("example", "PK… (the bytes of the archive)", media_type="application/zip")],
        responses={(200, "application/zip"): OpenApiTypes.BINARY, 507: ["STORAGE_FULL"]},
    )
    @action(detail=True)
    def tensorboard(self, request: Request, session_id: str) -> FileResponse:
        """The series as an archive to unpack into TensorBoard's log directory."""
        archive = tensorboard_archive(self.get_object())
        name = f"{session_id}_tensorboard.zip"
        return FileResponse(archive, as_attachment=True, filename=name, content_type="application/zip")

    @extend_schema(operation_id="get_record", responses=RecordSerializer(allow_null=True))
    @action(detail=True)
    def record(self, request: Request, session_id: str) -> Response:
        """What reproducing the session takes, as its trainer found it, or null before it starts."""
        return Response(self.get_object().record)

    @extend_schema(operation_id="get_report", responses=ReportSerializer(allow_null=True))
    @action(detail=True)
    def report(self, request: Request, session_id: str) -> Response:
        """How the final weights do on the validation split, in detail, or null before the end."""
        return Response(self.get_object().report)

    @extend_schema(operation_id="list_log_entries", parameters=PARAMETERS, responses=LogEntrySerializer(many=True))
    @action(detail=True, page_size=100)
    def logs(self, request: Request, session_id: str) -> Response:
        """The newest entries of a session's log that fit, oldest first; the next page holds those before them.

        With `after` it is the oldest behind that line, and the next page holds those behind them. A page that searches
        through messages does so for a moment only: it may hold few entries, or none, and still have a next one.
        """
        return self.answer_list(asked_for(self.get_object(), request.query_params), LogEntrySerializer)

    @extend_schema(
        operation_id="download_log",
        examples=[OpenApiExample("example", examples.LOG_TEXT, media_type="text/plain")],
        responses={(200, "text/plain"): OpenApiTypes.STR},
    )
    @action(detail=True, url_path="logs/download", pagination_class=None)
    def download_log(self, request: Request, session_id: str) -> StreamingHttpResponse:
        """The whole log as text: of each entry line, time, level and message, whose further lines are indented."""
        return log_answer(self.get_object())

    @described("stream_session_events", "the session's first")
    @action(detail=True)
    def events(self, request: Request, session_id: str) -> HttpResponseBase:
        """Tell of a session as it happens: status, transitions, metrics, points of its series, log, machine."""
        return stream(request, ONE_SESSION, self.get_object())

    @extend_schema(operation_id="list_sessions", responses=SessionSerializer(many=True))
    @action(detail=False)
    def sessions(self, request: Request) -> Response:
        """All sessions, newest first."""
        return self.answer_list(self.get_queryset().order_by("-id"), SessionSerializer)

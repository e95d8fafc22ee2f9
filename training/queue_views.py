"""The endpoints under /api/v1/training/queue: what waits and where, and whether anything may start."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from authkeys.authentication import actor
from authkeys.changes import ChangingView
from training import examples
from training.models import QueueControl, TrainingSession
from training.moving import Move
from training.serializers import MessageSerializer, SessionSerializer, shown
from training.views import PATH_PARAMETERS

COUNT = serializers.IntegerField(min_value=0)


@shown(examples.MOVE)
class MoveSerializer(serializers.Serializer[Any]):
    """Where a session stands, as the browsable API's form shows it: Move checks what comes back."""

    def to_representation(self, instance: TrainingSession) -> dict[str, int]:
        return {"priority": instance.priority, "position": instance.queue_position()}


class MoveSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes a move by the rules that check it."""

    target_class = MoveSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return Move.schema()


@shown(examples.QUEUE_STATE)
class QueueStateSerializer(serializers.ModelSerializer[QueueControl]):
    """Whether sessions may start, and how many there are."""

    paused = serializers.BooleanField(source="is_paused")
    paused_at = serializers.DateTimeField(allow_null=True)
    paused_by = serializers.SerializerMethodField(help_text="Who paused it, as the transitions name people.")
    running = serializers.SerializerMethodField(help_text="The sessions that hold a place.")
    queued = serializers.SerializerMethodField(help_text="The sessions that wait.")
    draining = serializers.SerializerMethodField(help_text="The running ones that are about to go back into the queue.")

    class Meta:
        model = QueueControl
        fields = ("paused", "paused_at", "paused_by", "running", "queued", "draining")

    def get_paused_by(self, control: QueueControl) -> str | None:
        return control.paused_by or None

    @extend_schema_field(COUNT)
    def get_running(self, control: QueueControl) -> int:
        return TrainingSession.objects.running().count()

    @extend_schema_field(COUNT)
    def get_queued(self, control: QueueControl) -> int:
        return TrainingSession.objects.queued().count()

    @extend_schema_field(COUNT)
    def get_draining(self, control: QueueControl) -> int:
        return TrainingSession.objects.draining().count()


@extend_schema(tags=["queue"])
class QueueViewSet(ChangingView, GenericViewSet[Any]):
    """The queue: look at it, move what waits, pause it, empty the machine for maintenance."""

    scope = "sessions"
    queryset = TrainingSession.objects.for_answers()
    serializer_class = MoveSerializer
    lookup_field = "session_id"
    path_parameters = PATH_PARAMETERS

    @extend_schema(operation_id="list_queue", responses=SessionSerializer(many=True))
    def list(self, request: Request) -> Response:
        """The queued sessions, in the order in which they will start."""
        page = self.paginate_queryset(TrainingSession.objects.for_answers().queued())
        return self.get_paginated_response(SessionSerializer(page, many=True).data)

    @extend_schema(
        operation_id="move_in_queue",
        request=MoveSerializer,
        responses={200: SessionSerializer, 400: ["INVALID_CONFIG"], 409: ["ILLEGAL_STATE"]},
    )
    def partial_update(self, request: Request, session_id: str) -> Response:
        """Move a queued session, by its priority or to a position."""
        move = Move.read(request.data)
        session = self.get_object()
        session.move_in_queue(actor(request), move.priority, move.position)
        return Response(SessionSerializer(session).data)

    @extend_schema(operation_id="take_out_of_queue", responses={200: MessageSerializer, 409: ["ILLEGAL_STATE"]})
    def destroy(self, request: Request, session_id: str) -> Response:
        """Take a session out of the queue; it ends as stopped."""
        session = self.get_object()
        session.cancel(by=actor(request))
        return Response({"message": f"Session {session} is out of the queue."})

    @extend_schema(operation_id="get_queue_state", responses=QueueStateSerializer)
    @action(detail=False)
    def state(self, request: Request) -> Response:
        """Whether sessions may start, and how many run and wait."""
        return self.answer_state()

    @extend_schema(operation_id="pause_queue", request=None, responses=QueueStateSerializer)
    @action(detail=False, methods=["post"])
    def pause(self, request: Request) -> Response:
        """Let no session start any more; those that run go on."""
        QueueControl.objects.pause(by=actor(request))
        return self.answer_state()

    @extend_schema(operation_id="resume_queue", request=None, responses=QueueStateSerializer)
    @action(detail=False, methods=["post"])
    def resume(self, request: Request) -> Response:
        """Let sessions start again."""
        QueueControl.objects.resume()
        return self.answer_state()

    @extend_schema(operation_id="drain_queue", request=None, responses=QueueStateSerializer)
    @action(detail=False, methods=["post"])
    def drain(self, request: Request) -> Response:
        """Pause the queue, and have what runs save a checkpoint and go back to the place that it came from."""
        TrainingSession.objects.drain(by=actor(request))
        return self.answer_state()

    @staticmethod
    def answer_state() -> Response:
        return Response(QueueStateSerializer(QueueControl.objects.current()).data)
